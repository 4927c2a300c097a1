//! Any bytes as a session file of the tiny model; `MODEL` stands for its fingerprint.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use sllm_ort::{LoadOptions, Model, Session};

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/bundle");

static MODEL: LazyLock<Model> =
    LazyLock::new(|| Model::load(BUNDLE, LoadOptions::default()).unwrap());
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    // Memory, where there is a file system in it. The folder stays: the fuzzer ends by a signal.
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    tempfile::tempdir_in(parent)
        .unwrap()
        .keep()
        .join("fuzzed.session")
});

fuzz_target!(|text: String| {
    fs::write(&*FILE, text.replace("@MODEL@", &MODEL.fingerprint())).unwrap();
    if let Ok(session) = Session::load(&MODEL, &*FILE) {
        assert!(session.len() <= MODEL.config().max_sentences.unwrap());
        session.save(&*FILE).unwrap();
        assert_eq!(
            Session::load(&MODEL, &*FILE).unwrap().text(),
            session.text()
        );
    }
});
