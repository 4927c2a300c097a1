//! From text to sentences of token ids, and back.

mod guard;
mod segment;
mod split;
mod stream;
mod token_bytes;
mod tokenizer;

use crate::error::{Error, Result};

pub use segment::{Segments, Tail, segments};
pub use split::LongSentence;
pub use stream::Detokenizer;
pub use tokenizer::SentenceTokenizer;

/// Longest text that is accepted at once, in bytes. A context holds a few thousand sentences; this
/// is far beyond it.
pub const MAX_TEXT_BYTES: usize = 64 << 20;

/// How text is cut for a model: the `segmentation` of a bundle's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Segmentation {
    /// What becomes of the text after the last mark.
    pub tail: Tail,
    /// What becomes of a sentence that is too long for the model.
    pub long_sentence: LongSentence,
}

impl Segmentation {
    /// The same with another treatment of the text after the last mark.
    #[must_use]
    pub fn with_tail(mut self, tail: Tail) -> Self {
        self.tail = tail;
        self
    }

    /// The same with another treatment of sentences that are too long.
    #[must_use]
    pub fn with_long_sentence(mut self, long_sentence: LongSentence) -> Self {
        self.long_sentence = long_sentence;
        self
    }
}

/// A sentence of a text with its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextSentence<'t> {
    /// The sentence as it stands in the text, spaces after it included.
    pub text: &'t str,
    /// Its token ids without bos and eos; at most `max_sentence_tokens - 1`.
    pub ids: Vec<u32>,
    /// Whether `ids` is only the beginning of the sentence ([`LongSentence::Truncate`]).
    pub truncated: bool,
}

/// Turns text into sentences that a model can take: cut, split where too long, and tokenized.
#[derive(Debug, Clone)]
pub struct TextPipeline {
    tokenizer: SentenceTokenizer,
    segmentation: Segmentation,
    /// Tokens of a sentence without bos, at least 1.
    limit: usize,
}

impl TextPipeline {
    /// A pipeline for sentences of at most `max_sentence_tokens` tokens, bos included.
    ///
    /// # Errors
    /// [`Error::SentenceLimit`] if `max_sentence_tokens` is below 2.
    pub fn new(
        tokenizer: SentenceTokenizer,
        segmentation: Segmentation,
        max_sentence_tokens: usize,
    ) -> Result<Self> {
        match max_sentence_tokens.checked_sub(1) {
            None | Some(0) => Err(Error::SentenceLimit {
                found: max_sentence_tokens,
            }),
            Some(limit) => Ok(Self {
                tokenizer,
                segmentation,
                limit,
            }),
        }
    }

    /// The tokenizer in use.
    pub fn tokenizer(&self) -> &SentenceTokenizer {
        &self.tokenizer
    }

    /// The sentences of `text`, one by one: only what is asked for is tokenized.
    ///
    /// # Errors
    /// [`Error::TextTooLarge`] here; each item may be [`Error::CharacterTooLong`] or
    /// [`Error::Encode`], after which the iterator ends.
    pub fn sentences<'p, 't>(&'p self, text: &'t str) -> Result<Sentences<'p, 't>> {
        check_length(text)?;
        Ok(Sentences {
            pipeline: self,
            segments: segments(text, self.segmentation.tail),
            rest: "",
            failed: false,
        })
    }

    /// `text` as one sentence, not cut at its marks; more than one where it is too long and is to
    /// be split.
    ///
    /// # Errors
    /// As [`sentences`](Self::sentences).
    pub fn one_sentence<'p, 't>(&'p self, text: &'t str) -> Result<Sentences<'p, 't>> {
        check_length(text)?;
        Ok(Sentences {
            pipeline: self,
            segments: segments("", Tail::Keep),
            rest: text,
            failed: false,
        })
    }
}

/// Iterator over the sentences of a text; see [`TextPipeline::sentences`].
#[derive(Debug, Clone)]
pub struct Sentences<'p, 't> {
    pipeline: &'p TextPipeline,
    segments: Segments<'t>,
    /// What is left of a sentence that is being split.
    rest: &'t str,
    failed: bool,
}

impl<'t> Sentences<'_, 't> {
    /// After the last sentence: the text that was dropped by [`Tail::Drop`], else empty.
    pub fn dropped(&self) -> &'t str {
        self.segments.remainder()
    }
}

impl<'t> Iterator for Sentences<'_, 't> {
    type Item = Result<TextSentence<'t>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let text = if self.rest.is_empty() {
            self.segments.next()?
        } else {
            self.rest
        };
        let TextPipeline {
            tokenizer,
            segmentation,
            limit,
        } = self.pipeline;
        let sentence = split::first_piece(tokenizer, text, *limit, segmentation.long_sentence);
        match &sentence {
            Ok(sentence) => self.rest = text.get(sentence.text.len()..).unwrap_or_default(),
            Err(_) => self.failed = true,
        }
        Some(sentence)
    }
}

/// Refuses a text that is longer than [`MAX_TEXT_BYTES`].
fn check_length(text: &str) -> Result<()> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Error::TextTooLarge {
            bytes: text.len(),
            limit: MAX_TEXT_BYTES,
        });
    }
    Ok(())
}
