//! Limit on the length of a window.

use super::file_sentence::FileSentence;
use crate::{error::Result, text::TextPipeline};

/// How long a window may be.
#[derive(Clone, Copy, Debug)]
pub enum WindowLimit {
    /// In sentences.
    Sentences(usize),
    /// In tokens of the text of whole sentences, bos not counted; each sentence alone has no more.
    Tokens(usize),
}

impl WindowLimit {
    /// How many of `sentences` make the first window; `None` if that depends on what follows them,
    /// and the record has not `ended` with them.
    pub fn fitting(
        self,
        pipeline: &TextPipeline,
        sentences: &[FileSentence],
        ended: bool,
    ) -> Result<Option<usize>> {
        match self {
            Self::Sentences(limit) => {
                let known = sentences.len() > limit || ended;
                Ok(known.then(|| sentences.len().min(limit)))
            }
            Self::Tokens(limit) => fitting_tokens(pipeline, sentences, ended, limit),
        }
    }
}

/// A text has other tokens than its sentences alone: in GPT-2's way a space belongs to the word behind
/// it. So sentences are added by their own tokens, in rounds, each of which begins with the tokens
/// of the text so far.
fn fitting_tokens(
    pipeline: &TextPipeline,
    sentences: &[FileSentence],
    ended: bool,
    limit: usize,
) -> Result<Option<usize>> {
    let together = |count: usize| {
        let texts = sentences[..count].iter().map(|s| s.text.as_str());
        pipeline
            .encode(&texts.collect::<String>())
            .map(|ids| ids.len())
    };
    let (mut count, mut tokens) = (0, 0);
    while tokens <= limit {
        let before = count;
        while let Some(next) = sentences.get(count)
            && tokens + next.ids.len() <= limit
        {
            tokens += next.ids.len();
            count += 1;
        }
        if count == sentences.len() && !ended {
            return Ok(None);
        }
        if count == before {
            break;
        }
        tokens = together(count)?;
    }
    // Two line ends are one token at the end of a text, and two where a word follows.
    while tokens > limit && count > 1 {
        let over = tokens - limit;
        let mut removed = 0;
        while removed < over && count > 1 {
            count -= 1;
            removed += sentences[count].ids.len();
        }
        tokens = together(count)?;
    }
    Ok(Some(count))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        bundle::Bundle,
        eval::{
            records::Position,
            windows::{Window, Windows},
        },
        text::{Segmentation, SentenceTokenizer, TextPipeline},
    };

    const LIMIT: usize = 20;

    /// The tiny one, in which two line ends are one token, as in GPT-2's.
    fn tokenizer() -> SentenceTokenizer {
        let bundle = Bundle::open("tests/golden/bundle-opt").unwrap();
        let json = std::fs::read("tests/golden/bundle-opt/tokenizer.json").unwrap();
        let mut json: Value = serde_json::from_slice(&json).unwrap();
        json["model"]["vocab"]["ĊĊ"] = 61.into();
        let merges = json["model"]["merges"].as_array_mut().unwrap();
        merges.push(json!(["Ċ", "Ċ"]));
        let json = json.to_string();
        SentenceTokenizer::from_bytes(json.as_bytes(), &bundle.config, "tokenizer").unwrap()
    }

    fn windows(text: &str, from: Position, piece_bytes: usize) -> Vec<Window> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let pipeline = TextPipeline::new(tokenizer(), Segmentation::default(), LIMIT + 1).unwrap();
        let limit = WindowLimit::Tokens(LIMIT);
        let mut windows = Windows::open(&pipeline, file.path(), from, limit).unwrap();
        windows.set_piece_bytes(piece_bytes);
        std::iter::from_fn(|| windows.next_window().unwrap()).collect()
    }

    fn tokens(text: &str) -> usize {
        tokenizer().encode(text).unwrap().len()
    }

    /// Records of one and many sentences, short ones, one too long, line ends that have more tokens in
    /// the text than alone.
    fn text() -> String {
        let records = [
            "the cat. the hat.",
            &"Hello, the cat and the hat. the end! so? ".repeat(9),
            "a",
            &"a.\n\n".repeat(30),
            &format!("so. {} end. the cat.", "the hat and ".repeat(9)),
            &"!".repeat(50),
        ];
        records.join("\n<|endoftext|>\n")
    }

    #[test]
    fn windows_hold_what_fits() {
        let text = text();
        let whole = windows(&text, Position::default(), 1 << 20);
        let all: String = whole.iter().map(Window::text).collect();
        let records = text.split("\n<|endoftext|>\n");
        assert_eq!(all, records.map(str::trim).collect::<String>());
        for (window, next) in whole.iter().zip(whole.iter().skip(1)) {
            let held = tokens(&window.text());
            assert!((1..=LIMIT).contains(&held), "{held}: {window:?}");
            if !window.ends_record {
                let more = held + next.sentences[0].ids.len();
                assert!(more + 3 > LIMIT, "{more}: {window:?}");
            }
        }
    }

    #[test]
    fn windows_are_the_same_however_the_file_is_read() {
        let text = text();
        let whole = windows(&text, Position::default(), 1 << 20);
        for piece_bytes in [150, 200, 333] {
            assert_eq!(windows(&text, Position::default(), piece_bytes), whole);
        }
        for (number, window) in whole.iter().enumerate() {
            assert_eq!(windows(&text, window.next, 200), whole[number + 1..]);
        }
    }
}
