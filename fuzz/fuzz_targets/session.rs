//! Any bytes as a session of the tiny model; `@MODEL@` stands for its fingerprint.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sllm_ort::{LoadOptions, Model, Session};
use sllm_ort_fuzz::{BUNDLE, check_message, replaced};

static SETTING: LazyLock<(Model, [(&'static str, String); 1])> = LazyLock::new(|| {
    let options = LoadOptions::default().with_threads(1).unwrap();
    let model = Model::load(BUNDLE, options).unwrap();
    let marks = [("@MODEL@", model.fingerprint())];
    (model, marks)
});

fuzz_target!(|bytes: &[u8]| {
    let (model, marks) = &*SETTING;
    let session = match Session::from_bytes(model, &replaced(bytes, marks)) {
        Ok(session) => session,
        Err(error) => return check_message(&error),
    };
    assert!(session.len() <= model.config().max_sentences.unwrap());
    let saved = session.to_bytes().unwrap();
    let again = Session::from_bytes(model, &saved).unwrap();
    assert_eq!(again.text(), session.text());
    assert_eq!(again.len(), session.len());
    assert_eq!(again.to_bytes().unwrap(), saved);
});
