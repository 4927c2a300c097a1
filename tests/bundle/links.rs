//! Links stay inside the bundle.
#![cfg(unix)]

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use serde_json::json;
use sllm_ort::{Error, bundle::Bundle, error::BundleError};

use crate::{edits::edited, fixture::Fixture};

#[test]
fn links_stay_inside() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "").unwrap();
    let fixture = Fixture::new();
    let graph = fixture.path().join("cpu/decoder.onnx");
    let replace = |target: PathBuf| {
        fs::remove_file(&graph).unwrap();
        symlink(target, &graph).unwrap();
        fixture.open()
    };
    assert!(matches!(
        replace(outside.path().join("secret")),
        Err(Error::Bundle(BundleError::FileOutside { .. }))
    ));
    assert!(matches!(
        replace(outside.path().join("nothing")),
        Err(Error::Bundle(BundleError::MissingFile { .. }))
    ));
    replace("encoder.onnx".into()).unwrap();

    // A whole directory that leads outside, and a bundle that is reached by a link itself.
    fs::remove_dir_all(fixture.path().join("cpu")).unwrap();
    symlink(outside.path(), fixture.path().join("cpu")).unwrap();
    let file = json!("cpu/secret");
    let good = Fixture::new().manifest();
    let manifest = edited(&good, "/tokenizer/file", Some(&file));
    assert!(matches!(
        fixture.refusal(&manifest.to_string()).1,
        Error::Bundle(BundleError::FileOutside { .. })
    ));
    let (other, link) = (Fixture::new(), outside.path().join("link"));
    symlink(other.path(), &link).unwrap();
    Bundle::open(&link).unwrap();
}
