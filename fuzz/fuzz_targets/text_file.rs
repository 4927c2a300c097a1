//! Any bytes as a text file of records, as `stats` and `eval` read it.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use sllm_ort::{bundle::Bundle, stats::text_stats};
use sllm_ort_fuzz::{BUNDLE, check_message, file_in_memory};

static OPENED: LazyLock<(Bundle, PathBuf)> =
    LazyLock::new(|| (Bundle::open(BUNDLE).unwrap(), file_in_memory("text.txt")));

fuzz_target!(|bytes: &[u8]| {
    let (bundle, path) = &*OPENED;
    fs::write(path, bytes).unwrap();
    let mut done = 0;
    let progress = |at| {
        assert!(at >= done);
        done = at;
    };
    match text_stats(bundle, path, progress) {
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
