//! Text from arguments, files and stdin.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal as _, Read},
    path::Path,
};

use anyhow::{Context as _, bail};
use sllm_ort::text::MAX_TEXT_BYTES;

/// All of a file.
pub fn file(path: &Path) -> anyhow::Result<String> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    all(file, &name)
}

/// All of stdin.
pub fn stdin() -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        eprintln!("sllm-ort: reading the text from the terminal, end it with Ctrl-D");
    }
    all(io::stdin().lock(), "stdin")
}

fn all(reader: impl Read, name: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_TEXT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {name}"))?;
    if bytes.len() > MAX_TEXT_BYTES {
        bail!("{name}: more than {MAX_TEXT_BYTES} bytes of text: give it in parts");
    }
    utf8(bytes, name)
}

fn utf8(bytes: Vec<u8>, name: &str) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        anyhow::anyhow!("{name}: not UTF-8 text at byte {place}: convert it to UTF-8 first")
    })
}

/// The texts in batches of at most `size`, read as they are asked for.
pub fn in_batches(
    texts: impl Iterator<Item = anyhow::Result<String>>,
    size: usize,
) -> impl Iterator<Item = anyhow::Result<Vec<String>>> {
    let mut texts = texts.peekable();
    std::iter::from_fn(move || {
        texts.peek()?;
        Some(texts.by_ref().take(size).collect())
    })
}

/// The lines of a file, or of stdin without one, read as they are asked for.
pub struct Lines {
    reader: Box<dyn BufRead>,
    name: String,
    number: usize,
}

impl Lines {
    pub fn of_file(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        Ok(Self {
            reader: Box::new(BufReader::new(file)),
            name,
            number: 0,
        })
    }

    pub fn of_stdin() -> Self {
        let reader = Box::new(BufReader::new(io::stdin()));
        Self {
            reader,
            name: "stdin".into(),
            number: 0,
        }
    }

    /// The next line without its end.
    fn read(&mut self) -> anyhow::Result<Option<String>> {
        self.number += 1;
        let name = format!("{}, line {}", self.name, self.number);
        let mut bytes = Vec::new();
        let read = (&mut self.reader)
            .take(MAX_TEXT_BYTES as u64 + 1)
            .read_until(b'\n', &mut bytes)
            .with_context(|| format!("cannot read {name}"))?;
        if read == 0 {
            return Ok(None);
        }
        if bytes.len() > MAX_TEXT_BYTES {
            bail!("{name}: more than {MAX_TEXT_BYTES} bytes: give it in parts");
        }
        let end = bytes.len()
            - bytes
                .iter()
                .rev()
                .take_while(|b| b"\r\n".contains(b))
                .count();
        bytes.truncate(end);
        utf8(bytes, &name).map(Some)
    }
}

impl Iterator for Lines {
    type Item = anyhow::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
