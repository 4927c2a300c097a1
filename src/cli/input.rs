//! Text from arguments, files and stdin.

mod checks;
mod hyphen;
mod lines;
mod seekable;

use std::{
    convert::Infallible,
    env,
    ffi::OsString,
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::Path,
};

use anyhow::{Context as _, bail};
use sllm_ort::text::{MAX_TEXT_BYTES, is_blank, with_line_feeds, without_byte_order_mark};

use super::{output, wrong_usage::WrongUsage};
use checks::{RecordEnds, check_no_device, utf8};
pub use checks::{check_prompt, check_text};
pub use hyphen::unmarked;
use lines::Lines;
pub use seekable::{Seekable, seekable};

/// Stands for stdin, as a text and as a file.
const STDIN: &str = "-";
/// What messages call it.
const STDIN_NAME: &str = "standard input";

/// The arguments of the program, in which a text that begins with a hyphen is told from an option.
pub fn arguments(program: &clap::Command) -> Vec<OsString> {
    hyphen::marked(env::args_os(), program)
}

/// A text among the arguments, without a byte order mark, its line breaks as LF.
#[allow(clippy::unnecessary_wraps)] // So clap wants it.
pub fn text_argument(text: &str) -> Result<String, Infallible> {
    Ok(plain(unmarked(text)))
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

/// The text that was given: as an argument, which messages call `argument_name`, in a file, or on
/// stdin. Its line breaks are LF.
pub fn text(
    argument: Option<&str>,
    file: Option<&Path>,
    argument_name: &str,
) -> anyhow::Result<String> {
    let (text, name) = match (argument, file) {
        (Some(text), _) if text != STDIN => (text.to_owned(), argument_name.to_owned()),
        (None, Some(path)) => (self::file(path)?, name(path)),
        _ => (stdin()?, STDIN_NAME.to_owned()),
    };
    RecordEnds::default().look(&text, |line| format!("{name}, line {line}"));
    Ok(text)
}

/// Say that what stands on stdin is not read where texts are given as arguments, if anything does.
/// To be called late, so that whoever writes there has begun.
pub fn warn_of_unread_stdin<'t>(mut arguments: impl Iterator<Item = &'t String>) {
    if arguments.next().is_some_and(|first| first != STDIN) {
        warn_of_stdin("a text is given as an argument");
    }
}

/// The same, for a reason of another kind.
pub fn warn_of_stdin(reason: &str) {
    if something_on_stdin() {
        output::warn(&format!(
            "standard input is not read, since {reason} (- stands for it)"
        ));
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
    // A pipe is opened only once.
    match is_pipe_or_device(path) {
        true => Ok(()),
        false => open(path).map(|_| ()),
    }
}

/// Whether reading or writing may wait for whoever is at the other end.
pub fn is_pipe_or_device(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|data| !data.is_file() && !data.is_dir())
}

/// Refuse to put the results in the place of the text that they are made of; `-` stands for stdin.
pub fn check_kept(text: Option<&Path>, output: &Path) -> anyhow::Result<()> {
    let place = |path: &Path| path.is_file().then(|| path.canonicalize().ok()).flatten();
    let Some(text) = text else {
        return Ok(());
    };
    let is_same = match text == Path::new(STDIN) {
        true => is_stdin(output),
        false => place(output).is_some_and(|output| place(text) == Some(output)),
    };
    if is_same {
        bail!(
            "the results would replace the text {}: name another file for them",
            match text == Path::new(STDIN) {
                true => format!("{} on {STDIN_NAME}", output.display()),
                false => text.display().to_string(),
            }
        );
    }
    Ok(())
}

/// Whether stdin is this file.
#[cfg(unix)]
fn is_stdin(path: &Path) -> bool {
    use rustix::fs::{FileType, fstat, stat};
    let (Ok(given), Ok(found)) = (fstat(io::stdin()), stat(path)) else {
        return false;
    };
    FileType::from_raw_mode(given.st_mode) == FileType::RegularFile
        && (given.st_dev, given.st_ino) == (found.st_dev, found.st_ino)
}

#[cfg(not(unix))]
fn is_stdin(_: &Path) -> bool {
    false
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
    let file = open().with_context(|| format!("cannot read {}", name(path)))?;
    check_no_device(&file, &name(path))?;
    Ok(file)
}

/// Stdin, of which whoever sits at a terminal is told.
fn open_stdin() -> anyhow::Result<io::Stdin> {
    let stdin = io::stdin();
    check_no_device(&stdin, STDIN_NAME)?;
    if stdin.is_terminal() {
        output::to_stderr(&"sllm-ort: reading the text from the terminal, end it with Ctrl-D");
    }
    Ok(stdin)
}

/// All of stdin.
fn stdin() -> anyhow::Result<String> {
    all(open_stdin()?.lock(), STDIN_NAME)
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
        ([], None) => Lines::of_stdin()?,
        ([one], _) if one == STDIN => Lines::of_stdin()?,
        (several, _) => {
            if several.iter().any(|text| text == STDIN) {
                return Err(WrongUsage::error(
                    "- stands for standard input and is given beside other texts: give it alone",
                ));
            }
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
    let mut record_ends = RecordEnds::default();
    items.filter_map(move |item| {
        let item = match item {
            Ok(item) if blank == Blank::LeftOut && is_blank(&item.text) => return None,
            Ok(item) => item,
            Err(error) => return Some(Err(error)),
        };
        record_ends.look(&item.text, |_| item.place.clone());
        Some(check_text(&item.text, &item.place).map(|()| item))
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
