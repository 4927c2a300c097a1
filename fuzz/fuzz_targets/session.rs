//! Any bytes as a session file of the tiny model; `@MODEL@` stands for its fingerprint.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use sllm_ort::{LoadOptions, Model, Session};
use sllm_ort_fuzz::{BUNDLE, check_message, file_in_memory, replaced};

struct Setting {
    model: Model,
    file: PathBuf,
    marks: [(&'static str, String); 1],
}

static SETTING: LazyLock<Setting> = LazyLock::new(|| {
    let options = LoadOptions::default().with_threads(1).unwrap();
    let model = Model::load(BUNDLE, options).unwrap();
    let marks = [("@MODEL@", model.fingerprint())];
    Setting {
        model,
        file: file_in_memory("fuzzed.session"),
        marks,
    }
});

fuzz_target!(|bytes: &[u8]| {
    let Setting { model, file, marks } = &*SETTING;
    fs::write(file, replaced(bytes, marks)).unwrap();
    let session = match Session::load(model, file) {
        Ok(session) => session,
        Err(error) => return check_message(&error),
    };
    assert!(session.len() <= model.config().max_sentences.unwrap());
    session.save(file).unwrap();
    let again = Session::load(model, file).unwrap();
    assert_eq!(again.text(), session.text());
    assert_eq!(again.len(), session.len());
});
