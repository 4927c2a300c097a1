//! A tokenizer of single characters.

use crate::{config::ModelConfig, text::SentenceTokenizer};

pub const VOCAB: usize = 40;
/// Token ids of the fake's tokenizer: pad, bos, eos, then one token for each of these characters.
const CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyz.,!?";
pub const EOS: u32 = 2;

fn id(character: char) -> u32 {
    CHARACTERS.find(character).unwrap() as u32 + 3
}

pub fn ids(text: &str) -> Vec<u32> {
    text.chars().map(id).collect()
}

pub fn tokenizer() -> SentenceTokenizer {
    let mut vocab = serde_json::Map::new();
    for (number, token) in ["<pad>", "<s>", "</s>"].iter().enumerate() {
        vocab.insert((*token).to_owned(), number.into());
    }
    for character in CHARACTERS.chars() {
        vocab.insert(character.to_string(), id(character).into());
    }
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []}
    });
    let config = ModelConfig::from_json_str(CONFIG, "test").unwrap();
    SentenceTokenizer::from_bytes(json.to_string().as_bytes(), &config, "test").unwrap()
}

const CONFIG: &str = r#"{"name": "fake", "kind": "sllm", "vocab_size": 40, "hidden_size": 8,
    "max_sentence_tokens": 8, "max_sentences": 16, "tokens": {"bos": 1, "eos": 2, "pad": 0},
    "svae": {"layers": 1, "heads": 1, "ffn_size": 8, "word_embed_size": 8, "learnable_add": false},
    "backbone": {"layers": 1, "heads": 1, "ffn_size": 8, "norm_first": true, "max_positions": 16,
        "prefill_attention": "causal"}, "reencode_bos": true}"#;
