//! A byte-level BPE tokenizer of 270 tokens, made in code: `<s>` 0, `<pad>` 1, `</s>` 2, the 256 bytes, some merges.
#![allow(dead_code)] // Each test file uses what it needs.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use sllm_ort::{config::ModelConfig, text::SentenceTokenizer};

const MERGES: [(&str, &str); 11] = [
    ("h", "e"),
    ("l", "l"),
    ("he", "ll"),
    ("hell", "o"),
    ("Ġ", "w"),
    ("o", "r"),
    ("Ġw", "or"),
    ("Ġ", "Ġ"),
    ("a", "a"),
    ("aa", "aa"),
    // The first two bytes of many Chinese characters: a token that ends inside a character.
    ("ä", "½"),
];

/// The character that stands for a byte (GPT-2's `bytes_to_unicode`).
fn symbol(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(0x100 + before).unwrap()
}

/// The content of its `tokenizer.json`. Like OPT's, it asks for `</s>` in front of each text, and for other things
/// that must not happen here: truncation and padding.
pub fn json() -> Value {
    let mut vocab = Map::new();
    let specials = ["<s>", "<pad>", "</s>"].map(String::from);
    let bytes = (0..=255).map(|b| symbol(b).to_string());
    let merged = MERGES.iter().map(|(a, b)| format!("{a}{b}"));
    for (id, token) in specials.into_iter().chain(bytes).chain(merged).enumerate() {
        vocab.insert(token, json!(id));
    }
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": true, "special": true})
    };
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 1,
                    "pad_type_id": 0, "pad_token": "<pad>"},
        "added_tokens": [added(0, "<s>"), added(1, "<pad>"), added(2, "</s>")],
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "</s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab,
                  "merges": MERGES.iter().map(|(a, b)| json!([a, b])).collect::<Vec<_>>()}
    })
}

/// A configuration that fits it, with two ids that have no token.
pub fn config_json() -> Value {
    json!({"name": "tiny", "kind": "svae", "vocab_size": 272, "hidden_size": 8, "max_sentence_tokens": 8,
           "tokens": {"bos": 2, "eos": 2, "pad": 1},
           "svae": {"layers": 1, "heads": 2, "ffn_size": 16, "word_embed_size": 8, "learnable_add": false}})
}

pub fn config() -> ModelConfig {
    ModelConfig::from_json_str(&config_json().to_string(), "tiny.json").unwrap()
}

pub fn load(json: &Value) -> sllm_ort::Result<SentenceTokenizer> {
    SentenceTokenizer::from_bytes(json.to_string().as_bytes(), &config(), "tokenizer.json")
}

pub fn tokenizer() -> SentenceTokenizer {
    static LOADED: LazyLock<SentenceTokenizer> = LazyLock::new(|| load(&json()).unwrap());
    LOADED.clone()
}

/// A variant that is decoded as a whole, not byte by byte.
pub fn without_byte_level() -> SentenceTokenizer {
    static LOADED: LazyLock<SentenceTokenizer> = LazyLock::new(|| {
        let mut json = json();
        json["decoder"] = json!({"type": "Sequence", "decoders": [json["decoder"].clone()]});
        load(&json).unwrap()
    });
    LOADED.clone()
}
