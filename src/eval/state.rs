//! The state file: progress of an evaluation, from which another process can resume.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::{records::Position, sums::Sums};
use crate::{
    error::{Error, Result, StateError, one_line},
    fs::{read_text, write_whole},
    hash::sha256_of,
    model::Model,
};

const FORMAT_VERSION: u32 = 3;
/// Largest state file, in bytes.
const MAX_STATE_BYTES: u64 = 1 << 20;

/// What an evaluation is of: its state is of no use for any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    model: String,
    variant: String,
    /// SHA-256 of the text, in hexadecimal; empty where no state is kept.
    text_sha256: String,
    text_bytes: u64,
    limit: Option<u64>,
    provider: String,
    matmul_kernel: Option<String>,
    program_version: String,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// All windows in front of it are in the sums.
    pub position: Position,
    pub seconds: f64,
    pub sums: Sums,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    format_version: u32,
    subject: Subject,
    progress: Progress,
}

impl Subject {
    /// `identified`: whether the text is to be known again.
    pub fn new(model: &Model, text: &Path, limit: Option<u64>, identified: bool) -> Result<Self> {
        let look = || {
            let data = fs::metadata(text)?;
            match data.is_dir() {
                true => Err(io::ErrorKind::IsADirectory.into()),
                false if identified => Ok((sha256_of(text)?, data.len())),
                false => Ok((String::new(), data.len())),
            }
        };
        let (text_sha256, text_bytes) = look().map_err(|source| Error::Read {
            path: text.to_owned(),
            source,
        })?;
        Ok(Self {
            model: model.fingerprint(),
            variant: model.variant().to_owned(),
            text_sha256,
            text_bytes,
            limit,
            provider: model.provider().name().into(),
            matmul_kernel: model.matmul_kernel().map(|kernel| kernel.name().into()),
            program_version: env!("CARGO_PKG_VERSION").into(),
        })
    }

    pub fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// The progress saved in `path`; none where there is no such file.
    pub fn load(&self, path: &Path) -> Result<Option<Progress>> {
        let text = match read_text(path, MAX_STATE_BYTES) {
            Ok(text) => text,
            Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let refused = |problem| {
            Error::State(StateError::Eval {
                path: path.to_owned(),
                problem,
            })
        };
        let file: StateFile =
            serde_json::from_str(&text).map_err(|error| refused(one_line(&error)))?;
        if file.format_version != FORMAT_VERSION {
            let found = file.format_version;
            return Err(refused(format!(
                "format_version is {found}, this program reads {FORMAT_VERSION}"
            )));
        }
        self.check(path, &file.subject)?;
        if file.progress.position.offset > self.text_bytes {
            return Err(refused("it is beyond the end of the text".into()));
        }
        if !file.progress.sums.is_consistent() {
            return Err(refused("its sums contradict each other".into()));
        }
        Ok(Some(file.progress))
    }

    fn check(&self, path: &Path, found: &Self) -> Result<()> {
        let limit = |subject: &Self| {
            subject
                .limit
                .map_or("none".into(), |records| records.to_string())
        };
        let kernel = |subject: &Self| subject.matmul_kernel.clone().unwrap_or("none".into());
        let describe = |subject: &Self| {
            [
                ("model", subject.model.clone()),
                ("variant", subject.variant.clone()),
                ("size of the text", subject.text_bytes.to_string()),
                ("SHA-256 of the text", subject.text_sha256.clone()),
                ("limit of records", limit(subject)),
                ("execution provider", subject.provider.clone()),
                ("matmul kernel", kernel(subject)),
                ("program version", subject.program_version.clone()),
            ]
        };
        for ((what, found), (_, expected)) in describe(found).into_iter().zip(describe(self)) {
            if found != expected {
                return Err(Error::State(StateError::EvalMismatch {
                    path: path.to_owned(),
                    what,
                    found,
                    expected,
                }));
            }
        }
        Ok(())
    }

    pub fn save(&self, path: &Path, progress: &Progress) -> Result<()> {
        let file = StateFile {
            format_version: FORMAT_VERSION,
            subject: self.clone(),
            progress: progress.clone(),
        };
        write_whole(path, |file_on_disk| {
            serde_json::to_writer(&mut *file_on_disk, &file)?;
            file_on_disk.write_all(b"\n")
        })
    }
}

/// Remove a state file that is of no use any more.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Write {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}
