//! The lines of a file.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use sllm_ort::text::MAX_TEXT_BYTES;

use super::{Item, STDIN, STDIN_NAME, most, name, open, open_stdin, utf8};

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The lines of a file, or of stdin where it is called `-`, read as they are asked for. A line ends
/// with LF, CRLF or CR.
pub struct Lines {
    reader: Box<dyn BufRead>,
    pub(super) name: String,
    /// Lines that were read together, since CR ends them.
    pending: VecDeque<Vec<u8>>,
    /// Lines that were read and handed out.
    number: usize,
}

impl Lines {
    pub fn of_file(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new(STDIN) {
            return Self::of_stdin();
        }
        Ok(Self {
            reader: Box::new(BufReader::new(open(path)?)),
            name: name(path),
            pending: VecDeque::new(),
            number: 0,
        })
    }

    pub fn of_stdin() -> anyhow::Result<Self> {
        Ok(Self {
            reader: Box::new(BufReader::new(open_stdin()?)),
            name: STDIN_NAME.into(),
            pending: VecDeque::new(),
            number: 0,
        })
    }

    /// The next line without its end.
    fn read(&mut self) -> anyhow::Result<Option<Item>> {
        if self.pending.is_empty() {
            self.fill()?;
        }
        let Some(bytes) = self.pending.pop_front() else {
            return Ok(None);
        };
        self.number += 1;
        let place = self.place(self.number);
        let text = utf8(bytes, &place)?;
        Ok(Some(Item { text, place }))
    }

    /// Read up to the next LF, or to the end.
    fn fill(&mut self) -> anyhow::Result<()> {
        let place = self.place(self.number + 1);
        let mut bytes = Vec::new();
        (&mut self.reader)
            .take(MAX_TEXT_BYTES as u64 + 1)
            .read_until(b'\n', &mut bytes)
            .with_context(|| format!("cannot read {place}"))?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.len() > MAX_TEXT_BYTES {
            bail!("{place}: more than {} of text: give it in parts", most());
        }
        let mut lines = bytes.as_slice();
        if self.number == 0 {
            let mark = BYTE_ORDER_MARK.as_bytes();
            lines = lines.strip_prefix(mark).unwrap_or(lines);
        }
        lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        lines = lines.strip_suffix(b"\r").unwrap_or(lines);
        let lines = lines.split(|&byte| byte == b'\r').map(<[u8]>::to_vec);
        self.pending.extend(lines);
        Ok(())
    }

    fn place(&self, number: usize) -> String {
        format!("{}, line {number}", self.name)
    }
}

impl Iterator for Lines {
    type Item = anyhow::Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::NamedTempFile;

    use super::*;

    #[test]
    fn lines_end_with_each_line_break() {
        for (content, expected) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("a\n", &["a"]),
            ("a\r", &["a"]),
            (
                "\u{feff}a\r\nb\rc\n\r\nd\r\r",
                &["a", "b", "c", "", "d", ""],
            ),
            ("\r\n", &[""]),
        ] {
            let file = NamedTempFile::new().unwrap();
            std::fs::write(file.path(), content).unwrap();
            let lines = Lines::of_file(file.path()).unwrap();
            let lines: Vec<Item> = lines.collect::<anyhow::Result<_>>().unwrap();
            let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
            assert_eq!(texts, expected, "{content:?}");
            let last = format!(", line {}", expected.len());
            assert!(lines.last().is_none_or(|line| line.place.ends_with(&last)));
        }
    }
}
