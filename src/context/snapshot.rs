//! Snapshots of contexts, as safetensors: text and settings as metadata, vectors and KV cache as
//! tensors. A snapshot restores a context exactly, without running a graph.

mod read;
mod write;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hash::hexadecimal;

pub(crate) use read::{from_bytes, load};
pub(crate) use write::{save, to_bytes};

/// The key of the metadata.
const METADATA: &str = "sllm_ort_session";
const FORMAT_VERSION: u32 = 2;

/// The metadata, without the context's text `T`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata<T> {
    format_version: u32,
    /// Fingerprint of the model.
    model: String,
    variant: String,
    /// SHA-256 of the names and bytes of all tensors, in the order of their names.
    sha256: String,
    context: T,
}

/// Text and settings of a sentence-level context.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentenceText {
    sentences: Vec<StoredSentence>,
    runs: Vec<usize>,
    dropped: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSentence {
    text: String,
    ids: Vec<u32>,
}

/// Text and tokens of a token-level context.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenText {
    text: String,
    ids: Vec<u32>,
    /// Bytes at the end of each sentence, and tokens where they are known.
    ends: Vec<(usize, Option<usize>)>,
}

/// The checksum of tensors, by name.
fn checksum<'t>(tensors: impl Iterator<Item = (&'t str, &'t [u8])>) -> String {
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_unstable();
    let mut hasher = Sha256::new();
    for (name, bytes) in tensors {
        hasher.update(name);
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hexadecimal(&hasher.finalize())
}

/// The name of a tensor of the cache: keys and values of each layer in turn.
fn cache_name(number: usize) -> String {
    format!("{}.{}", ["key", "value"][number % 2], number / 2)
}
