//! Search for stop texts in a continuation that arrives piece by piece.

use std::sync::Arc;

use crate::text::with_line_feeds;

/// Passes text on, but never a part of a stop text: what may be its beginning is held back, also
/// beyond the end of a sentence.
#[derive(Clone)]
pub(super) struct StopText {
    stop_texts: Arc<[String]>,
    /// Text that was not passed on, behind white space that was passed on before.
    held: String,
    /// Bytes of that white space.
    passed: usize,
    found: bool,
}

impl StopText {
    /// For a continuation of the text `before`, whose white space at the end may begin a stop text.
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

    /// Take the next piece, and add it to the text of its sentence. Returns whether a stop text is
    /// complete, before which the sentence ends; it is empty if the stop text begins before it.
    pub fn push(&mut self, piece: &str, sentence: &mut String, mut emit: impl FnMut(&str)) -> bool {
        sentence.push_str(piece);
        if self.stop_texts.is_empty() {
            emit_some(piece, &mut emit);
            return false;
        }
        self.held.push_str(piece);
        // What was passed on before is no text of this continuation.
        let ends_new = |&(start, length): &(usize, usize)| start + length > self.passed;
        let found = self.stop_texts.iter();
        let found = found.filter_map(|text| self.held.find(text).map(|start| (start, text.len())));
        if let Some((start, _)) = found.filter(ends_new).min() {
            let cut = self.held.len() - start;
            sentence.truncate(sentence.len().saturating_sub(cut));
            self.pass(start, &mut emit);
            self.held.clear();
            self.found = true;
            return true;
        }
        let kept = self.stop_texts.iter();
        let kept = kept.map(|text| beginning_at_end(&self.held, text)).max();
        self.pass(self.held.len() - kept.unwrap_or(0), &mut emit);
        false
    }

    /// The continuation is over: pass on what was held back, which is no stop text.
    pub fn finish(&mut self, mut emit: impl FnMut(&str)) {
        self.pass(self.held.len(), &mut emit);
    }

    /// Pass on the first bytes of what is held.
    fn pass(&mut self, bytes: usize, emit: &mut impl FnMut(&str)) {
        emit_some(self.held.get(self.passed..bytes).unwrap_or_default(), emit);
        self.held.drain(..bytes);
        self.passed = self.passed.saturating_sub(bytes);
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
    use proptest::prelude::*;

    use super::*;

    fn run(stop_texts: &[&str], before: &str, pieces: &[&str]) -> (Vec<String>, bool) {
        let mut given = Vec::new();
        let stop_texts: Vec<String> = stop_texts.iter().map(ToString::to_string).collect();
        let mut watch = StopText::new(&stop_texts, before);
        let mut emit = |text: &str| given.push(text.to_owned());
        pieces
            .iter()
            .any(|piece| watch.push(piece, &mut String::new(), &mut emit));
        watch.finish(&mut emit);
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
            (
                &["home, they"],
                "",
                &["ran home, ", "they"],
                &["ran "],
                true,
            ),
            (
                &["home, they"],
                "",
                &["ran home, ", "the end"],
                &["ran ", "home, the end"],
                false,
            ),
            (&["home, they"], "", &["home, "], &["home, "], false),
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

    proptest! {
        /// However a text is cut into pieces, what comes before the stop text is passed on.
        #[test]
        fn pieces_make_no_difference(
            pieces in prop::collection::vec("[abé ]{0,4}", 1..8),
            stop_text in "[abé ]{1,4}",
        ) {
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let whole = pieces.concat();
            let (given, found) = run(&[&stop_text], "", &pieces);
            let start = whole.find(&stop_text);
            prop_assert_eq!(found, start.is_some());
            prop_assert_eq!(given.concat(), &whole[..start.unwrap_or(whole.len())]);
        }
    }
}
