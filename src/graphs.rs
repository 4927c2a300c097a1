//! The graphs of a model, each with its signature and its inputs.

mod backbone;
mod cached_graph;
mod causal_mask;
mod decoder;
mod encoder;
mod length_batches;
mod logits_output;
mod token_lm;

pub(crate) use backbone::{Backbone, Prediction};
pub(crate) use cached_graph::CachedGraph;
pub(crate) use decoder::{DecodeBuffers, Decoder};
pub(crate) use encoder::Encoder;
pub(crate) use length_batches::{length_batches, run_cost};
use logits_output::LogitsOutput;
pub(crate) use token_lm::TokenLm;

/// Most logits of one run: 32 MiB of them.
pub(crate) const RUN_LOGITS: usize = 8 << 20;
