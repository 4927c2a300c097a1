//! A token-level OPT model: tokens to the logits of the next token, with its KV cache.

use ort::value::{
    DynValue, Tensor,
    TensorElementType::{Bool, Int64},
};

use crate::{
    candidates::Candidates,
    config::ModelConfig,
    error::Result,
    runtime::{ANY, CacheShape, Contract, Graph, KvCache, Port, Scores, cache_ports, is_in_place},
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
            batch: 1,
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
        KvCache::new(&self.graph, self.shape)
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

    /// Append `ids`, at least one, to the sequence in `cache`; returns what may follow the last.
    pub fn append(&self, cache: &mut KvCache, ids: &[u32]) -> Result<Candidates> {
        let inputs = self.inputs(cache.len(), ids, 1)?;
        self.scores.next(&self.graph, cache, inputs, ids.len())
    }

    /// The same; returns the logits `[ids, vocab]` of what follows each of them.
    pub fn append_all(&self, cache: &mut KvCache, ids: &[u32]) -> Result<Vec<f32>> {
        let inputs = self.inputs(cache.len(), ids, ids.len())?;
        self.scores.all(&self.graph, cache, inputs, ids.len())
    }

    fn inputs(
        &self,
        cached: usize,
        ids: &[u32],
        logits_to_keep: usize,
    ) -> Result<Vec<(&'static str, DynValue)>> {
        let new = ids.len();
        let failed = |source| self.graph.failed(source);
        let row = |values: Vec<i64>| Tensor::from_array(([1, new], values)).map_err(failed);
        let input_ids = row(ids.iter().copied().map(i64::from).collect())?;
        let position_ids = row((cached as i64..(cached + new) as i64).collect())?;
        let keep = (Vec::<usize>::new(), vec![logits_to_keep as i64]);
        let mut inputs = vec![
            ("input_ids", input_ids.into_dyn()),
            ("position_ids", position_ids.into_dyn()),
            (
                "logits_to_keep",
                Tensor::from_array(keep).map_err(failed)?.into_dyn(),
            ),
        ];
        if !is_in_place(&self.graph) {
            let mask = causal_mask(cached, new);
            let mask = Tensor::from_array(([1, new, cached + new], mask)).map_err(failed)?;
            inputs.push(("attention_mask", mask.into_dyn()));
        }
        Ok(inputs)
    }
}

/// Which of `cached + new` tokens each of the `new` ones may see, `[new, cached + new]`.
fn causal_mask(cached: usize, new: usize) -> Vec<bool> {
    (0..new)
        .flat_map(|row| (0..cached + new).map(move |column| column <= cached + row))
        .collect()
}
