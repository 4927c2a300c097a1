//! The kind of a model.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a model consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ModelKind {
    /// SentenceVAE: a sentence encoder and a sentence decoder.
    Svae,
    /// Sentence-level language model: encoder, decoder, and a backbone between them.
    Sllm,
    /// Token-level OPT, the baseline.
    Opt,
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Svae => "svae",
            Self::Sllm => "sllm",
            Self::Opt => "opt",
        })
    }
}
