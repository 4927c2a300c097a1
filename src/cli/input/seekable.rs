//! Files that are read more than once.

use std::{
    env,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sllm_ort::{Error, error::TextError};
use tempfile::NamedTempFile;

use super::{STDIN, name, open};

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
            | Error::Text(TextError::NotUtf8 { path, .. })
            | Error::Text(TextError::Unusable { path, .. })
            | Error::Text(TextError::NoSentences { path, .. }) = &mut error
            && path == copy.path()
        {
            *path = name.into();
        }
        error
    }
}
