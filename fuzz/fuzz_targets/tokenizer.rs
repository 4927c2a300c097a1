//! Any ids as a stream: joined, what it gives is what all ids decode to. And any text as a
//! tokenizer's file.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sllm_ort::{
    bundle::Bundle,
    text::{SentenceTokenizer, TextPipeline},
};

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/bundle");

static OPENED: LazyLock<(Bundle, SentenceTokenizer)> = LazyLock::new(|| {
    // libFuzzer's hook ends the process at a panic; the tokenizer library's are caught.
    let _ = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let bundle = Bundle::open(BUNDLE).unwrap();
    let tokenizer = bundle.load_tokenizer().unwrap();
    (bundle, tokenizer)
});

fuzz_target!(|input: (Vec<u8>, String)| {
    let (bundle, tokenizer) = &*OPENED;
    let ids: Vec<u32> = input.0.into_iter().map(u32::from).collect();
    streams_as_decoded(tokenizer, &ids);
    if let Ok(other) = SentenceTokenizer::from_bytes(input.1.as_bytes(), &bundle.config, "fuzz")
        && let Ok(ids) = other.encode("Hello, the cat. ")
    {
        let _ = other.decode(&ids);
        let pipeline = TextPipeline::new(other, bundle.segmentation, 6)
            .unwrap_or_else(|_| std::process::abort());
        let _ = pipeline.sentences("hello world. ").map(Iterator::count);
    }
});

fn streams_as_decoded(tokenizer: &SentenceTokenizer, ids: &[u32]) {
    let mut stream = tokenizer.stream();
    let mut text = String::new();
    for &id in ids {
        text.push_str(stream.push(id).ok().flatten().unwrap_or_default());
    }
    text.push_str(stream.finish().ok().flatten().unwrap_or_default());
    if tokenizer.decode(ids).ok().as_ref() != Some(&text) {
        // The hook was taken, so that an assertion would not be seen.
        eprintln!("{ids:?} streamed as {text:?}");
        std::process::abort();
    }
}
