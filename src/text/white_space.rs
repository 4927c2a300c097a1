//! Canonical white space: what a model sees of the blanks and line breaks of a sentence.
//!
//! A sentence keeps its own white space in the text; its token ids are those of the canonical form.
//! `export/sllm_train/text/white_space.py` is the same rule in Python.

use serde::Deserialize;

use super::line_feeds::BYTE_ORDER_MARK;

/// How white space reaches the model: `segmentation.white_space` of a bundle's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum WhiteSpace {
    /// As it is in the text: what checkpoints of the original were trained with.
    #[default]
    Kept,
    /// In canonical form: one blank between words, none in front, and at the end nothing but a
    /// line break where the text has one. The end of a text counts as no line break. Line breaks
    /// are LF whatever the text has (CRLF, CR, ...). Soft hyphens, zero width spaces, word joiners
    /// and byte order marks are left out.
    Canonical,
}

/// Whether `c` breaks a line.
pub(super) fn is_line_break(c: char) -> bool {
    matches!(
        c,
        '\n' | '\u{b}' | '\u{c}' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Whether `text` has no visible character: it is empty, or has only white space, control
/// characters and other invisible ones, such as U+200B (zero width space).
///
/// ```
/// assert!(sllm_ort::text::is_blank(" \u{200b}\n"));
/// assert!(!sllm_ort::text::is_blank(" ."));
/// ```
#[must_use]
pub fn is_blank(text: &str) -> bool {
    let invisible = |c: char| c.is_whitespace() || c.is_control() || is_ignorable(c);
    text.chars().all(invisible)
}

/// Whether `c` is never drawn: Unicode's Default_Ignorable_Code_Point, interlinear annotations, and
/// the empty pattern of Braille.
fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | BYTE_ORDER_MARK
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// `text` without the white space and the byte order marks in front of it. A mark is also inside a
/// text that was put together of files.
pub(super) fn trim_indent(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_whitespace() || c == BYTE_ORDER_MARK)
}

/// Whether canonical form leaves `c` out wherever it stands: soft hyphen, zero width space, word
/// joiner, byte order mark.
fn is_left_out(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}' | BYTE_ORDER_MARK)
}

/// Whether nothing of `text` is in the canonical form.
pub(super) fn says_nothing(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_left_out(c))
}

/// The canonical form of `piece`, empty if it says nothing; `ends_text` drops the line break at its
/// end.
pub(super) fn canonical(piece: &str, ends_text: bool) -> String {
    let mut form = String::with_capacity(piece.len());
    for word in piece.split_whitespace().filter(|word| !says_nothing(word)) {
        if !form.is_empty() {
            form.push(' ');
        }
        form.extend(word.chars().filter(|&c| !is_left_out(c)));
    }
    if !form.is_empty() && !ends_text && breaks_line_at_end(piece) {
        form.push('\n');
    }
    form
}

/// Bytes of the words of `text`, which canonical form has at least.
pub(super) fn word_bytes(text: &str) -> usize {
    let kept = text
        .chars()
        .filter(|&c| !c.is_whitespace() && !is_left_out(c));
    kept.map(char::len_utf8).sum()
}

/// Whether the white space at the end of `piece` holds a line break.
fn breaks_line_at_end(piece: &str) -> bool {
    piece
        .chars()
        .rev()
        .take_while(|c| c.is_whitespace())
        .any(is_line_break)
}

/// The text of a decoded sentence: no white space in front, and behind it a line break, if one was
/// decoded there, or a blank.
pub(super) fn sentence(decoded: &str) -> String {
    let words = decoded.trim();
    match words {
        "" => String::new(),
        _ => format!("{words}{}", end(decoded)),
    }
}

/// What stands behind a decoded sentence that ends with this white space.
pub(super) fn end(decoded: &str) -> &'static str {
    if breaks_line_at_end(decoded) {
        "\n"
    } else {
        " "
    }
}

/// The words of a decoded sentence with the white space around `original`.
pub(super) fn surround(decoded: &str, original: &str) -> String {
    let says_nothing = |c: char| c.is_whitespace() || is_left_out(c);
    let start = original.len() - original.trim_start_matches(says_nothing).len();
    let end = original.trim_end_matches(says_nothing).len().max(start);
    let (before, after) = (original.get(..start), original.get(end..));
    [
        before.unwrap_or_default(),
        decoded.trim(),
        after.unwrap_or_default(),
    ]
    .concat()
}
