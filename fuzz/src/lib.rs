//! Shared by the fuzz targets: the tiny bundle, files in memory, checks of an error.

use std::{env, path::PathBuf};

use sllm_ort::{Error, bundle::Bundle, text::SentenceTokenizer};

/// The folder of the tiny bundle.
pub const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/bundle");
/// Longest message of an error, in bytes.
const MAX_MESSAGE_BYTES: usize = 2000;

/// A path for a file of this process, in memory where the system has a file system there.
///
/// # Panics
/// If no folder can be made.
#[must_use]
pub fn file_in_memory(name: &str) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() {
        memory
    } else {
        env::temp_dir()
    };
    // The folder stays: a fuzzer ends without running destructors.
    let folder = parent.join(format!("sllm-ort-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    folder.join(name)
}

/// The bytes with the first of each mark replaced by its text.
#[must_use]
pub fn replaced(bytes: &[u8], marks: &[(&str, String)]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    for (mark, text) in marks {
        let found = all
            .windows(mark.len())
            .position(|window| window == mark.as_bytes());
        if let Some(at) = found {
            all.splice(at..at + mark.len(), text.bytes());
        }
    }
    all
}

/// Check that the message of an error is one short line.
///
/// # Panics
/// If it is not.
pub fn check_message(error: &Error) {
    let message = error.to_string();
    assert!(
        !message.is_empty() && message.len() <= MAX_MESSAGE_BYTES,
        "{} bytes",
        message.len()
    );
    assert!(!message.contains(char::is_control), "{message:?}");
}

/// The tokenizer of the tiny bundle, without the regular expression that cuts a text into words. It
/// takes most of the time of an execution, and is none of ours.
///
/// # Panics
/// If it cannot be loaded.
#[must_use]
pub fn tokenizer_without_regex(bundle: &Bundle) -> SentenceTokenizer {
    let text = std::fs::read_to_string(&bundle.tokenizer.path).expect("a tokenizer");
    let (with, without) = ("\"use_regex\": true", "\"use_regex\": false");
    assert!(text.contains(with));
    let text = text.replace(with, without);
    SentenceTokenizer::from_bytes(text.as_bytes(), &bundle.config, "fuzz").expect("a tokenizer")
}
