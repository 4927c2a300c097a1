//! Any text as the manifest of the tiny bundle.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use sllm_ort::bundle::Bundle;
use sllm_ort_fuzz::{BUNDLE, check_message};

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| fs::canonicalize(BUNDLE).unwrap());

fuzz_target!(|text: &str| {
    let bundle = match Bundle::from_manifest(&*ROOT, text) {
        Ok(bundle) => bundle,
        Err(error) => return check_message(&error),
    };
    assert!(bundle.tokenizer.path.starts_with(&*ROOT));
    for graph in bundle
        .variants
        .iter()
        .flat_map(|variant| variant.graphs.values())
    {
        let mut files = graph.external_data.iter().chain([&graph.file]);
        assert!(files.all(|file| file.path.starts_with(&*ROOT)));
    }
});
