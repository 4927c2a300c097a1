//! The segmentation rule of the original (BestAnHongjun/SentenceVAE, `PassageCollate`), character
//! for character. It knows no abbreviations or decimals: "3.14" is cut after the point.
//!
//! The marks are the pairs `……` `，”` `”，` `。”` `”。` `!”` `”！` `？”` `”？` `,"` `",` `."` `".` `!"`
//! `"!` `?"` `"?`, else one of `，` `。` `”` `！` `？` `；` `：` `,` `.` `!` `?` `;` `:` `"`, newline,
//! carriage return. Spaces, newlines and carriage returns after a mark belong to the sentence that
//! it ends; in front of the first sentence, spaces belong to it, while a newline is a mark like any
//! other.

/// The characters that marks are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// `…`, a mark only as a pair.
    Ellipsis,
    /// `，`
    WideComma,
    /// `。`
    WideStop,
    /// `”`
    WideQuote,
    /// `！`
    WideExclamation,
    /// `？`
    WideQuestion,
    /// `,` `.` and `?`, which pair alike.
    CommaStopQuestion,
    /// `!`, which also pairs with a following `”`, unlike its wide form: so it is in the original.
    Exclamation,
    /// `"`
    Quote,
    /// A mark that is in no pair: `；` `：` `;` `:` newline, carriage return.
    Alone,
}

/// The first bytes of all signs in UTF-8. Bytes inside a character never look like a first byte.
const FIRST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b",.!?;:\"\n\r\xe2\xe3\xef";
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] = true;
        i += 1;
    }
    table
};

/// The sign that `bytes` starts with, and its length.
fn sign(bytes: &[u8]) -> Option<(Sign, usize)> {
    Some(match bytes {
        [b',' | b'.' | b'?', ..] => (Sign::CommaStopQuestion, 1),
        [b'!', ..] => (Sign::Exclamation, 1),
        [b'"', ..] => (Sign::Quote, 1),
        [b';' | b':' | b'\n' | b'\r', ..] => (Sign::Alone, 1),
        [0xe2, 0x80, 0xa6, ..] => (Sign::Ellipsis, 3),
        [0xe2, 0x80, 0x9d, ..] => (Sign::WideQuote, 3),
        [0xe3, 0x80, 0x82, ..] => (Sign::WideStop, 3),
        [0xef, 0xbc, 0x81, ..] => (Sign::WideExclamation, 3),
        [0xef, 0xbc, 0x8c, ..] => (Sign::WideComma, 3),
        [0xef, 0xbc, 0x9a | 0x9b, ..] => (Sign::Alone, 3),
        [0xef, 0xbc, 0x9f, ..] => (Sign::WideQuestion, 3),
        _ => return None,
    })
}

/// The length of the mark that `bytes` starts with; a pair comes before a single sign.
fn mark(bytes: &[u8]) -> Option<usize> {
    use Sign::*;
    let (first, length) = sign(bytes)?;
    if let Some((second, more)) = bytes.get(length..).and_then(sign)
        && matches!(
            (first, second),
            (Ellipsis, Ellipsis)
                | (WideComma | WideStop | WideQuestion | Exclamation, WideQuote)
                | (
                    WideQuote,
                    WideComma | WideStop | WideExclamation | WideQuestion
                )
                | (CommaStopQuestion | Exclamation, Quote)
                | (Quote, CommaStopQuestion | Exclamation)
        )
    {
        return Some(length + more);
    }
    (first != Ellipsis).then_some(length)
}

/// Where the first sentence of `bytes` ends, white space after it included; `None` if no mark ends
/// one.
pub(super) fn sentence_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += bytes
            .get(at..)?
            .iter()
            .position(|&byte| FIRST_BYTES[usize::from(byte)])?;
        let rest = bytes.get(at..)?;
        if let Some(length) = mark(rest) {
            let blank = rest
                .iter()
                .skip(length)
                .take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r'))
                .count();
            return Some(at + length + blank);
        }
        // A character that only starts like a sign, or a single `…`.
        at += 1;
    }
}
