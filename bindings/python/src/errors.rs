//! Errors of the library as exceptions; their classes are in `sllm_ort/_errors.py`.

use std::{error::Error as _, io, path::Path};

use pyo3::{PyErr, import_exception};
use sllm_ort::{
    Error, ErrorKind,
    error::{self, GraphError, StateError, TextError},
};

import_exception!(sllm_ort, ArgumentError);
import_exception!(sllm_ort, BundleError);
import_exception!(sllm_ort, BusyError);
import_exception!(sllm_ort, ContextFullError);
import_exception!(sllm_ort, FileError);
import_exception!(sllm_ort, MissingFileError);
import_exception!(sllm_ort, NotADirectoryFileError);
import_exception!(sllm_ort, OnnxRuntimeError);
import_exception!(sllm_ort, SnapshotError);

// Of the base class nothing is raised but what is newer than this module.
mod base {
    pyo3::import_exception!(sllm_ort, Error);
}

/// Options whose name differs from that of the command line.
const KEYWORDS: [(&str, &str); 3] = [
    ("spin", "spinning"),
    ("when-full", "overflow"),
    ("gpu-memory", "memory_limit"),
];

/// The exception for an error.
pub fn exception(error: Error) -> PyErr {
    exception_of(&error, message(&error))
}

/// The exception for an argument that is not allowed.
pub fn refused(option: &str, value: impl ToString, allowed: &str) -> PyErr {
    let value = value.to_string();
    ArgumentError::new_err(format!("{option} is {value}, allowed is {allowed}"))
}

/// The exception for a session or an iterator that is in use.
pub fn busy(what: &str) -> PyErr {
    BusyError::new_err(format!(
        "the {what} is in use: by another thread, or by a generation that has not ended (read it to its end, or call its close())"
    ))
}

fn exception_of(error: &Error, message: String) -> PyErr {
    match error {
        Error::Shared(error) => exception_of(error, message),
        Error::BatchRow { source, .. } => exception_of(source, message),
        Error::Read { path, source } | Error::Write { path, source } => {
            file_error(message, source.kind(), source.raw_os_error(), path)
        }
        Error::Bundle(error::BundleError::MissingFile { path, source }) => match source {
            Some(source) => file_error(message, source.kind(), source.raw_os_error(), path),
            None => FileError::new_err((message, None::<i32>, path.clone())),
        },
        Error::Bundle(
            error::BundleError::NotFound { path } | error::BundleError::ManifestMissing { path },
        ) => file_error(message, io::ErrorKind::NotFound, None, path),
        Error::Bundle(error::BundleError::NotDirectory { path }) => {
            file_error(message, io::ErrorKind::NotADirectory, None, path)
        }
        Error::ContextFull { .. } => ContextFullError::new_err(message),
        Error::State(
            StateError::Session { .. }
            | StateError::SessionModel { .. }
            | StateError::Snapshot { .. },
        ) => SnapshotError::new_err(message),
        Error::Bundle(error::BundleError::NoGraph { .. })
        | Error::Text(TextError::SentenceLimit { .. })
        | Error::Graph(GraphError::Signature { .. }) => BundleError::new_err(message),
        Error::CacheFull { .. } => OnnxRuntimeError::new_err(message),
        Error::Text(TextError::Decode { .. } | TextError::NotUtf8 { .. }) => {
            base::Error::new_err(message)
        }
        error => match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::TooLong | ErrorKind::Unsupported => {
                ArgumentError::new_err(message)
            }
            ErrorKind::InvalidFile => BundleError::new_err(message),
            ErrorKind::Runtime | ErrorKind::Model => OnnxRuntimeError::new_err(message),
            _ => base::Error::new_err(message),
        },
    }
}

pub fn file_error(message: String, kind: io::ErrorKind, number: Option<i32>, path: &Path) -> PyErr {
    let arguments = (message, number, path.to_owned());
    match kind {
        io::ErrorKind::NotFound => MissingFileError::new_err(arguments),
        io::ErrorKind::NotADirectory => NotADirectoryFileError::new_err(arguments),
        _ => FileError::new_err(arguments),
    }
}

/// What failed, and its first cause.
fn message(error: &Error) -> String {
    match error {
        Error::Shared(error) => message(error),
        Error::BatchRow { row, source } => {
            format!("context {row} of the batch: {}", message(source))
        }
        Error::InvalidOption {
            option,
            value,
            allowed,
        } => {
            let keyword = KEYWORDS.iter().find(|(name, _)| name == option);
            let option = keyword.map_or_else(|| option.replace('-', "_"), |(_, k)| (*k).to_owned());
            format!("{option} is {value}, allowed is {allowed}")
        }
        error => match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}
