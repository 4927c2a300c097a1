//! Finding and loading the ONNX Runtime library, once per process.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Mutex,
};

use ort::{environment::Environment, logging::LogLevel};
use tracing::debug;

use crate::error::{Error, Result};

/// The variable that names the library, as everywhere in the `ort` world.
const VARIABLE: &str = "ORT_DYLIB_PATH";
/// The folder that `make` fills, at the root of the project.
const PROJECT_FOLDER: &str = ".onnxruntime";
/// How far above the executable that folder is looked for (`target/release/deps` is three below).
const ANCESTORS: usize = 5;

/// The library that this process runs on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LibraryInfo {
    /// The file that was loaded; a bare file name where the system's loader found it.
    pub path: PathBuf,
    /// What the library says of its build (version, commit, compiler flags).
    pub build: String,
}

static LOADED: Mutex<Option<(Environment, PathBuf)>> = Mutex::new(None);

/// The one environment of the process; the first call finds and loads the library.
///
/// Searched in turn: `path`, the file that `ORT_DYLIB_PATH` names, the executable's folder, the
/// folder `.onnxruntime` in it or in one above it or in the package that Cargo runs, the system's
/// loader. A place that was named must work: nothing else is tried then.
///
/// # Errors
/// [`Error::RuntimeNotFound`] with each place and what was wrong there; [`Error::RuntimeConflict`]
/// if another file is asked for than the one that is already loaded.
pub(crate) fn environment(path: Option<&Path>) -> Result<Environment> {
    let mut loaded = LOADED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((environment, present)) = &*loaded {
        return match path {
            Some(asked) if !same_file(asked, present) => Err(Error::RuntimeConflict {
                loaded: present.clone(),
                requested: asked.to_owned(),
            }),
            _ => Ok(environment.clone()),
        };
    }
    let (environment, present) = load_first(candidates(path))?;
    *loaded = Some((environment.clone(), present));
    Ok(environment)
}

/// Find and load the library, as [`Model::load`](crate::Model::load) does first.
///
/// # Errors
/// [`Error::RuntimeNotFound`], [`Error::RuntimeConflict`].
pub fn load_library(path: Option<&Path>) -> Result<LibraryInfo> {
    environment(path)?;
    // Nothing unloads it.
    library_info().ok_or(Error::RuntimeNotFound {
        attempts: Vec::new(),
    })
}

/// What is loaded, or `None` before the first model or [`Model::load`](crate::Model::load).
#[must_use]
pub fn library_info() -> Option<LibraryInfo> {
    let loaded = LOADED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    loaded.as_ref().map(|(_, path)| LibraryInfo {
        path: path.clone(),
        build: ort::info().to_owned(),
    })
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
    Err(Error::RuntimeNotFound { attempts })
}

fn load(path: &Path) -> std::result::Result<Environment, String> {
    // A bare name is for the system's loader; all else must be there, said shorter than it would.
    if path.components().count() > 1 && !path.is_file() {
        return Err("no such file".into());
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

fn candidates(explicit: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = explicit {
        return vec![absolute(path)];
    }
    if let Some(path) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        return vec![absolute(Path::new(&path))];
    }
    let file = library_file();
    let executable = env::current_exe().ok();
    let beside = executable.as_deref().and_then(Path::parent);
    // Cargo says where the package is to what it runs; doc tests lie elsewhere.
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let roots = beside
        .iter()
        .flat_map(|folder| folder.ancestors().take(ANCESTORS));
    let project = roots
        .chain(package.as_deref())
        .map(|root| root.join(PROJECT_FOLDER))
        .filter(|folder| folder.is_dir())
        .map(|folder| folder.join(file));
    beside
        .map(|folder| folder.join(file))
        .into_iter()
        .chain(project)
        .chain([PathBuf::from(file)])
        .collect()
}

/// A relative path means the current directory, not the executable's folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn library_file() -> &'static str {
    if cfg!(windows) {
        "onnxruntime.dll"
    } else if cfg!(target_vendor = "apple") {
        "libonnxruntime.dylib"
    } else {
        "libonnxruntime.so"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_library_is_the_only_candidate() {
        let found = candidates(Some(Path::new("somewhere/libonnxruntime.so")));
        assert_eq!(found.len(), 1);
        assert!(found[0].is_absolute());
    }

    #[test]
    fn every_attempt_is_reported() {
        let places = vec![
            PathBuf::from("/nowhere/a.so"),
            PathBuf::from("/nowhere/b.so"),
        ];
        let Err(Error::RuntimeNotFound { attempts }) = load_first(places) else {
            panic!("two absent files cannot be loaded");
        };
        assert_eq!(
            attempts,
            ["/nowhere/a.so: no such file", "/nowhere/b.so: no such file"]
        );
    }
}
