//! Data that a graph with custom operators and these operators share.

use std::sync::Arc;

use super::{product::Weights, slot_memory::SlotWeights};

pub(super) const DOMAIN: &str = "sllm_ort";
pub(super) const MATMUL: &str = "MatMul";
pub(super) const RANK_VOCABULARY: &str = "RankVocabulary";
pub(super) const SLOT_ATTENTION: &str = "SlotAttention";
/// The attribute of all: the number of the weights.
pub(super) const WEIGHTS: &str = "weights";

/// A graph with operators of ours.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub model: Vec<u8>,
    /// Of products, by the number that a node has as its attribute.
    pub(super) weights: Vec<Arc<Weights>>,
    /// Of attention to slots, in the same way.
    pub(super) slots: Vec<Arc<SlotWeights>>,
}
