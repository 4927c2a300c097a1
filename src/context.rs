//! Contexts: the text, vectors and KV caches that a continuation starts from.

mod cached;
mod legacy;
mod limits;
mod runs;
mod sentences;
mod snapshot;
mod tokens;

pub(crate) use cached::CachedContext;
pub use runs::AppendProgress;
pub(crate) use runs::{NextRun, at_once};
pub(crate) use sentences::{ContextSentence, SentenceContext};
pub(crate) use snapshot::{from_bytes, load, save, to_bytes};
pub(crate) use tokens::TokenContext;

/// Sentences that are appended in one run where the model is causal.
const PREFILL_SENTENCES: usize = 256;

/// What [`Session::append`](crate::Session::append) added to the context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// Sentences that were added to the context.
    pub sentences: usize,
    /// How many of them were truncated by the bundle's segmentation.
    pub truncated: usize,
    /// The end of the text, if the bundle's segmentation dropped it; else empty.
    pub dropped: String,
}

/// A context by its model's kind.
pub(crate) enum Context {
    Sentences(Box<SentenceContext>),
    Tokens(Box<TokenContext>),
}

impl Context {
    pub fn len(&self) -> usize {
        match self {
            Self::Sentences(context) => context.len(),
            Self::Tokens(context) => context.len(),
        }
    }

    pub fn tokens(&self) -> usize {
        match self {
            Self::Sentences(context) => context.tokens(),
            Self::Tokens(context) => context.ids().len(),
        }
    }
}
