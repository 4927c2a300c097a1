//! Any text as a model configuration: what is accepted serializes to itself, and its sizes can be
//! computed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sllm_ort::config::ModelConfig;
use sllm_ort_fuzz::check_message;

fuzz_target!(|text: &str| {
    let config = match ModelConfig::from_json_str(text, "fuzz") {
        Ok(config) => config,
        Err(error) => return check_message(&error),
    };
    let longest = config.max_sentence_tokens.map(|tokens| tokens - 1);
    let _ = config.parameters();
    config.kv_bytes(longest).unwrap();
    config.flops(longest).unwrap();
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(
        ModelConfig::from_json_str(&written, "written").unwrap(),
        config
    );
});
