//! Streaming detokenization: text from token ids, one by one.

use super::{SentenceTokenizer, white_space};
use crate::error::Result;

/// What becomes of the white space of decoded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spacing {
    Kept,
    /// A sentence in canonical form.
    Sentence,
    /// Sentences in canonical form, one after the other.
    Text {
        after_space: bool,
    },
}

/// Turns a stream of token ids into text, in whole characters.
///
/// The joined output is that of [`SentenceTokenizer::decode`] for all ids, or of
/// [`TextPipeline::decode`](super::TextPipeline::decode) for a pipeline's detokenizer. With a
/// tokenizer that is not byte-level, each id decodes all ids again; if that changes text that was
/// already returned, the returned text is not corrected.
///
/// ```no_run
/// # fn main() -> sllm_ort::Result<()> {
/// # let bundle = sllm_ort::bundle::Bundle::open("models/some")?;
/// let mut stream = bundle.load_tokenizer()?.stream();
/// for id in [31414, 232] {
///     print!("{}", stream.push(id)?.unwrap_or_default());
/// }
/// print!("{}", stream.finish()?.unwrap_or_default());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Detokenizer {
    tokenizer: SentenceTokenizer,
    /// Bytes of a character that is not complete.
    held: Vec<u8>,
    /// For a tokenizer that is not byte-level: all ids so far, and the text given for them.
    ids: Vec<u32>,
    given: String,
    /// The text to hand out.
    text: String,
    spacing: Spacing,
    /// Of a sentence in canonical form: whether a word was handed out, and the white space after it.
    begun: bool,
    space: String,
}

impl Detokenizer {
    pub(super) fn new(tokenizer: SentenceTokenizer, spacing: Spacing) -> Self {
        Self {
            tokenizer,
            spacing,
            begun: false,
            space: String::new(),
            held: Vec::new(),
            ids: Vec::new(),
            given: String::new(),
            text: String::new(),
        }
    }

    /// Takes the next id; returns the text that it completes, never an empty one.
    ///
    /// Special tokens, and ids without a token, have no text.
    ///
    /// # Errors
    /// [`Error::Text`](crate::Error::Text), never for a byte-level tokenizer.
    pub fn push(&mut self, id: u32) -> Result<Option<&str>> {
        self.text.clear();
        match self.tokenizer.token_bytes(id) {
            Some(bytes) => {
                self.held.extend_from_slice(bytes);
                let incomplete = take_text(&self.held, &mut self.text);
                self.held
                    .drain(..self.held.len().saturating_sub(incomplete));
            }
            None => {
                self.ids.push(id);
                let all = self.tokenizer.decode(&self.ids)?;
                // U+FFFD at the end may be the first bytes of a character.
                if let Some(new) = all.strip_prefix(&self.given)
                    && !all.ends_with(char::REPLACEMENT_CHARACTER)
                {
                    self.text.push_str(new);
                    self.given = all;
                }
            }
        }
        self.space();
        Ok(self.ready())
    }

    /// Ends the text: returns what was held back, with U+FFFD for bytes that are no character.
    /// Another text may follow.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(&mut self) -> Result<Option<&str>> {
        self.text.clear();
        self.text.push_str(&String::from_utf8_lossy(&self.held));
        if !self.ids.is_empty() {
            let all = self.tokenizer.decode(&self.ids)?;
            let same = all
                .chars()
                .zip(self.given.chars())
                .take_while(|(a, b)| a == b);
            let length: usize = same.map(|(a, _)| a.len_utf8()).sum();
            self.text.push_str(all.get(length..).unwrap_or_default());
        }
        self.held.clear();
        self.ids.clear();
        self.given.clear();
        self.space();
        if std::mem::take(&mut self.begun) {
            let space = std::mem::take(&mut self.space);
            self.text.push_str(white_space::end(&space));
        }
        Ok(self.ready())
    }

    /// Leave out white space of the new text that is none of the text's.
    fn space(&mut self) {
        match &mut self.spacing {
            Spacing::Kept => {}
            Spacing::Sentence => self.hold_white_space(),
            Spacing::Text { after_space } => {
                if *after_space && self.text.starts_with(' ') {
                    self.text.remove(0);
                }
                if let Some(last) = self.text.chars().next_back() {
                    *after_space = last.is_whitespace();
                }
            }
        }
    }

    /// Drop the white space in front of a sentence, and hold back what may be that at its end.
    fn hold_white_space(&mut self) {
        let new = match self.begun {
            true => std::mem::take(&mut self.space) + &self.text,
            false => self.text.trim_start().to_owned(),
        };
        let (words, space) = new.split_at(new.trim_end().len());
        self.text.clear();
        self.text.push_str(words);
        self.begun |= !words.is_empty();
        self.space = space.to_owned();
    }

    fn ready(&self) -> Option<&str> {
        Some(self.text.as_str()).filter(|text| !text.is_empty())
    }
}

/// Appends `bytes` to `text`, with U+FFFD for what can never become a character; the number of
/// bytes at the end that may begin one, which are left out.
fn take_text(bytes: &[u8], text: &mut String) -> usize {
    let mut seen = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let invalid = chunk.invalid();
        seen += chunk.valid().len() + invalid.len();
        let incomplete = str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
        if seen == bytes.len() && incomplete {
            return invalid.len();
        }
        if !invalid.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    0
}
