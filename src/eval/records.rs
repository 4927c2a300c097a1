//! The records of a text file, read piece by piece.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result, TextError},
    text::{LineFeeds, Rule, Segmentation, is_blank},
};

/// The mark that ends a record, on a line of its own or within a line.
pub const SEPARATOR: &str = "<|endoftext|>";
/// The longest text of a record that is held at once, in bytes; a longer one is handed out in
/// pieces that end with a sentence.
const PIECE_BYTES: usize = 256 << 10;
/// Read at least this much at once.
const LINE_BYTES: usize = 32;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A place in the file where a sentence or a record begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Bytes in front of it.
    pub offset: u64,
    /// Whether it is inside a record, behind its first sentence.
    pub in_record: bool,
}

/// A part of a record that ends with a sentence, its line breaks as LF.
#[derive(Debug)]
pub struct Piece {
    text: LineFeeds,
    /// Where the text begins in the file.
    offset: u64,
    /// Where the next record begins, if the record ends here.
    pub next_record: Option<u64>,
}

impl Piece {
    pub fn text(&self) -> &str {
        &self.text.text
    }

    /// Where the byte `at` of the text is in the file.
    pub fn offset(&self, at: usize) -> u64 {
        self.offset + self.text.original(at) as u64
    }
}

/// The text of a file, piece by piece.
#[derive(Debug)]
pub struct Records {
    reader: BufReader<File>,
    path: PathBuf,
    rule: Rule,
    /// Text of the record that was read and not handed out.
    buffer: Vec<u8>,
    /// Where `buffer` begins in the file.
    offset: u64,
    /// How much of `buffer` holds no separator.
    searched: usize,
    in_record: bool,
    done: bool,
    pub(super) piece_bytes: usize,
}

impl Records {
    /// The text of a file from a place on; pieces of records end with a sentence by `rule`.
    pub fn open(path: &Path, from: Position, rule: Rule) -> Result<Self> {
        let (reader, offset) = open_at(path, from.offset).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            reader,
            path: path.to_owned(),
            rule,
            buffer: Vec::new(),
            offset,
            searched: 0,
            in_record: from.in_record,
            done: false,
            piece_bytes: PIECE_BYTES,
        })
    }

    /// The next piece; its text may be empty.
    pub fn next_piece(&mut self) -> Result<Option<Piece>> {
        while !self.done {
            if let Some(start) = self.separator() {
                let after = self.line_end(start + SEPARATOR.len());
                return self.end_record(start, after).map(Some);
            }
            // The end may be the beginning of one.
            self.searched = self.buffer.len().saturating_sub(SEPARATOR.len() - 1);
            if self.buffer.len() >= self.piece_bytes
                && let Some(piece) = self.cut()?
            {
                return Ok(Some(piece));
            }
            let room = self.piece_bytes.saturating_sub(self.buffer.len());
            let read = (&mut self.reader)
                .take(room.max(LINE_BYTES) as u64)
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| Error::Read {
                    path: self.path.clone(),
                    source,
                })?;
            if read == 0 {
                self.done = true;
                let end = self.buffer.len();
                return self.end_record(end, end).map(Some);
            }
        }
        Ok(None)
    }

    /// Where a separator begins in the part of the buffer that was not searched.
    fn separator(&self) -> Option<usize> {
        let rest = self.buffer.get(self.searched..)?;
        let mut windows = rest.windows(SEPARATOR.len());
        let found = windows.position(|bytes| bytes == SEPARATOR.as_bytes())?;
        Some(self.searched + found)
    }

    /// The end of the line at `at`, if there are only blanks up to it; else `at`.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.buffer.get(at..).unwrap_or_default();
        let blanks = rest.iter().take_while(|byte| b" \t\r".contains(byte));
        match blanks.count() {
            blanks if rest.get(blanks) == Some(&b'\n') => at + blanks + 1,
            _ => at,
        }
    }

    /// The rest of the record, which ends at `end` in the buffer; the next one begins at `after`.
    fn end_record(&mut self, end: usize, after: usize) -> Result<Piece> {
        let (text, trimmed) = {
            let bytes = self.without_nul(&self.buffer[..end])?;
            let text =
                std::str::from_utf8(bytes).map_err(|error| self.not_utf8(error.valid_up_to()))?;
            let kept = match self.without_indent(text) {
                // A record that nobody sees.
                kept if !self.in_record && is_blank(kept) => "",
                kept => kept,
            };
            (LineFeeds::new(kept.trim_end()), text.len() - kept.len())
        };
        let offset = self.offset + trimmed as u64;
        self.offset += after as u64;
        self.buffer.drain(..after);
        self.searched = 0;
        self.in_record = false;
        Ok(Piece {
            text,
            offset,
            next_record: Some(self.offset),
        })
    }

    /// The sentences of a full buffer but for the last two: a mark may need what follows it.
    fn cut(&mut self) -> Result<Option<Piece>> {
        // What comes after may begin a separator.
        let bytes = self.without_nul(self.buffer.get(..self.searched).unwrap_or_default())?;
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            // The buffer may end within a character.
            Err(error) if error.error_len().is_none() => {
                std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(error) => return Err(self.not_utf8(error.valid_up_to())),
        };
        // A CR at the end may be half of a line break.
        let text = text.strip_suffix('\r').unwrap_or(text);
        let kept = self.without_indent(text);
        let trimmed = text.len() - kept.len();
        let mut text = LineFeeds::new(kept);
        let segmentation = Segmentation::default().with_rule(self.rule);
        let [last, last_two] = segmentation.segments(&text.text).incomplete_bytes();
        // One sentence that is as long as this is cut where it happens to be.
        let ends = [last_two, last, 0].map(|kept| text.text.len() - kept);
        let end = ends.into_iter().find(|&end| end > 0).unwrap_or(0);
        let taken = trimmed + text.original(end);
        text.text.truncate(end);
        let piece = (end > 0).then(|| Piece {
            text,
            offset: self.offset + trimmed as u64,
            next_record: None,
        });
        self.in_record |= piece.is_some();
        self.buffer.drain(..taken);
        self.searched = 0;
        self.offset += taken as u64;
        Ok(piece)
    }

    /// A record begins with its first character that is no white space.
    fn without_indent<'t>(&self, text: &'t str) -> &'t str {
        if self.in_record {
            text
        } else {
            text.trim_start()
        }
    }

    /// The bytes at the beginning of the buffer, if there is no NUL among them.
    fn without_nul<'b>(&self, bytes: &'b [u8]) -> Result<&'b [u8]> {
        let Some(place) = bytes.iter().position(|&byte| byte == 0) else {
            return Ok(bytes);
        };
        let (byte, line) = self.place_in_file(place);
        let path = self.path.clone();
        Err(Error::Text(TextError::Nul { path, byte, line }))
    }

    fn not_utf8(&self, place: usize) -> Error {
        let (byte, line) = self.place_in_file(place);
        let path = self.path.clone();
        Error::Text(TextError::NotUtf8 { path, byte, line })
    }

    /// A place in the buffer as the number of bytes in front of it in the file, and its line.
    fn place_in_file(&self, place: usize) -> (u64, Option<u64>) {
        let byte = self.offset + place as u64;
        (byte, line_of(&self.path, byte).ok())
    }
}

/// A reader at `offset`, behind a byte order mark at the beginning, and where that is.
fn open_at(path: &Path, offset: u64) -> io::Result<(BufReader<File>, u64)> {
    let mut file = File::open(path)?;
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))?;
        return Ok((BufReader::new(file), offset));
    }
    let mut reader = BufReader::new(rewound(file)?);
    let mark = reader.fill_buf()?.starts_with(BYTE_ORDER_MARK);
    let skipped = if mark { BYTE_ORDER_MARK.len() } else { 0 };
    reader.consume(skipped);
    Ok((reader, skipped as u64))
}

/// The file at its beginning: `/dev/fd` may give one that was read already. A pipe is where it is.
fn rewound(mut file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        file.rewind()?;
    }
    Ok(file)
}

/// The line, from 1, that a byte is on.
fn line_of(path: &Path, byte: u64) -> io::Result<u64> {
    let mut reader = BufReader::new(rewound(File::open(path)?)?.take(byte));
    let (mut line, mut before) = (1, 0);
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(line);
        }
        for &byte in buffer {
            line += u64::from(byte == b'\r' || byte == b'\n' && before != b'\r');
            before = byte;
        }
        let length = buffer.len();
        reader.consume(length);
    }
}

#[cfg(test)]
mod tests;
