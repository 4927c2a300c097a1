//! Any text as the manifest of the tiny bundle.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sllm_ort::bundle::Bundle;

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/bundle");

fuzz_target!(|text: &str| {
    if let Ok(bundle) = Bundle::from_manifest(BUNDLE, text) {
        let longest = bundle.config.max_sentence_tokens.map(|tokens| tokens - 1);
        let _ = bundle.config.parameters();
        bundle.config.kv_bytes(longest).unwrap();
        bundle.config.flops(longest).unwrap();
        let root = std::fs::canonicalize(BUNDLE).unwrap();
        assert!(bundle.tokenizer.path.starts_with(&root));
        for graph in bundle
            .variants
            .iter()
            .flat_map(|variant| variant.graphs.values())
        {
            let mut files = graph.external_data.iter().chain([&graph.file]);
            assert!(files.all(|file| file.path.starts_with(&root)));
        }
    }
});
