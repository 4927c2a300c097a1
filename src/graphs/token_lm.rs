//! A token-level OPT model: tokens to the logits of the next token, with its KV cache.

use ort::value::TensorElementType::{Bool, Int64};

use super::{CachedGraph, LogitsOutput, causal_mask::attention_mask};
use crate::{
    config::ModelConfig,
    error::{Error, Result},
    logits::Logits,
    runtime::{ANY, CacheShape, Graph, Input, KvCache, TensorSpec, is_in_place},
};

/// The graph of a token-level model with what it needs to know of the model.
#[derive(Debug)]
pub(crate) struct TokenLm {
    cached: CachedGraph,
    output: LogitsOutput,
}

impl TokenLm {
    pub fn new(graph: Graph, config: &ModelConfig) -> Result<Self> {
        let backbone = config.require_backbone()?;
        let shape = CacheShape {
            layers: backbone.layers,
            heads: backbone.heads,
            head_size: config.hidden_size / backbone.heads,
            limit: backbone.max_positions,
        };
        let mut inputs = vec![
            TensorSpec::new("input_ids", Int64, &[ANY, ANY]),
            TensorSpec::new("position_ids", Int64, &[ANY, ANY]),
            TensorSpec::new("logits_to_keep", Int64, &[]),
        ];
        if !is_in_place(&graph) {
            inputs.push(TensorSpec::new("attention_mask", Bool, &[ANY, ANY, ANY]));
        }
        let output = LogitsOutput::new(&graph, config.vocab_size);
        let (output_inputs, outputs) = output.specs();
        inputs.extend(output_inputs);
        Ok(Self {
            cached: CachedGraph::new(graph, shape, "opt", inputs, outputs)?,
            output,
        })
    }

    /// The graph, for its caches.
    pub fn cached(&self) -> &CachedGraph {
        &self.cached
    }

    /// Most tokens that a context holds.
    pub fn max_positions(&self) -> usize {
        self.cached.limit()
    }

    /// Append `ids`, at least one, to the row of `cache`, and set the logits after the last.
    pub fn append(&self, cache: &mut KvCache, ids: &[u32], logits: &mut Logits) -> Result<()> {
        self.append_to_each(cache, ids, std::iter::once(&mut *logits))?;
        match logits.is_empty() {
            true => Err(self.not_finite()),
            false => Ok(()),
        }
    }

    /// Append the same number of tokens to each row of `cache`, those of the rows concatenated in
    /// `ids`, and set the row's logits after the last. They are empty if they are not finite.
    pub fn append_to_each<'l>(
        &self,
        cache: &mut KvCache,
        ids: &[u32],
        logits: impl Iterator<Item = &'l mut Logits>,
    ) -> Result<()> {
        let rows = cache.rows();
        let new = ids.len() / rows;
        let feed = Feed::new(self.cached.graph(), cache, ids, 1);
        self.output
            .next(self.cached.graph(), cache, feed.inputs(), new, rows, logits)
    }

    /// The error for logits that are not finite.
    pub fn not_finite(&self) -> Error {
        self.output.not_finite(self.cached.graph())
    }

    /// Append `ids`, at least one, to the row of `cache`; returns the logits `[ids, vocab]` after
    /// each.
    pub fn append_all(&self, cache: &mut KvCache, ids: &[u32]) -> Result<Vec<f32>> {
        let feed = Feed::new(self.cached.graph(), cache, ids, ids.len());
        self.output
            .all(self.cached.graph(), cache, feed.inputs(), ids.len())
    }
}

/// Tokens as the graph takes them.
struct Feed {
    rows: usize,
    ids: Vec<i64>,
    positions: Vec<i64>,
    logits_to_keep: [i64; 1],
    /// `None` where the graph has no mask.
    mask: Option<Vec<bool>>,
}

impl Feed {
    fn new(graph: &Graph, cache: &KvCache, ids: &[u32], logits_to_keep: usize) -> Self {
        let new = ids.len() / cache.rows();
        let of_row = |&cached: &usize| cached as i64..(cached + new) as i64;
        Self {
            rows: cache.rows(),
            ids: ids.iter().copied().map(i64::from).collect(),
            positions: cache.lengths().iter().flat_map(of_row).collect(),
            logits_to_keep: [logits_to_keep as i64],
            mask: (!is_in_place(graph)).then(|| attention_mask(cache.lengths(), new, false)),
        }
    }

    fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let (rows, new) = (self.rows, self.ids.len() / self.rows);
        let mask = self.mask.as_deref().map(|mask| {
            let shape = [rows, new, mask.len() / (rows * new)];
            Input::flags("attention_mask", &shape, mask)
        });
        [
            Input::ids("input_ids", &[rows, new], &self.ids),
            Input::ids("position_ids", &[rows, new], &self.positions),
            Input::ids("logits_to_keep", &[], &self.logits_to_keep),
        ]
        .into_iter()
        .chain(mask)
    }
}
