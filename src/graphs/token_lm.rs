//! A token-level OPT model: tokens to the logits of the next token, with its KV cache.

use ort::value::TensorElementType::{Bool, Int64};

use super::{LogitsOutput, causal_mask::attention_mask};
use crate::{
    config::ModelConfig,
    error::{Error, Result},
    logits::Logits,
    runtime::{
        ANY, CacheRow, CacheShape, Graph, GraphSignature, Input, KvCache, TensorSpec, cache_specs,
        is_in_place,
    },
};

/// The graph of a token-level model with what it needs to know of the model.
#[derive(Debug)]
pub(crate) struct TokenLm {
    graph: Graph,
    shape: CacheShape,
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
        let (cache_inputs, cache_outputs) = cache_specs(&graph, &shape);
        let mut inputs = vec![
            TensorSpec::new("input_ids", Int64, &[ANY, ANY]),
            TensorSpec::new("position_ids", Int64, &[ANY, ANY]),
            TensorSpec::new("logits_to_keep", Int64, &[]),
        ];
        if !is_in_place(&graph) {
            inputs.push(TensorSpec::new("attention_mask", Bool, &[ANY, ANY, ANY]));
        }
        let output = LogitsOutput::new(&graph, config.vocab_size);
        let (output_inputs, mut outputs) = output.specs();
        inputs.extend(cache_inputs.into_iter().chain(output_inputs));
        outputs.extend(cache_outputs);
        graph.check(&GraphSignature {
            graph: "opt",
            inputs,
            outputs,
        })?;
        Ok(Self {
            graph,
            shape,
            output,
        })
    }

    /// Bytes of a number in its cache.
    pub fn cache_number_bytes(&self) -> usize {
        KvCache::number_bytes(&self.graph)
    }

    #[cfg(test)]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// An empty cache of one row.
    pub fn cache(&self) -> Result<KvCache> {
        KvCache::new(&self.graph, self.shape, 1)
    }

    /// Keys and values of a cache with one row, as bytes.
    pub fn cache_bytes(&self, cache: &KvCache) -> Result<Vec<Vec<u8>>> {
        cache.row_bytes(&self.graph, 0)
    }

    /// A cache of one row with these keys and values; `None` if they are not of its sizes.
    pub fn cache_from_bytes(&self, positions: usize, tensors: &[&[u8]]) -> Result<Option<KvCache>> {
        KvCache::from_row_bytes(&self.graph, self.shape, positions, tensors)
    }

    /// The shape of the cache of one row, without its batch axis: keys and values, of all layers,
    /// `[heads, positions, head_size]`.
    pub fn cache_shape(&self, positions: usize) -> [usize; 3] {
        [self.shape.heads, positions, self.shape.head_size]
    }

    /// Copy rows of caches into one cache.
    pub fn copy_rows(&self, rows: &[CacheRow<'_>]) -> Result<KvCache> {
        KvCache::from_rows(&self.graph, self.shape, rows)
    }

    /// Forget all but the first tokens of a cache.
    pub fn truncate(&self, cache: &mut KvCache, tokens: usize) -> Result<()> {
        cache.truncate(&self.graph, tokens)
    }

    /// Most tokens that a context holds.
    pub fn max_positions(&self) -> usize {
        self.shape.limit
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
        let new = ids.len() / cache.rows();
        let feed = Feed::new(&self.graph, cache, ids, 1);
        self.output
            .next(&self.graph, cache, feed.inputs(), new, logits)
    }

    /// The error for logits that are not finite.
    pub fn not_finite(&self) -> Error {
        self.output.not_finite(&self.graph)
    }

    /// Append `ids`, at least one, to the row of `cache`; returns the logits `[ids, vocab]` after
    /// each.
    pub fn append_all(&self, cache: &mut KvCache, ids: &[u32]) -> Result<Vec<f32>> {
        let feed = Feed::new(&self.graph, cache, ids, ids.len());
        self.output
            .all(&self.graph, cache, feed.inputs(), ids.len())
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
