//! What a configuration may say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod edits;
#[path = "config/files.rs"]
mod files;
#[path = "config/kinds.rs"]
mod kinds;
#[path = "config/published.rs"]
mod published;
#[path = "config/refusals.rs"]
mod refusals;

use serde_json::{Value, json};
use sllm_ort::config::ModelConfig;

fn sllm() -> Value {
    json!({
        "name": "sllm-125m-h4", "kind": "sllm",
        "vocab_size": 50272, "hidden_size": 768, "max_sentence_tokens": 64, "max_sentences": 64,
        "tokens": {"bos": 2, "eos": 2, "pad": 1},
        "svae": {"layers": 4, "heads": 12, "ffn_size": 1536, "word_embed_size": 768, "learnable_add": false},
        "backbone": {"layers": 12, "heads": 12, "ffn_size": 3072, "norm_first": true, "max_positions": 2048,
                     "prefill_attention": "bidirectional"},
        "reencode_bos": false
    })
}

fn svae() -> Value {
    json!({
        "name": "svae-768-h1", "kind": "svae", "vocab_size": 50272, "hidden_size": 768, "max_sentence_tokens": 64,
        "tokens": {"bos": 2, "eos": 2, "pad": 1},
        "svae": {"layers": 1, "heads": 12, "ffn_size": 1536, "word_embed_size": 768, "learnable_add": true}
    })
}

fn opt() -> Value {
    json!({
        "name": "opt-350m", "kind": "opt", "vocab_size": 50272, "hidden_size": 1024,
        "tokens": {"bos": 2, "eos": 2, "pad": 1},
        "backbone": {"layers": 24, "heads": 16, "ffn_size": 4096, "norm_first": false, "max_positions": 2048,
                     "word_embed_size": 512}
    })
}

fn parse(config: &Value) -> sllm_ort::Result<ModelConfig> {
    ModelConfig::from_json_str(&config.to_string(), "model.json")
}
