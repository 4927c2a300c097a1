//! Texts and files that hold a configuration, or none.

use sllm_ort::{
    Error,
    config::{MAX_CONFIG_BYTES, ModelConfig},
    error::{BundleError, TextError},
};

use super::{parse, sllm};

#[test]
fn an_editor_may_have_saved_it() {
    let text = serde_json::to_string_pretty(&sllm()).unwrap();
    let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let found = ModelConfig::from_json_str(&windows, "model.json").unwrap();
    assert_eq!(found, parse(&sllm()).unwrap());
}

#[test]
fn texts_that_are_no_configuration() {
    for text in ["", "{", "[1", "{\"name\": nul}", &"[".repeat(100_000)] {
        let error = ModelConfig::from_json_str(text, "model.json").unwrap_err();
        assert!(matches!(error, Error::Json { .. }), "{text:.20}: {error:?}");
        assert!(std::error::Error::source(&error).is_some());
    }
    let error = ModelConfig::from_json_str("{\n \"name\" 3}", "model.json").unwrap_err();
    insta::assert_snapshot!(error, @"model.json: line 2, column 9: not valid JSON: correct it there, or export the bundle again");
    for text in ["[]", "3", "null", "\"sllm\""] {
        let error = ModelConfig::from_json_str(text, "model.json").unwrap_err();
        assert!(matches!(error, Error::Schema { .. }), "{text}: {error:?}");
    }
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.json");
    assert!(matches!(
        ModelConfig::from_file(&path),
        Err(Error::Read { .. })
    ));
    assert!(matches!(
        ModelConfig::from_file(dir.path()),
        Err(Error::Read { .. })
    ));
    std::fs::write(&path, sllm().to_string()).unwrap();
    assert_eq!(
        ModelConfig::from_file(&path).unwrap(),
        parse(&sllm()).unwrap()
    );
    std::fs::write(&path, [0xff; 3]).unwrap();
    assert!(matches!(
        ModelConfig::from_file(&path),
        Err(Error::Text(TextError::NotUtf8 { byte: 0, .. }))
    ));
    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\n").unwrap();
    assert!(matches!(
        ModelConfig::from_file(&path),
        Err(Error::Bundle(BundleError::LfsPointer { path: named })) if named == path
    ));
    std::fs::write(&path, " ".repeat(MAX_CONFIG_BYTES as usize + 1)).unwrap();
    assert!(matches!(
        ModelConfig::from_file(&path),
        Err(Error::FileTooLarge { .. })
    ));
}
