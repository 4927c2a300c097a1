//! A text file as windows of sentences.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use super::{
    file_sentence::FileSentence,
    records::{Piece, Position, Records},
    window_limit::WindowLimit,
};
use crate::{
    error::{Error, Result, TextError},
    text::TextPipeline,
};

/// Consecutive sentences of one record, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub sentences: Vec<FileSentence>,
    pub starts_record: bool,
    pub ends_record: bool,
    /// Where the next window begins.
    pub next: Position,
}

impl Window {
    /// The sentences that have one in front of them.
    pub fn following(&self) -> &[FileSentence] {
        self.sentences.get(1..).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        let texts = self.sentences.iter();
        texts.map(|sentence| sentence.text.as_str()).collect()
    }
}

/// Cuts each record of a file into windows as long as they may be, its last one shorter.
#[derive(Debug)]
pub struct Windows<'m> {
    pipeline: &'m TextPipeline,
    records: Records,
    path: PathBuf,
    limit: WindowLimit,
    /// Records that may still be ended; `None` for all.
    left: Option<u64>,
    pending: VecDeque<FileSentence>,
    starts_record: bool,
    /// Where the next record begins, once the end of this one was read.
    next_record: Option<u64>,
}

impl<'m> Windows<'m> {
    pub fn open(
        pipeline: &'m TextPipeline,
        path: &Path,
        from: Position,
        limit: WindowLimit,
    ) -> Result<Self> {
        Ok(Self {
            pipeline,
            records: Records::open(path, from, pipeline.segmentation().rule)?,
            path: path.to_owned(),
            limit,
            left: None,
            pending: VecDeque::new(),
            starts_record: !from.in_record,
            next_record: None,
        })
    }

    /// The same, up to the end of this many records, not counting those without a sentence.
    pub fn with_records(mut self, records: Option<u64>) -> Self {
        self.left = records;
        self
    }

    #[cfg(test)]
    pub fn set_piece_bytes(&mut self, bytes: usize) {
        self.records.piece_bytes = bytes;
    }

    pub fn next_window(&mut self) -> Result<Option<Window>> {
        while self.left != Some(0) {
            let fitting = self.limit.fitting(
                self.pipeline,
                self.pending.make_contiguous(),
                self.next_record.is_some(),
            )?;
            if let Some(count) = fitting.filter(|&count| count > 0) {
                return Ok(Some(self.window(count)));
            }
            if self.next_record.take().is_some() {
                self.starts_record = true;
            }
            match self.records.next_piece()? {
                Some(piece) => self.take(piece)?,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The next `count` sentences.
    fn window(&mut self, count: usize) -> Window {
        let sentences = self.pending.drain(..count).collect();
        let following = self.pending.front().map(|sentence| sentence.offset);
        let ends_record = following.is_none();
        let next = Position {
            offset: following.or(self.next_record).unwrap_or_default(),
            in_record: !ends_record,
        };
        if ends_record {
            self.next_record = None;
            self.left = self.left.map(|left| left - 1);
        }
        Window {
            sentences,
            starts_record: std::mem::replace(&mut self.starts_record, ends_record),
            ends_record,
            next,
        }
    }

    fn take(&mut self, piece: Piece) -> Result<()> {
        let mut at = 0;
        let failed = |offset: u64| {
            let path = self.path.clone();
            move |source: Error| {
                Error::Text(TextError::Unusable {
                    path,
                    byte: offset,
                    source: Box::new(source),
                })
            }
        };
        for sentence in self.pipeline.sentences(piece.text())? {
            let offset = piece.offset(at);
            let sentence = sentence.map_err(failed(offset))?;
            let bytes = match sentence.truncated {
                true => self.pipeline.decode(&sentence.ids)?.len(),
                false => sentence.text.len(),
            };
            self.pending.push_back(FileSentence {
                text: sentence.text.to_owned(),
                ids: sentence.ids,
                bytes: bytes as u64,
                truncated: sentence.truncated,
                offset,
            });
            at += sentence.text.len();
        }
        self.next_record = piece.next_record;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Bundle;

    fn windows(text: &str, from: Position, piece_bytes: usize) -> Vec<Window> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let bundle = Bundle::open("tests/golden/bundle").unwrap();
        let tokenizer = bundle.load_tokenizer().unwrap();
        let pipeline = TextPipeline::new(tokenizer, bundle.segmentation, 24).unwrap();
        let limit = WindowLimit::Sentences(3);
        let mut windows = Windows::open(&pipeline, file.path(), from, limit).unwrap();
        windows.set_piece_bytes(piece_bytes);
        std::iter::from_fn(|| windows.next_window().unwrap()).collect()
    }

    /// Records of no, one, three, four and many sentences, one of them too long for the model.
    fn text() -> String {
        let separator = "<|endoftext|>\n";
        let long = "the cat and the dog sat on the hill and the hat and the mat and so on, ";
        let records = [
            " one. \n",
            "\n",
            "one, two, three.\n",
            "one, two, three, four",
            &"the end of it. so, and so. ".repeat(9),
            &long.repeat(3),
        ];
        records.join(&format!("\n{separator}"))
    }

    #[test]
    fn windows_are_the_same_however_the_file_is_read() {
        let text = text();
        let whole = windows(&text, Position::default(), 1 << 20);
        let shapes: Vec<_> = whole
            .iter()
            .map(|window| {
                let flags = (window.starts_record, window.ends_record);
                (window.sentences.len(), flags)
            })
            .take(4)
            .collect();
        assert_eq!(
            shapes,
            [
                (1, (true, true)),
                (3, (true, true)),
                (3, (true, false)),
                (1, (false, true))
            ]
        );
        for piece_bytes in [100, 150, 200, 333] {
            assert_eq!(windows(&text, Position::default(), piece_bytes), whole);
        }
    }

    #[test]
    fn any_window_is_a_place_to_go_on() {
        let text = text();
        let whole = windows(&text, Position::default(), 200);
        for (number, window) in whole.iter().enumerate() {
            assert_eq!(windows(&text, window.next, 200), whole[number + 1..]);
        }
    }
}
