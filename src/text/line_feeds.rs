//! Conversion of line breaks to line feeds.

use std::borrow::Cow;

pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// `text` without the byte order mark in front of it, which editors of Windows put there.
///
/// ```
/// assert_eq!(sllm_ort::text::without_byte_order_mark("\u{feff}one"), "one");
/// ```
#[must_use]
pub fn without_byte_order_mark(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// `text` with LF for each CRLF and each lone CR, as the command line reads every text.
///
/// ```
/// assert_eq!(sllm_ort::text::with_line_feeds("one\r\ntwo\rthree"), "one\ntwo\nthree");
/// ```
#[must_use]
pub fn with_line_feeds(text: &str) -> Cow<'_, str> {
    match text.contains('\r') {
        false => Cow::Borrowed(text),
        true => Cow::Owned(LineFeeds::new(text).text),
    }
}

/// A text with LF for each line break, and where its bytes were before.
#[derive(Debug)]
pub(crate) struct LineFeeds {
    pub text: String,
    /// The places in `text` of the LFs that were CRLF.
    pairs: Vec<usize>,
}

impl LineFeeds {
    pub fn new(text: &str) -> Self {
        let mut pairs = Vec::new();
        let mut with_feeds = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((line, after)) = rest.split_once('\r') {
            with_feeds.push_str(line);
            rest = match after.strip_prefix('\n') {
                Some(after) => {
                    pairs.push(with_feeds.len());
                    after
                }
                None => after,
            };
            with_feeds.push('\n');
        }
        with_feeds.push_str(rest);
        Self {
            text: with_feeds,
            pairs,
        }
    }

    /// Where the byte `at` of the text was before.
    pub fn original(&self, at: usize) -> usize {
        at + self.pairs.partition_point(|&pair| pair < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_break_is_a_line_feed() {
        for (text, expected) in [
            ("", ""),
            ("a b", "a b"),
            ("a\r\nb\rc\n\r\n", "a\nb\nc\n\n"),
            ("\r\r\n\n\r", "\n\n\n\n"),
            ("é\r\nü\r", "é\nü\n"),
        ] {
            assert_eq!(with_line_feeds(text), expected, "{text:?}");
        }
    }

    #[test]
    fn places_lead_back_to_the_original() {
        let original = "é\r\nb\rc\n\r\n\r\nd";
        let found = LineFeeds::new(original);
        for (at, c) in found.text.char_indices().filter(|(_, c)| *c != '\n') {
            assert!(original[found.original(at)..].starts_with(c), "{at}");
        }
        let breaks: Vec<_> = found.text.match_indices('\n').collect();
        let before: Vec<_> = breaks.iter().map(|(at, _)| found.original(*at)).collect();
        assert_eq!(before, [2, 5, 7, 8, 10]);
        assert_eq!(found.original(found.text.len()), original.len());
    }
}
