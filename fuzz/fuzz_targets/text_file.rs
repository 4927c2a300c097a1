//! Any bytes as a text file of records, as `stats` and `eval` read it.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use sllm_ort::{bundle::Bundle, stats::text_stats_with, text::SentenceTokenizer};
use sllm_ort_fuzz::{BUNDLE, check_message, file_in_memory, tokenizer_without_regex};

/// Loaded once: to load the tokenizer takes as long as to read such a text.
static OPENED: LazyLock<(Bundle, SentenceTokenizer, PathBuf)> = LazyLock::new(|| {
    let bundle = Bundle::open(BUNDLE).unwrap();
    let tokenizer = tokenizer_without_regex(&bundle);
    (bundle, tokenizer, file_in_memory("text.txt"))
});

fuzz_target!(|bytes: &[u8]| {
    let (bundle, tokenizer, path) = &*OPENED;
    fs::write(path, bytes).unwrap();
    let mut done = 0;
    let progress = |at| {
        assert!(at >= done);
        done = at;
    };
    match text_stats_with(bundle, tokenizer, path, progress) {
        Ok(stats) => {
            assert_eq!(done, bytes.len() as u64);
            assert!(stats.sentences > 0 && stats.records > 0);
            assert!(stats.bytes <= bytes.len() as u64);
            let bins = stats.histogram(10);
            assert_eq!(
                bins.iter().map(|bin| bin.sentences).sum::<u64>(),
                stats.sentences
            );
        }
        Err(error) => check_message(&error),
    }
});
