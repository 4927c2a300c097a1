//! What the tests of the command line share.
#![allow(dead_code)] // Each test file uses what it needs.

pub mod snapshots;

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sllm_ort::{LoadOptions, Model, Provider, ProviderChoice};

/// A model of a few kilobytes, trained on one text.
pub const TINY: &str = "tests/golden/bundle";
/// The same with the settings of the original's checkpoints.
pub const TINY_ORIGINAL: &str = "tests/golden/bundle-original";

/// A token-level model of a few kilobytes, trained on the same text.
pub const TINY_OPT: &str = "tests/golden/bundle-opt";

/// A variant of a bundle on the processor, which also runs what was made for other devices.
pub fn load(bundle: &str, variant: &str) -> Model {
    let options = LoadOptions::default()
        .with_provider(ProviderChoice::Only(Provider::Cpu))
        .with_variant(variant);
    Model::load(bundle, options).unwrap()
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> String {
    sha256_of(&std::fs::read(path).unwrap())
}

fn sha256_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The program, without variables that could change what it does.
pub fn program() -> Command {
    let mut command = Command::cargo_bin("sllm-ort").unwrap();
    for variable in [
        "MODEL",
        "MODELS",
        "ONNXRUNTIME",
        "PROVIDER",
        "THREADS",
        "SPIN",
        "LOG",
        "VARIANT",
        "MATMUL_KERNEL",
    ] {
        command.env_remove(format!("SLLM_ORT_{variable}"));
    }
    command
}

/// The program on the tiny model.
pub fn tiny(arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(arguments).args(["--model", TINY]);
    command
}

/// The lines of JSON that a command prints.
pub fn json_lines(command: &mut Command) -> Vec<Value> {
    let output = command.args(["--format", "json"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The one line of error that a command ends with, which must fail with status 1 and print nothing
/// else on stdout.
pub fn failure(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(output.stdout, b"", "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
        .strip_prefix("sllm-ort: error: ")
        .unwrap()
        .trim_end()
        .to_owned()
}

/// A copy of a bundle that may be damaged.
pub fn copy_bundle(from: &str, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_bundle(entry.path().to_str().unwrap(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Change the manifest of a bundle.
pub fn edit_manifest(bundle: &Path, edit: impl FnOnce(&mut Value)) {
    let path = bundle.join("sllm.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut manifest);
    std::fs::write(&path, manifest.to_string()).unwrap();
}
