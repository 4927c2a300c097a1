//! What a client sent, in messages.

/// Longest name or value of a client that a message repeats, in characters.
const SHOWN_CHARS: usize = 80;

/// A name or value of a client, shortened.
pub fn shown(text: &str) -> String {
    shortened(text.to_owned(), SHOWN_CHARS)
}

/// A text of at most `limit` characters, and dots in place of the others.
pub fn shortened(mut text: String, limit: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(limit) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, expected) in [
            ("", ""),
            ("äöü", "äöü"),
            ("äöüß", "äöü..."),
            ("abcd", "abc..."),
        ] {
            assert_eq!(shortened(text.to_owned(), 3), expected);
        }
    }
}
