//! Finding a bundle by its name.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use sllm_ort::{
    bundle::{Bundle, MANIFEST_NAME},
    data_folder,
};

/// The bundle that comes with the project.
const SHIPPED: &str = "sllm-stories";
/// Folders of bundles, separated as in PATH.
const VARIABLE: &str = "SLLM_ORT_MODELS";
const FOLDER: &str = "models";
/// How far above the executable a checkout's models are looked for.
const ANCESTORS: usize = 5;
const HELP: &str = "docs/original-checkpoint.md says how to make one";

/// The bundle at a path, or of a name in the folders of models; the shipped one where none is named.
pub fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let name = named.unwrap_or(Path::new(SHIPPED));
    let is_name = name.components().count() == 1 && !name.is_absolute();
    if named.is_some() && name.is_dir() {
        // What is wrong with it, the bundle itself says.
        return Ok(name.to_owned());
    }
    if named.is_some() && name.exists() {
        bail!(
            "{} is a file, and a model is a folder that holds {MANIFEST_NAME}: {HELP}",
            name.display()
        );
    }
    let folders = folders();
    if named.is_some() && !is_name {
        bail!(
            "there is no model {}: {}; {HELP}, --model takes its folder",
            name.display(),
            known(&folders)
        );
    }
    let found = folders.iter().map(|folder| folder.join(name));
    if let Some(bundle) = found.into_iter().find(|bundle| is_bundle(bundle)) {
        return Ok(bundle);
    }
    bail!(
        "no model {} in {}: {}; {HELP}, --model takes its folder",
        name.display(),
        places(&folders),
        known(&folders)
    );
}

/// The models at hand, for a message.
fn known(folders: &[PathBuf]) -> String {
    let names: BTreeSet<String> = folders.iter().flat_map(|folder| bundles(folder)).collect();
    match names.is_empty() {
        true => "no models are installed; sllm-ort setup says how to install one".to_owned(),
        false => format!("there are {}", Vec::from_iter(names).join(", ")),
    }
}

/// Where models were looked for, for a message; without any folder, where they belong.
fn places(folders: &[PathBuf]) -> String {
    let place = |folder: &PathBuf| match folder.is_dir() {
        true => folder.display().to_string(),
        false => format!("{} (which is not there)", folder.display()),
    };
    if folders.is_empty() {
        let usual = data_folder().unwrap_or_default().join(FOLDER);
        return place(&usual);
    }
    Vec::from_iter(folders.iter().map(place)).join(", ")
}

/// Open the bundle that [`find`] finds.
pub fn open(named: Option<&Path>) -> anyhow::Result<Bundle> {
    let dir = find(named)?;
    Bundle::open(&dir).with_context(|| format!("the bundle {} cannot be used", dir.display()))
}

/// Where bundles are looked for, in turn.
pub fn folders() -> Vec<PathBuf> {
    let variable = env::var_os(VARIABLE).filter(|value| !value.is_empty());
    let named = variable.iter().flat_map(env::split_paths);
    let named = named.filter(|folder| !folder.as_os_str().is_empty());
    let data = data_folder().map(|folder| folder.join(FOLDER));
    let program = env::current_exe().ok();
    let program = program.as_deref().and_then(Path::parent);
    let installed = program.map(|folder| folder.join("../share/sllm-ort").join(FOLDER));
    // In the program's folder, or in those above it in a checkout.
    let above = program
        .into_iter()
        .flat_map(|folder| folder.ancestors().take(ANCESTORS));
    let folders = [PathBuf::from(FOLDER)]
        .into_iter()
        .chain(above.map(|folder| folder.join(FOLDER)))
        .chain(installed)
        .chain(data)
        .filter(|folder| folder.is_dir());
    named.chain(folders).collect()
}

fn is_bundle(folder: &Path) -> bool {
    folder.join(MANIFEST_NAME).is_file()
}

/// The names of the bundles in a folder.
fn bundles(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.filter(|entry| is_bundle(&entry.path()));
    found
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
