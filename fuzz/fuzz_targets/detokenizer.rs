//! Any bytes as token ids: what is streamed is, joined, what all ids decode to.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sllm_ort::{
    bundle::Bundle,
    text::{Detokenizer, Segmentation, TextPipeline, WhiteSpace},
};
use sllm_ort_fuzz::BUNDLE;

static PIPELINE: LazyLock<TextPipeline> = LazyLock::new(|| {
    let tokenizer = Bundle::open(BUNDLE).unwrap().load_tokenizer().unwrap();
    let canonical = Segmentation::default().with_white_space(WhiteSpace::Canonical);
    TextPipeline::new(tokenizer, canonical, 24).unwrap()
});

fuzz_target!(|bytes: &[u8]| {
    // The tiny vocabulary has 64 ids; a few more than those are beyond it.
    let ids: Vec<u32> = bytes.iter().map(|&byte| u32::from(byte) % 80).collect();
    let tokenizer = PIPELINE.tokenizer();
    assert_eq!(
        streamed(tokenizer.stream(), &ids),
        tokenizer.decode(&ids).unwrap()
    );
    assert_eq!(
        streamed(PIPELINE.detokenizer(), &ids),
        PIPELINE.decode(&ids).unwrap()
    );
});

fn streamed(mut stream: Detokenizer, ids: &[u32]) -> String {
    let mut text = String::new();
    for &id in ids {
        if let Some(new) = stream.push(id).unwrap() {
            assert!(!new.is_empty());
            text.push_str(new);
        }
    }
    text.push_str(stream.finish().unwrap().unwrap_or_default());
    text
}
