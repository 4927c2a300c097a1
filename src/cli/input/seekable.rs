//! Files that are read more than once.

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use sllm_ort::{Error, error::TextError};
use tempfile::{NamedTempFile, TempPath, tempfile_in};

use super::{STDIN, name, open, open_stdin};
use crate::cli::output;

/// Most text of a pipe, in bytes, since it is copied to a file before it is read.
const MAX_PIPE_BYTES: u64 = 1 << 30;

/// A file that can be read from any place, and more than once: a pipe is copied first.
pub fn seekable(path: &Path) -> anyhow::Result<Seekable> {
    let name = name(path);
    let source: Box<dyn Read> = match path == Path::new(STDIN) {
        true => Box::new(open_stdin()?.lock()),
        false => {
            let file = open(path)?;
            if file.metadata().is_ok_and(|data| data.is_file()) {
                return Ok(Seekable::There(path.to_owned()));
            }
            Box::new(file)
        }
    };
    copied(source, name, MAX_PIPE_BYTES)
}

/// The copy of a pipe that is called `name`.
fn copied(source: impl Read, name: String, limit: u64) -> anyhow::Result<Seekable> {
    let folder = env::temp_dir();
    let copied = || {
        let folder = folder.display();
        format!("cannot copy {name} to {folder} (set TMPDIR to another folder)")
    };
    let mut copy = Copy::new_in(&folder)
        // Without the name of the copy.
        .map_err(|error| io::Error::from(error.kind()))
        .with_context(copied)?;
    // One byte more than allowed is enough to see that there are too many.
    let bytes = io::copy(&mut source.take(limit + 1), &mut copy.file).with_context(copied)?;
    if bytes > limit {
        bail!(
            "{name}: more than {}, which is the most that is read from a pipe: give a file",
            output::size(limit as f64)
        );
    }
    Ok(Seekable::Copied { copy, name })
}

/// A file to read, or the copy of a pipe.
pub enum Seekable {
    There(PathBuf),
    Copied {
        copy: Copy,
        /// What messages call the pipe.
        name: String,
    },
}

/// A file that is gone with the program, however that ends.
pub struct Copy {
    file: File,
    path: PathBuf,
    /// Its name in the file system, where it cannot be without one; removed with the copy.
    _named: Option<TempPath>,
}

impl Copy {
    fn new_in(folder: &Path) -> io::Result<Self> {
        #[cfg(unix)]
        {
            use std::os::fd::AsRawFd as _;
            let file = tempfile_in(folder)?;
            let path = PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()));
            if path.exists() {
                return Ok(Self {
                    file,
                    path,
                    _named: None,
                });
            }
        }
        let (file, path) = NamedTempFile::new_in(folder)?.into_parts();
        Ok(Self {
            file,
            path: path.to_path_buf(),
            _named: Some(path),
        })
    }
}

impl Seekable {
    pub fn path(&self) -> &Path {
        match self {
            Self::There(path) => path,
            Self::Copied { copy, .. } => &copy.path,
        }
    }

    /// An error about the text, with the name that the user knows in place of the copy's.
    pub fn named(&self, mut error: Error) -> Error {
        if let Self::Copied { copy, name } = self
            && let Error::Read { path, .. }
            | Error::Text(TextError::NotUtf8 { path, .. })
            | Error::Text(TextError::Nul { path, .. })
            | Error::Text(TextError::Unusable { path, .. })
            | Error::Text(TextError::NoSentences { path, .. }) = &mut error
            && *path == copy.path
        {
            *path = name.into();
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_pipe_is_copied_up_to_a_limit() {
        for (bytes, fits) in [(0, true), (9, true), (10, true), (11, false), (99, false)] {
            let source = io::repeat(b'x').take(bytes);
            match copied(source, "the pipe".into(), 10) {
                Ok(copy) => {
                    assert!(fits, "{bytes}");
                    // More than once.
                    for _ in 0..2 {
                        let length = fs::read(copy.path()).unwrap().len();
                        assert!(length as u64 == bytes || !cfg!(target_os = "linux"));
                    }
                }
                Err(error) => {
                    assert!(!fits, "{bytes}");
                    let expected = "the pipe: more than 10 B, which is the most that is read from \
                        a pipe: give a file";
                    assert_eq!(error.to_string(), expected);
                }
            }
        }
        // What has no end is not read to it.
        assert!(copied(io::repeat(0), "zeros".into(), 1000).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_copy_has_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let copy = Copy::new_in(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(copy.path.metadata().is_ok_and(|data| data.is_file()));
    }
}
