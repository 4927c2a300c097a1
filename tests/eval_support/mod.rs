//! What the tests of evaluation share.
#![allow(dead_code)] // Each test file uses what it needs.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use sllm_ort::{
    LoadOptions, Model, Result,
    eval::{EvalOptions, Evaluation, evaluate},
};
use tempfile::TempDir;

pub const STORY: &str =
    "Hello, the cat sat on the hill. She ran，and then? Is it so; café! The end.";
pub const OTHER: &str =
    "Hello, the hat sat on the cat. the dog ran to the hill and the cat ran home and so on.";

pub fn model(bundle: &str, variant: &str) -> Model {
    Model::load(bundle, LoadOptions::default().with_variant(variant)).unwrap()
}

pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }
}

pub fn records(records: &[&str]) -> String {
    records.join("\n<|endoftext|>\n")
}

/// Many sentences of all sorts: more than are measured together.
pub fn many() -> String {
    let record = |number: usize| {
        let sentences = (0..number % 17).map(|place| match (number + place) % 4 {
            0 => "Hello, ".to_owned(),
            1 => "and then? ".to_owned(),
            2 => format!("the cat sat on the {}. ", "hat ".repeat(place % 9)),
            _ => OTHER.to_owned(),
        });
        sentences.collect::<String>()
    };
    let all: Vec<String> = (0..60).map(record).collect();
    records(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn run(model: &Model, text: &Path, options: &EvalOptions) -> Result<Evaluation> {
    evaluate(model, text, options, |_| ())
}

/// All figures but the time.
pub fn figures(evaluation: &Evaluation) -> Value {
    let mut value = serde_json::to_value(evaluation).unwrap();
    assert!(value["seconds"].as_f64().unwrap() > 0.0);
    value.as_object_mut().unwrap().remove("seconds");
    value
}

/// The evaluation interrupted after every batch and taken up again, and how often it ran.
pub fn interrupted(model: &Model, text: &Path, options: EvalOptions) -> (Evaluation, u32) {
    let options = options.with_state_interval(Duration::ZERO);
    let mut runs = 0;
    loop {
        runs += 1;
        let once = || evaluate(model, text, &options, |_| panic!("interrupted"));
        if let Ok(found) = catch_unwind(AssertUnwindSafe(once)) {
            return (found.unwrap(), runs);
        }
    }
}
