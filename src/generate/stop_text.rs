//! Search for stop texts in a sentence that arrives piece by piece.

use std::ops::ControlFlow;

use crate::{
    error::{Error, SHOWN_CHARS},
    text::{Segments, with_line_feeds},
};

/// What a stop text may be, besides not empty: it is looked for within each sentence.
pub(super) const ONE_SENTENCE: &str = "a text that ends with its first sentence";

/// Whether a stop text that is cut into these pieces goes on after its first sentence.
pub(super) fn crosses_sentences(pieces: Segments<'_>) -> bool {
    pieces.filter(|piece| !piece.trim().is_empty()).count() > 1
}

pub(super) fn refused(text: &str, allowed: &str) -> Error {
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    let rest = match shown.len() < text.len() {
        true => "...",
        false => "",
    };
    Error::InvalidOption {
        option: "stop",
        value: format!("{shown:?}{rest}"),
        allowed: allowed.to_owned(),
    }
}

/// Passes text on, but never a part of a stop text: what may be its beginning is held back.
pub(super) struct StopText {
    stop_texts: Vec<String>,
    /// Text that was not passed on, behind white space that was passed on before.
    held: String,
    /// Bytes of that white space.
    passed: usize,
    found: bool,
}

impl StopText {
    /// For a sentence after `before`, whose white space at the end may begin a stop text.
    ///
    /// A line break there is LF, as models write it, and a stop text with CRLF or CR is looked for
    /// with LF too.
    pub fn new(stop_texts: &[String], before: &str) -> Self {
        let space = match stop_texts.is_empty() {
            true => "",
            false => &before[before.trim_end().len()..],
        };
        let space = with_line_feeds(space).into_owned();
        let other_breaks = stop_texts.iter().filter(|text| text.contains('\r'));
        let with_feeds = other_breaks.map(|text| with_line_feeds(text).into_owned());
        Self {
            stop_texts: stop_texts.iter().cloned().chain(with_feeds).collect(),
            passed: space.len(),
            held: space,
            found: false,
        }
    }

    pub fn found(&self) -> bool {
        self.found
    }

    /// Take the next piece; breaks when a stop text is complete.
    pub fn push(&mut self, piece: &str, emit: &mut impl FnMut(&str)) -> ControlFlow<()> {
        if self.stop_texts.is_empty() {
            emit_some(piece, emit);
            return ControlFlow::Continue(());
        }
        self.held.push_str(piece);
        // What was passed on before is no text of this sentence.
        let ends_new = |&(start, length): &(usize, usize)| start + length > self.passed;
        let found = self.stop_texts.iter();
        let found = found.filter_map(|text| self.held.find(text).map(|start| (start, text.len())));
        if let Some((start, _)) = found.filter(ends_new).min() {
            self.emit_up_to(start, emit);
            self.found = true;
            return ControlFlow::Break(());
        }
        let kept = self.stop_texts.iter();
        let kept = kept.map(|text| beginning_at_end(&self.held, text)).max();
        let safe = self.held.len() - kept.unwrap_or(0);
        self.emit_up_to(safe, emit);
        self.held.drain(..safe);
        self.passed = self.passed.saturating_sub(safe);
        ControlFlow::Continue(())
    }

    /// The sentence is over: what was held back is no stop text.
    pub fn finish(&mut self, emit: &mut impl FnMut(&str)) {
        self.emit_up_to(self.held.len(), emit);
        self.held.clear();
        self.passed = 0;
    }

    fn emit_up_to(&self, end: usize, emit: &mut impl FnMut(&str)) {
        emit_some(self.held.get(self.passed..end).unwrap_or_default(), emit);
    }
}

fn emit_some(text: &str, emit: &mut impl FnMut(&str)) {
    if !text.is_empty() {
        emit(text);
    }
}

/// Length of the longest end of `text` that `stop_text` begins with.
fn beginning_at_end(text: &str, stop_text: &str) -> usize {
    let longest = stop_text.len().min(text.len());
    let lengths = (1..=longest)
        .rev()
        .filter(|&length| stop_text.is_char_boundary(length));
    lengths
        .into_iter()
        .find(|&length| text.ends_with(&stop_text[..length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stop_texts: &[&str], before: &str, pieces: &[&str]) -> (Vec<String>, bool) {
        let mut given = Vec::new();
        let stop_texts: Vec<String> = stop_texts.iter().map(ToString::to_string).collect();
        let mut watch = StopText::new(&stop_texts, before);
        let mut emit = |text: &str| given.push(text.to_owned());
        let ended = pieces
            .iter()
            .any(|piece| watch.push(piece, &mut emit).is_break());
        if !ended {
            watch.finish(&mut emit);
        }
        (given, watch.found())
    }

    #[test]
    fn cases() {
        type Case<'a> = (&'a [&'a str], &'a str, &'a [&'a str], &'a [&'a str], bool);
        let cases: &[Case<'_>] = &[
            (&[], "", &["a", "", "b"], &["a", "b"], false),
            (&["end"], "", &["the e", "n", "d of"], &["the "], true),
            (&["end"], "", &["the e", "nt"], &["the ", "ent"], false),
            (&["end"], "", &["the en"], &["the ", "en"], false),
            (&["end"], "", &["end"], &[], true),
            (&["aab"], "", &["a", "a", "a", "b", "c"], &["a"], true),
            (&["é!"], "", &["caf", "é", "?"], &["caf", "é?"], false),
            // The first that comes, of several.
            (&["end", "he"], "", &["the end"], &["t"], true),
            (&["xy", "x"], "", &["ab", "x"], &["ab"], true),
            // White space behind the text before.
            (&["\nUser:"], "So.\n", &["Us", "er: hi"], &[], true),
            (&["\nUser:"], "So.\n", &["Usual."], &["Usual."], false),
            (&["\nUser:"], "So. ", &["User: hi"], &["User: hi"], false),
            (&["\n"], "So.\n", &["Well", ".\n"], &["Well", "."], true),
            (&["\n\n"], "So.\n", &["Well.", "\n\n"], &["Well."], true),
            (&["\n\n"], "So.\n", &["\nWell"], &[], true),
            // Line breaks of other systems.
            (&["\nUser:"], "So.\r\n", &["User: hi"], &[], true),
            (&["\n\n"], "So.\r", &["Well.", "\n\n"], &["Well."], true),
            (&["\r\nUser:"], "So.\n", &["User: hi"], &[], true),
            (&["\r\n"], "So.", &["Well.", "\n"], &["Well."], true),
            (&["\r\n"], "So.", &["Well.", "\r\n"], &["Well."], true),
            (&["\r\n"], "So.\r\n", &["Well."], &["Well."], false),
        ];
        for (stop_texts, before, pieces, given, found) in cases {
            assert_eq!(
                run(stop_texts, before, pieces),
                (given.iter().map(ToString::to_string).collect(), *found),
                "{stop_texts:?} in {pieces:?} after {before:?}"
            );
        }
    }
}
