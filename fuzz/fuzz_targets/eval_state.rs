//! Any bytes as the state file of an unfinished evaluation by the tiny model; `@MODEL@` and
//! `@TEXT@` stand for the model's fingerprint and the hash of the text.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use sllm_ort::{
    LoadOptions, Model,
    eval::{EvalOptions, evaluate},
};
use sllm_ort_fuzz::{BUNDLE, check_message, file_in_memory, replaced};

const TEXT: &str = "the cat. a dog.";

struct Setting {
    model: Model,
    text: PathBuf,
    state: PathBuf,
    options: EvalOptions,
    marks: [(&'static str, String); 2],
}

static SETTING: LazyLock<Setting> = LazyLock::new(|| {
    let options = LoadOptions::default().with_threads(1).unwrap();
    let model = Model::load(BUNDLE, options).unwrap();
    let (text, state) = (file_in_memory("text.txt"), file_in_memory("eval.state"));
    fs::write(&text, TEXT).unwrap();
    let options = EvalOptions::default().with_state(&state);
    evaluate(
        &model,
        &text,
        &options.clone().with_keep_state(true),
        |_| (),
    )
    .unwrap();
    let saved: serde_json::Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    let hash = saved["subject"]["text_sha256"].as_str().unwrap().to_owned();
    let marks = [("@MODEL@", model.fingerprint()), ("@TEXT@", hash)];
    Setting {
        model,
        text,
        state,
        options,
        marks,
    }
});

fuzz_target!(|bytes: &[u8]| {
    let setting = &*SETTING;
    fs::write(&setting.state, replaced(bytes, &setting.marks)).unwrap();
    if let Err(error) = evaluate(&setting.model, &setting.text, &setting.options, |_| ()) {
        check_message(&error);
    }
});
