//! A token-level OPT model: tokens to the logits of the next token, with its KV cache.

use ort::value::TensorElementType::{Bool, Int64};

use crate::{
    candidates::Candidates,
    config::ModelConfig,
    error::Result,
    runtime::{
        ANY, CacheShape, Contract, Graph, Input, KvCache, Port, Scores, cache_ports, is_in_place,
    },
};

/// The graph of a model of kind `opt` with what it needs to know of the model.
#[derive(Debug)]
pub(crate) struct Opt {
    graph: Graph,
    shape: CacheShape,
    scores: Scores,
}

impl Opt {
    pub fn new(graph: Graph, config: &ModelConfig) -> Result<Self> {
        let backbone = config.require_backbone()?;
        let shape = CacheShape {
            layers: backbone.layers,
            heads: backbone.heads,
            head_size: config.hidden_size / backbone.heads,
            limit: backbone.max_positions,
        };
        let (cache_inputs, cache_outputs) = cache_ports(&graph, &shape);
        let mut inputs = vec![
            Port::new("input_ids", Int64, &[ANY, ANY]),
            Port::new("position_ids", Int64, &[ANY, ANY]),
            Port::new("logits_to_keep", Int64, &[]),
        ];
        if !is_in_place(&graph) {
            inputs.push(Port::new("attention_mask", Bool, &[ANY, ANY, ANY]));
        }
        let scores = Scores::new(&graph, config.vocab_size);
        let (score_inputs, mut outputs) = scores.ports();
        inputs.extend(cache_inputs.into_iter().chain(score_inputs));
        outputs.extend(cache_outputs);
        graph.check(&Contract {
            graph: "opt",
            inputs,
            outputs,
        })?;
        Ok(Self {
            graph,
            shape,
            scores,
        })
    }

    pub fn cache(&self) -> Result<KvCache> {
        KvCache::new(&self.graph, self.shape, 1)
    }

    /// A copy of the first tokens of a cache.
    pub fn prefix(&self, cache: &KvCache, tokens: usize) -> Result<KvCache> {
        cache.prefix(&self.graph, tokens)
    }

    pub fn clear(&self, cache: &mut KvCache) -> Result<()> {
        cache.clear(&self.graph)
    }

    pub fn truncate(&self, cache: &mut KvCache, tokens: usize) -> Result<()> {
        cache.truncate(&self.graph, tokens)
    }

    /// Most tokens that a context holds.
    pub fn max_positions(&self) -> usize {
        self.shape.limit
    }

    /// Append `ids`, at least one, to the sequence in `cache`; `candidates` become what may follow
    /// the last.
    pub fn append(
        &self,
        cache: &mut KvCache,
        ids: &[u32],
        candidates: &mut Candidates,
    ) -> Result<()> {
        let feed = Feed::new(&self.graph, cache.len(), ids, 1);
        let candidates = std::slice::from_mut(candidates);
        self.scores
            .next(&self.graph, cache, feed.inputs(), ids.len(), candidates)
    }

    /// Append `ids`, at least one, to the sequence in `cache`; returns the logits `[ids, vocab]` of what follows each of them.
    pub fn append_all(&self, cache: &mut KvCache, ids: &[u32]) -> Result<Vec<f32>> {
        let feed = Feed::new(&self.graph, cache.len(), ids, ids.len());
        self.scores
            .all(&self.graph, cache, feed.inputs(), ids.len())
    }
}

/// Tokens as the graph wants them.
struct Feed {
    ids: Vec<i64>,
    positions: Vec<i64>,
    logits_to_keep: [i64; 1],
    /// `None` where the graph has no mask.
    mask: Option<Vec<bool>>,
}

impl Feed {
    fn new(graph: &Graph, cached: usize, ids: &[u32], logits_to_keep: usize) -> Self {
        Self {
            ids: ids.iter().copied().map(i64::from).collect(),
            positions: (cached as i64..(cached + ids.len()) as i64).collect(),
            logits_to_keep: [logits_to_keep as i64],
            mask: (!is_in_place(graph)).then(|| causal_mask(cached, ids.len())),
        }
    }

    fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let new = self.ids.len();
        let mask = self
            .mask
            .as_deref()
            .map(|mask| Input::flags("attention_mask", &[1, new, mask.len() / new], mask));
        [
            Input::ids("input_ids", &[1, new], &self.ids),
            Input::ids("position_ids", &[1, new], &self.positions),
            Input::ids("logits_to_keep", &[], &self.logits_to_keep),
        ]
        .into_iter()
        .chain(mask)
    }
}

/// Which of `cached + new` tokens each of the `new` ones may see, `[new, cached + new]`.
fn causal_mask(cached: usize, new: usize) -> Vec<bool> {
    (0..new)
        .flat_map(|row| (0..cached + new).map(move |column| column <= cached + row))
        .collect()
}
