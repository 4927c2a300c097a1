//! What is wrong with a text, or with tokens that stand for one.

use std::path::PathBuf;

use super::{BoxedError, Error, message::on_line};

/// What is wrong with a text, or with tokens that stand for one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The tokenizer failed on a text.
    #[error("cannot tokenize a text of {bytes} bytes")]
    Encode {
        /// Length of the text.
        bytes: usize,
        /// What the tokenizer library said.
        source: BoxedError,
    },
    /// The tokenizer has no token for a character, nor for the bytes of it.
    #[error("the tokenizer of this model does not know {character:?}: remove it from the text")]
    UnknownCharacter {
        /// The character.
        character: char,
    },
    /// The tokenizer failed on token ids.
    #[error("cannot turn {tokens} token ids into text")]
    Decode {
        /// How many there were.
        tokens: usize,
        /// What the tokenizer library said.
        source: BoxedError,
    },
    /// A text is longer than is accepted at once.
    #[error("the text has {bytes} bytes, at most {limit} are allowed: give it in parts")]
    TooLarge {
        /// Length of the text.
        bytes: usize,
        /// The longest that is accepted.
        limit: usize,
    },
    /// A sentence limit that leaves no room for a token.
    #[error(
        "a sentence of at most {found} tokens, bos included, can hold nothing: at least 2 are needed"
    )]
    SentenceLimit {
        /// The limit given.
        found: usize,
    },
    /// One character alone needs more tokens than a sentence may have.
    #[error(
        "character {character:?} needs {tokens} tokens, a sentence of this model has room for {limit}: remove it from the text"
    )]
    CharacterTooLong {
        /// The character.
        character: char,
        /// The tokens it needs, without bos.
        tokens: usize,
        /// Most tokens of a sentence, without bos.
        limit: usize,
    },
    /// A text to be taken as one sentence has too many tokens.
    #[error(
        "a text of {bytes} bytes has more than the {limit} tokens that a sentence of this model may have: cut it into sentences first"
    )]
    SentenceTooLong {
        /// Length of the text.
        bytes: usize,
        /// Most tokens, without bos.
        limit: usize,
    },
    /// A text file is not UTF-8.
    #[error("{}: not UTF-8 text at byte {byte}{}: convert it to UTF-8 first", .path.display(), on_line(*line))]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Offset of the first byte that is not UTF-8.
        byte: u64,
        /// Its line, from 1, if the file could be read again to count.
        line: Option<u64>,
    },
    /// A text file contains a NUL character.
    #[error("{}: NUL character at byte {byte}{}: it looks like UTF-16 or a binary file: convert it to UTF-8 first", .path.display(), on_line(*line))]
    Nul {
        /// The file.
        path: PathBuf,
        /// Offset of the NUL, in bytes.
        byte: u64,
        /// Its line, from 1, if the file could be read again to count.
        line: Option<u64>,
    },
    /// A text file contains no sentence.
    #[error("{}: holds no sentence: give a file with text", .path.display())]
    NoSentences {
        /// The file.
        path: PathBuf,
    },
    /// A part of a text file cannot be used by the model.
    #[error("{}: the text at byte {byte} cannot be used", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Where the sentence begins.
        byte: u64,
        /// What is wrong with it.
        source: Box<Error>,
    },
}
