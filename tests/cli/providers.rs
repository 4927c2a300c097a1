//! Execution providers and their options.

use predicates::{prelude::*, str::contains};

use crate::support::{failure, tiny};

/// Neither by another one, nor without saying which file is missing.
#[test]
fn a_provider_that_is_not_there_must_not_be_replaced() {
    for provider in ["tensorrt", "cuda"] {
        let error = failure(&mut tiny(&["run", "hello", "--provider", provider]));
        let missing = format!("libonnxruntime_providers_{provider}.so is missing");
        for text in [&format!("no execution provider {provider:?} (/"), &missing] {
            assert!(error.contains(text), "{error}");
        }
    }
}

#[test]
fn options_that_a_named_provider_does_not_take_are_refused() {
    for options in [
        &["--provider", "cpu", "--device", "0"][..],
        &["--provider", "cpu", "--gpu-memory", "1048576"],
        &["--provider", "cuda", "--engine-cache", "engines"],
        &[
            "--provider",
            "cuda",
            "--engine-sizes",
            "1:1:4,1:8:16,1:8:16",
        ],
        &["--provider", "tensorrt", "--gpu-memory", "1048576"],
        &["--gpu-memory", "1GB"],
        &["--gpu-memory", "1000"],
        &["--device", "-1"],
        &["--engine-cache", "Cargo.toml"],
        &["--engine-sizes", "1:2,3:4:5,1:2:3"],
        &["--engine-sizes", "1:2:3"],
        &["--engine-sizes", "1:2:1,1:1:1,1:1:1"],
    ] {
        let mut command = tiny(&["run", "hello"]);
        command.args(options).assert().code(2).stdout("");
    }
}

#[test]
fn options_that_have_no_effect_are_said() {
    let options = ["--device", "1", "--engine-sizes", "1:1:4,1:8:16,1:8:16"];
    let mut command = tiny(&["embed", "hello"]);
    let said = |option: &str| contains(format!("warning: {option} has no effect: cpu is used"));
    command
        .args(options)
        .assert()
        .success()
        .stderr(said("device 1").and(said(
            "engine-sizes batch 1:1:4, sentences 1:8:16, tokens 1:8:16",
        )));
}
