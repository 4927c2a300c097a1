//! Where the ONNX Runtime library is looked for.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The variable that names the library, as everywhere in the `ort` world.
const VARIABLE: &str = "ORT_DYLIB_PATH";
/// The folder that `make` fills, at the root of the project.
const PROJECT_FOLDER: &str = ".onnxruntime";
/// The folder of this program in the user's data folder.
const DATA_FOLDER: &str = "sllm-ort";
/// Where the Python package onnxruntime has the library, below `site-packages`.
const PYTHON_PACKAGE: &str = "onnxruntime/capi";

/// The library's file name without a version.
pub(super) const FILE: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_vendor = "apple") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// Whether a caller or the environment names the library.
pub(super) fn is_named(path: Option<&Path>) -> bool {
    path.is_some() || variable().is_some()
}

fn variable() -> Option<PathBuf> {
    let value = env::var_os(VARIABLE).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

/// The files to try, in turn. A place that was named is the only one.
pub(super) fn candidates(named: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = named.map(Path::to_owned).or_else(variable) {
        return vec![in_folder(&absolute(&path))];
    }
    let mut found: Vec<PathBuf> = folders()
        .iter()
        .filter_map(|folder| library_in(folder))
        .collect();
    // The system's loader has its own places.
    found.push(PathBuf::from(FILE));
    found
}

/// The library that Python's default interpreter has installed; asked last, since that takes a
/// process.
pub(super) fn of_python() -> Vec<PathBuf> {
    let script =
        "import site; print(*site.getsitepackages(), site.getusersitepackages(), sep='\n')";
    let python = if cfg!(windows) { "python" } else { "python3" };
    let output = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|site| library_in(&Path::new(site).join(PYTHON_PACKAGE)))
        .collect()
}

/// The folders that may hold the library: the program's own, those of an active environment of
/// Python, the user's data folder, and, for what Cargo runs from a checkout, the project's.
fn folders() -> Vec<PathBuf> {
    let program = env::current_exe().ok();
    let program = program.as_deref().and_then(Path::parent);
    let mut folders: Vec<PathBuf> = program.map(Path::to_owned).into_iter().collect();
    folders.extend(project(program));
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        let prefix = env::var_os(variable).filter(|value| !value.is_empty());
        if let Some(prefix) = prefix.map(PathBuf::from) {
            folders.extend(site_packages(&prefix).map(|site| site.join(PYTHON_PACKAGE)));
            folders.push(prefix.join("lib"));
        }
    }
    folders.extend(data_folder().map(|folder| folder.join("onnxruntime")));
    if cfg!(unix) {
        folders.extend(["/usr/local/lib", "/usr/lib"].map(PathBuf::from));
    }
    folders
}

/// The project's own folder, for a program that Cargo runs and has built there: tests, examples.
fn project(program: Option<&Path>) -> Option<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from)?;
    // Doc tests lie elsewhere, and only a debug build has them.
    let built_there = program.is_some_and(|program| program.starts_with(&package));
    (built_there || cfg!(debug_assertions)).then(|| package.join(PROJECT_FOLDER))
}

/// The folders of installed packages below the prefix of an environment of Python.
fn site_packages(prefix: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let versions = fs::read_dir(prefix.join("lib"))
        .into_iter()
        .flatten()
        .flatten();
    let versions =
        versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("python"));
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
    versions.sort();
    // On Windows they have no version.
    versions.push(prefix.join("Lib"));
    versions
        .into_iter()
        .map(|version| version.join("site-packages"))
}

/// This program's folder in the user's data directory: `$XDG_DATA_HOME/sllm-ort`, or the system's
/// usual place.
#[must_use]
pub fn data_folder() -> Option<PathBuf> {
    let variable = |name: &str| {
        let value = env::var_os(name).map(PathBuf::from);
        value.filter(|path| path.is_absolute())
    };
    let home = || variable("HOME");
    let data = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_vendor = "apple") {
        home().map(|home| home.join("Library/Application Support"))
    } else {
        variable("XDG_DATA_HOME").or_else(|| home().map(|home| home.join(".local/share")))
    };
    data.map(|data| data.join(DATA_FOLDER))
}

/// The library in a folder that was named, or in the folders that a release or a Python package
/// has it in; the path as it is if it is no folder.
fn in_folder(path: &Path) -> PathBuf {
    let below = ["", "lib", "capi", PYTHON_PACKAGE];
    let places = below.map(|folder| path.join(folder));
    let found = path
        .is_dir()
        .then(|| places.iter().find_map(|place| library_in(place)));
    found.flatten().unwrap_or_else(|| path.to_owned())
}

/// The library in a folder: without a version, else the last by its name, such as
/// `libonnxruntime.so.1.31.1`.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let plain = folder.join(FILE);
    if plain.is_file() {
        return Some(plain);
    }
    let files = fs::read_dir(folder).ok()?.flatten();
    let versioned = files.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        is_versioned(&name) && path.is_file()
    });
    versioned.max_by_key(|path| version(&path.to_string_lossy()))
}

/// Whether a file name is the library's with a version: `libonnxruntime.so.1.31.1`,
/// `libonnxruntime.1.31.1.dylib`.
fn is_versioned(name: &str) -> bool {
    let (stem, extension) = FILE.split_once('.').unwrap_or((FILE, ""));
    let version = match cfg!(target_vendor = "apple") {
        true => name
            .strip_prefix(stem)
            .and_then(|rest| rest.strip_suffix(&format!(".{extension}"))),
        false => name.strip_prefix(FILE),
    };
    version.is_some_and(|version| {
        version.starts_with('.') && version.chars().all(|c| c == '.' || c.is_ascii_digit())
    })
}

/// The numbers in a name, to compare versions by.
fn version(name: &str) -> Vec<u64> {
    let numbers = name.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// A relative path means the current directory, not the executable's folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
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

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_stands_for_the_library_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [
            "capi/libonnxruntime.so.1.9.0",
            "capi/libonnxruntime.so.1.31.1",
            "x/other.so",
        ] {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), "").unwrap();
        }
        let newest = at("capi/libonnxruntime.so.1.31.1");
        assert_eq!(candidates(Some(folder.path())).first(), Some(&newest));
        assert_eq!(candidates(Some(&at("capi"))), [newest]);
        assert_eq!(candidates(Some(&at("x"))), [at("x")]);
        fs::write(at("capi/libonnxruntime.so"), "").unwrap();
        assert_eq!(
            candidates(Some(&at("capi"))),
            [at("capi/libonnxruntime.so")]
        );
    }

    #[test]
    fn names_with_a_version() {
        if cfg!(target_os = "linux") {
            assert!(is_versioned("libonnxruntime.so.1"));
            assert!(is_versioned("libonnxruntime.so.1.31.1"));
            assert!(!is_versioned("libonnxruntime.so.bak"));
            assert!(!is_versioned("libonnxruntime_providers_cuda.so"));
        }
        assert!(version("a/so.1.31.1") > version("a/so.1.9.0"));
    }
}
