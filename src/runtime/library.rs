//! Finding and loading the ONNX Runtime library, once per process.

mod image;
mod search;
mod version;

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use ort::{environment::Environment, logging::LogLevel};
use tracing::debug;

use crate::error::{Error, Result, RuntimeError};

pub use search::data_folder;

/// The ONNX Runtime library that this process uses.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LibraryInfo {
    /// The file that was loaded; a bare file name where the system's loader found it.
    pub path: PathBuf,
    /// Its version, such as `1.31.1`; `None` if unknown.
    pub version: Option<String>,
    /// Build information of the library (version, commit, compiler flags).
    pub build: String,
}

static LOADED: Mutex<Option<(Environment, PathBuf)>> = Mutex::new(None);

/// The one environment of the process; the first call finds and loads the library.
///
/// Searched in turn: `path`, the file or folder that `ORT_DYLIB_PATH` names, the program's own
/// folder, an active virtual environment or conda environment, this program's folder among the
/// user's data ([`data_folder`]), the system's places, the packages of `python3`. A place that was
/// named must work: nothing else is tried then. Nothing is loaded from folders above the program's.
///
/// # Errors
/// [`RuntimeError::NotFound`] with each place and what was wrong there; [`RuntimeError::Conflict`]
/// if another file is asked for than the one that is already loaded.
pub(crate) fn environment(path: Option<&Path>) -> Result<Environment> {
    let mut loaded = LOADED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((environment, present)) = &*loaded {
        return match path {
            Some(asked) if !is_at(asked, present) => Err(Error::Runtime(RuntimeError::Conflict {
                loaded: present.clone(),
                requested: asked.to_owned(),
            })),
            _ => Ok(environment.clone()),
        };
    }
    let (environment, present) = match load_first(search::candidates(path)) {
        Err(Error::Runtime(RuntimeError::NotFound { attempts })) if !search::is_named(path) => {
            load_first(search::of_python())
                .map_err(|_| Error::Runtime(RuntimeError::NotFound { attempts }))?
        }
        loaded => loaded?,
    };
    *loaded = Some((environment.clone(), present));
    Ok(environment)
}

/// Find and load ONNX Runtime; [`Model::load`](crate::Model::load) does this first.
///
/// # Errors
/// [`RuntimeError::NotFound`], [`RuntimeError::Conflict`].
pub fn load_library(path: Option<&Path>) -> Result<LibraryInfo> {
    environment(path)?;
    // Nothing unloads it.
    library_info().ok_or(Error::Runtime(RuntimeError::NotFound {
        attempts: Vec::new(),
    }))
}

/// The loaded library; `None` before the first [`load_library`] or
/// [`Model::load`](crate::Model::load).
#[must_use]
pub fn library_info() -> Option<LibraryInfo> {
    let loaded = LOADED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    loaded.as_ref().map(|(_, path)| LibraryInfo {
        version: version::version(path),
        path: path.clone(),
        build: ort::info().to_owned(),
    })
}

/// Whether `place`, a file or a folder that has one, is the library at `present`.
fn is_at(place: &Path, present: &Path) -> bool {
    let mut found = search::candidates(Some(place)).into_iter();
    found.any(|found| same_file(&found, present))
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn load_first(candidates: Vec<PathBuf>) -> Result<(Environment, PathBuf)> {
    let mut attempts = Vec::new();
    for path in candidates {
        match load(&path) {
            Ok(environment) => {
                debug!(path = %path.display(), build = ort::info(), "ONNX Runtime is loaded");
                return Ok((environment, path));
            }
            Err(problem) => {
                debug!(path = %path.display(), problem, "no ONNX Runtime");
                attempts.push(format!("{}: {problem}", path.display()));
            }
        }
    }
    Err(Error::Runtime(RuntimeError::NotFound { attempts }))
}

fn load(path: &Path) -> std::result::Result<Environment, String> {
    // A bare name is for the system's loader; all else must be there, said shorter than it would.
    if path.is_absolute() || path.components().count() > 1 {
        if path.is_dir() {
            return Err(format!("no {} in this folder", search::FILE));
        }
        if !path.is_file() {
            return Err(match path.exists() {
                true => "not a regular file".into(),
                false => "no such file".into(),
            });
        }
        match image::problem(path) {
            Ok(None) => {}
            Ok(Some(problem)) => return Err(problem),
            Err(error) => return Err(error.to_string()),
        }
    }
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    let environment = builder
        .with_name("sllm-ort")
        .with_telemetry(false)
        .build()
        .map_err(|error| error.to_string())?;
    // What goes wrong comes back as an error; stderr is the caller's.
    environment.set_log_level(LogLevel::Fatal);
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_can_be_named_again() {
        let loaded = || library_info().map(|library| library.path);
        environment(None).unwrap();
        let file = loaded().unwrap();
        for place in [file.as_path(), file.parent().unwrap()] {
            assert!(environment(Some(place)).is_ok(), "{}", place.display());
        }
        let other = environment(Some(Path::new("src")));
        assert!(matches!(
            other,
            Err(Error::Runtime(RuntimeError::Conflict { .. }))
        ));
    }

    #[test]
    fn every_attempt_is_reported() {
        let places = vec![
            PathBuf::from("/nowhere/a.so"),
            PathBuf::from("/nowhere/b.so"),
        ];
        let Err(Error::Runtime(RuntimeError::NotFound { attempts })) = load_first(places) else {
            panic!("two absent files cannot be loaded");
        };
        assert_eq!(
            attempts,
            ["/nowhere/a.so: no such file", "/nowhere/b.so: no such file"]
        );
    }
}
