//! Sentences with more tokens than the model takes.

use serde::Deserialize;

use super::{SentenceTokenizer, TextSentence, tokenizer::Encoded};
use crate::error::{Error, Result, TextError};

/// What happens to a sentence with more tokens than the model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LongSentence {
    /// It is split into pieces that fit, at a word boundary where there is one.
    ///
    /// The cut is the last one that fits of: the starts of words within the first tokens that fit,
    /// else the ends of those tokens. Spaces between words belong to the piece before, as they do
    /// between sentences.
    #[default]
    Split,
    /// Its first tokens are kept and the rest is dropped, as in the original.
    Truncate,
}

/// Bytes per token that are looked at first: about twice what a token of English has.
const WINDOW_BYTES_PER_TOKEN: usize = 8;
/// A word longer than this many times the first window is cut without having been seen whole.
const SPLIT_PATIENCE: usize = 2;
/// The same for truncation, which looks only once at each sentence.
const TRUNCATE_PATIENCE: usize = 128;

/// The beginning of `text` that has at most `limit` tokens, for `limit` of at least 1.
pub(super) fn first_piece<'t>(
    tokenizer: &SentenceTokenizer,
    text: &'t str,
    limit: usize,
    policy: LongSentence,
) -> Result<TextSentence<'t>> {
    let patience = match policy {
        LongSentence::Split => SPLIT_PATIENCE,
        LongSentence::Truncate => TRUNCATE_PATIENCE,
    };
    let mut encoded = look_ahead(tokenizer, text, limit, patience)?;
    if encoded.ids.len() <= limit {
        return Ok(TextSentence {
            text,
            ids: encoded.ids,
            truncated: false,
        });
    }
    match policy {
        LongSentence::Truncate => {
            encoded.ids.truncate(limit);
            Ok(TextSentence {
                text,
                ids: encoded.ids,
                truncated: true,
            })
        }
        LongSentence::Split => cut(tokenizer, text, limit, &encoded),
    }
}

/// Bytes that are looked at first.
pub(super) fn first_window(limit: usize) -> usize {
    limit.saturating_mul(WINDOW_BYTES_PER_TOKEN)
}

/// Encodes as much of `text` as shows its first `limit` tokens: all of it, or else more than
/// `limit` tokens.
///
/// The end of a window that is cut out of a longer text may have other tokens than the text. So the
/// window grows until the last token that counts lies in a word before the window's last one, or
/// `patience` is at its end: that keeps the work on a text that is one endless word linear.
fn look_ahead(
    tokenizer: &SentenceTokenizer,
    text: &str,
    limit: usize,
    patience: usize,
) -> Result<Encoded> {
    let first = first_window(limit);
    let mut size = first;
    loop {
        let (window, rest) = text.split_at(text.floor_char_boundary(size));
        let encoded = tokenizer.encode_with_ends(window)?;
        if rest.is_empty() {
            return Ok(encoded);
        }
        if encoded.ids.len() > limit {
            let settled = encoded.words.get(limit - 1) < encoded.words.last();
            if settled || size >= first.saturating_mul(patience) {
                return Ok(encoded);
            }
        }
        size = size.saturating_mul(2);
    }
}

/// Cuts a piece off `text`, whose beginning is `encoded` and has more than `limit` tokens.
fn cut<'t>(
    tokenizer: &SentenceTokenizer,
    text: &'t str,
    limit: usize,
    encoded: &Encoded,
) -> Result<TextSentence<'t>> {
    let ends = encoded.ends.get(..limit).unwrap_or(&encoded.ends);
    let reach = ends.last().map_or(0, |&end| text.floor_char_boundary(end));
    let token_ends = ends
        .iter()
        .rev()
        .copied()
        .filter(|&end| (1..=reach).contains(&end) && text.is_char_boundary(end));
    for end in word_starts(text, reach).chain(token_ends) {
        // Alone, a piece may have other tokens than as a part, and one more for the space at its
        // end.
        let (piece, _) = text.split_at(end);
        let ids = tokenizer.encode(piece)?;
        if ids.len() <= limit {
            return Ok(TextSentence {
                text: piece,
                ids,
                truncated: false,
            });
        }
    }
    let Some(character) = text.chars().next() else {
        return Ok(TextSentence {
            text,
            ids: Vec::new(),
            truncated: false,
        });
    };
    let (piece, _) = text.split_at(character.len_utf8());
    let ids = tokenizer.encode(piece)?;
    match ids.len() {
        tokens if tokens > limit => Err(Error::Text(TextError::CharacterTooLong {
            character,
            tokens,
            limit,
        })),
        _ => Ok(TextSentence {
            text: piece,
            ids,
            truncated: false,
        }),
    }
}

/// The starts of words in `text` up to `reach`, last first, but for the first word.
fn word_starts(text: &str, reach: usize) -> impl Iterator<Item = usize> {
    let (head, rest) = text.split_at(reach);
    let first_word = head.len() - head.trim_start().len();
    let mut after_is_word = rest.starts_with(|c: char| !c.is_whitespace());
    head.char_indices()
        .rev()
        .filter_map(move |(at, character)| {
            let before_is_space = character.is_whitespace();
            let starts = before_is_space && after_is_word;
            after_is_word = !before_is_space;
            Some(at + character.len_utf8()).filter(|&start| starts && start > first_word)
        })
}
