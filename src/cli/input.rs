//! Text from arguments, files and stdin.

use std::{
    collections::VecDeque,
    convert::Infallible,
    env,
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal as _, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use sllm_ort::{
    Error,
    text::{MAX_TEXT_BYTES, with_line_feeds, without_byte_order_mark},
};
use tempfile::NamedTempFile;

use super::output;

/// Stands for stdin, as a text and as a file.
const STDIN: &str = "-";
/// What messages call it.
const STDIN_NAME: &str = "standard input";
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Stands in front of an argument that begins with a hyphen and is a text; of private use.
const HYPHEN_TEXT: char = '\u{e000}';

/// The arguments of the program, in which a text that begins with a hyphen is told from an option:
/// with white space, and no `=` before it, it can be nothing else.
pub fn arguments() -> impl Iterator<Item = OsString> {
    let mut options_ended = false;
    env::args_os().map(move |argument| {
        options_ended |= argument == "--";
        match argument.to_str() {
            Some(text) if !options_ended && is_hyphen_text(text) => {
                format!("{HYPHEN_TEXT}{text}").into()
            }
            _ => argument,
        }
    })
}

fn is_hyphen_text(text: &str) -> bool {
    let head = text.split(char::is_whitespace).next().unwrap_or_default();
    text.starts_with('-') && head.len() < text.len() && !head.contains('=')
}

/// A text among the arguments, without a byte order mark, its line breaks as LF.
#[allow(clippy::unnecessary_wraps)] // So clap wants it.
pub fn text_argument(text: &str) -> Result<String, Infallible> {
    let text = text.strip_prefix(HYPHEN_TEXT).unwrap_or(text);
    Ok(plain(text))
}

/// A text without the byte order mark in front of it, its line breaks as LF.
fn plain(text: &str) -> String {
    with_line_feeds(without_byte_order_mark(text)).into_owned()
}

/// A text among the arguments that is none where it is empty.
pub fn some_text_argument(text: &str) -> Result<String, String> {
    match text_argument(text) {
        Ok(text) if text.is_empty() => Err("a text of one character or more is needed".into()),
        Ok(text) => Ok(text),
        Err(never) => match never {},
    }
}

/// The text that was given: as an argument, in a file, or on stdin. Its line breaks are LF.
pub fn text(argument: Option<&str>, file: Option<&Path>) -> anyhow::Result<String> {
    let text = match (argument, file) {
        (Some(STDIN), _) => stdin()?,
        (Some(text), _) => text.to_owned(),
        (None, Some(path)) => self::file(path)?,
        (None, None) => stdin()?,
    };
    Ok(text)
}

/// Refuse a text with nothing in it.
pub fn check_text(text: &str, name: &str) -> anyhow::Result<()> {
    if text.trim().is_empty() {
        let what = if text.is_empty() {
            "is empty"
        } else {
            "is all white space"
        };
        bail!("{name} {what}: give a text");
    }
    Ok(())
}

/// Say that what stands on stdin is not read where texts are given as arguments, if anything does.
/// To be called late, so that whoever writes there has begun.
pub fn warn_of_unread_stdin<'t>(mut arguments: impl Iterator<Item = &'t String>) {
    warn_of_stdin(arguments.next().is_some_and(|first| first != STDIN));
}

/// The same where `given` says that the text comes from elsewhere.
pub fn warn_of_stdin(given: bool) {
    if given && something_on_stdin() {
        output::warn(
            "standard input is not read, since a text is given as an argument (- stands for it)",
        );
    }
}

#[cfg(unix)]
fn something_on_stdin() -> bool {
    use rustix::fs::{FileType, fstat};
    let stdin = io::stdin();
    let Ok(found) = fstat(&stdin) else {
        return false;
    };
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Fifo | FileType::Socket => {
            rustix::io::ioctl_fionread(&stdin).is_ok_and(|bytes| bytes > 0)
        }
        FileType::RegularFile => found.st_size > 0,
        _ => false,
    }
}

#[cfg(not(unix))]
fn something_on_stdin() -> bool {
    false
}

/// All of a file, or of stdin where it is called `-`.
fn file(path: &Path) -> anyhow::Result<String> {
    if path == Path::new(STDIN) {
        return stdin();
    }
    all(open(path)?, &name(path))
}

/// What messages call a file.
fn name(path: &Path) -> String {
    match path == Path::new(STDIN) {
        true => STDIN_NAME.into(),
        false => path.display().to_string(),
    }
}

/// Check that a file can be read, before the work that it is for.
pub fn check_readable(path: &Path) -> anyhow::Result<()> {
    match path.metadata() {
        // A pipe is opened only once.
        Ok(data) if !data.is_file() && !data.is_dir() => Ok(()),
        _ => open(path).map(|_| ()),
    }
}

/// Refuse to put the results in the place of the text that they are made of.
pub fn check_kept(text: Option<&Path>, output: &Path) -> anyhow::Result<()> {
    let place = |path: &Path| path.is_file().then(|| path.canonicalize().ok()).flatten();
    if let Some(text) = text
        && let Some(output) = place(output)
        && place(text).as_ref() == Some(&output)
    {
        bail!(
            "the results would replace the text {}: name another file for them",
            text.display()
        );
    }
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<File> {
    let open = || {
        let file = File::open(path)?;
        match file.metadata()?.is_dir() {
            // Where it is not said before, it is when it is read.
            true => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            false => Ok(file),
        }
    };
    open().with_context(|| format!("cannot read {}", name(path)))
}

/// All of stdin.
fn stdin() -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        eprintln!("sllm-ort: reading the text from the terminal, end it with Ctrl-D");
    }
    all(io::stdin().lock(), STDIN_NAME)
}

fn all(reader: impl Read, name: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_TEXT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {name}"))?;
    if bytes.len() > MAX_TEXT_BYTES {
        bail!("{name}: more than {} of text: give it in parts", most());
    }
    Ok(plain(&utf8(bytes, name)?))
}

/// Most text that is read at once, for a message.
fn most() -> String {
    output::size(MAX_TEXT_BYTES as f64)
}

fn utf8(bytes: Vec<u8>, name: &str) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        anyhow::anyhow!("{name}: not UTF-8 text at byte {place}: convert it to UTF-8 first")
    })
}

/// A file that can be read from any place, and more than once: a pipe is copied first.
pub fn seekable(path: &Path) -> anyhow::Result<Seekable> {
    let name = name(path);
    let is_stdin = path == Path::new(STDIN);
    let mut source: Box<dyn Read> = match is_stdin {
        true => Box::new(io::stdin().lock()),
        false => {
            let file = open(path)?;
            if file.metadata().is_ok_and(|data| data.is_file()) {
                return Ok(Seekable::There(path.to_owned()));
            }
            Box::new(file)
        }
    };
    let folder = env::temp_dir();
    let copied = || {
        let folder = folder.display();
        format!("cannot copy {name} to {folder} (set TMPDIR to another folder)")
    };
    let made = NamedTempFile::new_in(&folder);
    // Without the name of the copy.
    let mut copy = made
        .map_err(|error| io::Error::from(error.kind()))
        .with_context(copied)?;
    io::copy(&mut source, copy.as_file_mut()).with_context(copied)?;
    Ok(Seekable::Copied { copy, name })
}

/// A file to read, or the copy of a pipe.
pub enum Seekable {
    There(PathBuf),
    Copied {
        copy: NamedTempFile,
        /// What messages call the pipe.
        name: String,
    },
}

impl Seekable {
    pub fn path(&self) -> &Path {
        match self {
            Self::There(path) => path,
            Self::Copied { copy, .. } => copy.path(),
        }
    }

    /// An error about the text, with the name that the user knows in place of the copy's.
    pub fn named(&self, mut error: Error) -> Error {
        if let Self::Copied { copy, name } = self
            && let Error::Read { path, .. }
            | Error::NotText { path, .. }
            | Error::UnusableText { path, .. }
            | Error::NoSentences { path, .. } = &mut error
            && path == copy.path()
        {
            *path = name.into();
        }
        error
    }
}

/// A text and where it stands, for messages.
pub struct Item {
    pub text: String,
    pub place: String,
}

/// What becomes of texts with nothing in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blank {
    Refused,
    LeftOut,
}

/// Texts one by one, as they are asked for.
pub type Items = Box<dyn Iterator<Item = anyhow::Result<Item>>>;

/// Texts one by one: those of the arguments, or the lines of a file or of stdin. The arguments, and
/// the first line, are read and checked now, before a model is loaded for them.
pub fn items(arguments: &[String], file: Option<&Path>, blank: Blank) -> anyhow::Result<Items> {
    let lines = match (arguments, file) {
        ([], Some(path)) => Lines::of_file(path)?,
        ([], None) => Lines::of_stdin(),
        ([one], _) if one == STDIN => Lines::of_stdin(),
        _ => {
            let items = arguments.iter().enumerate().map(|(number, text)| {
                Ok(Item {
                    text: text.clone(),
                    place: format!("text {}", number + 1),
                })
            });
            let items = with_text(items, blank).collect::<anyhow::Result<Vec<_>>>()?;
            return begun(Box::new(items.into_iter().map(Ok)), "the arguments");
        }
    };
    let name = lines.name.clone();
    begun(Box::new(with_text(lines, blank)), &name)
}

/// The texts with something in them.
fn with_text(
    items: impl Iterator<Item = anyhow::Result<Item>>,
    blank: Blank,
) -> impl Iterator<Item = anyhow::Result<Item>> {
    items.filter_map(move |item| match item {
        Ok(item) if blank == Blank::LeftOut && item.text.trim().is_empty() => None,
        Ok(item) => Some(check_text(&item.text, &item.place).map(|()| item)),
        Err(error) => Some(Err(error)),
    })
}

/// The same texts, of which there is one.
fn begun(mut items: Items, name: &str) -> anyhow::Result<Items> {
    match items.next() {
        Some(first) => Ok(Box::new(std::iter::once(Ok(first?)).chain(items))),
        None => bail!("there is no text in {name}: give one"),
    }
}

/// The texts in batches of at most `size`, read as they are asked for.
pub fn in_batches(
    texts: impl Iterator<Item = anyhow::Result<Item>>,
    size: usize,
) -> impl Iterator<Item = anyhow::Result<Vec<Item>>> {
    let mut texts = texts.peekable();
    std::iter::from_fn(move || {
        texts.peek()?;
        Some(texts.by_ref().take(size).collect())
    })
}

/// The lines of a file, or of stdin where it is called `-`, read as they are asked for. A line ends
/// with LF, CRLF or CR.
pub struct Lines {
    reader: Box<dyn BufRead>,
    name: String,
    /// Lines that were read together, since CR ends them.
    pending: VecDeque<Vec<u8>>,
    /// Lines that were read and handed out.
    number: usize,
}

impl Lines {
    pub fn of_file(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new(STDIN) {
            return Ok(Self::of_stdin());
        }
        Ok(Self {
            reader: Box::new(BufReader::new(open(path)?)),
            name: name(path),
            pending: VecDeque::new(),
            number: 0,
        })
    }

    pub fn of_stdin() -> Self {
        let reader = Box::new(BufReader::new(io::stdin()));
        Self {
            reader,
            name: STDIN_NAME.into(),
            pending: VecDeque::new(),
            number: 0,
        }
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
    use super::*;

    #[test]
    fn texts_that_begin_with_a_hyphen() {
        for text in ["- a list", "-5 degrees outside", "--- it began", "-\nnew"] {
            assert!(is_hyphen_text(text), "{text}");
        }
        for other in ["-", "-x", "--seed", "--stop=a b", "a - b", " - a", "-n3"] {
            assert!(!is_hyphen_text(other), "{other}");
        }
    }

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
