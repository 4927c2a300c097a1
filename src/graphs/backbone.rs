//! The backbone: sentence vectors to the next sentence, with the sentence cache.

use ndarray::ArrayView2;
use ort::value::TensorElementType::{Bool, Float32, Int64};

use crate::{
    config::{ModelConfig, PrefillAttention},
    error::Result,
    runtime::{ANY, CacheShape, Graph, Input, KvCache, TensorSpec, is_in_place},
};

use super::{CachedGraph, causal_mask::attention_mask};

/// The input that an in-place graph has if it can prefill without a causal mask.
const BIDIRECTIONAL: &str = "bidirectional";
const OUTPUTS: [&str; 2] = ["hidden", "stop_logits"];

/// The backbone graph with what it needs to know of the model.
#[derive(Debug)]
pub(crate) struct Backbone {
    cached: CachedGraph,
    hidden_size: usize,
    prefill: PrefillAttention,
}

/// The output of the backbone after a sentence.
#[derive(Clone, Debug)]
pub(crate) struct Prediction {
    /// The sentence vector of the next sentence, `[hidden]`.
    pub hidden: Vec<f32>,
    /// Logits of "stop" and "go on".
    pub stop_logits: [f32; 2],
}

impl Backbone {
    pub fn new(graph: Graph, config: &ModelConfig) -> Result<Self> {
        let backbone = config.require_backbone()?;
        let hidden_size = config.hidden_size;
        let shape = CacheShape {
            layers: backbone.layers,
            heads: backbone.heads,
            head_size: hidden_size / backbone.heads,
            limit: config.require_max_sentences()?,
        };
        let in_place = is_in_place(&graph);
        let hidden = [ANY, ANY, hidden_size as i64];
        let mut inputs = vec![
            TensorSpec::new("inputs_embeds", Float32, &hidden),
            TensorSpec::new("position_ids", Int64, &[ANY, ANY]),
        ];
        if !in_place {
            inputs.push(TensorSpec::new("attention_mask", Bool, &[ANY, ANY, ANY]));
        } else if backbone.prefill_attention == PrefillAttention::Bidirectional {
            inputs.push(TensorSpec::new(BIDIRECTIONAL, Bool, &[]));
        }
        let outputs = vec![
            TensorSpec::new("hidden", Float32, &hidden),
            TensorSpec::new("stop_logits", Float32, &[ANY, ANY, 2]),
        ];
        Ok(Self {
            cached: CachedGraph::new(graph, shape, "backbone", inputs, outputs)?,
            hidden_size,
            prefill: backbone.prefill_attention,
        })
    }

    /// The graph, for its caches.
    pub fn cached(&self) -> &CachedGraph {
        &self.cached
    }

    /// Whether the result does not depend on how the sentences are split into runs.
    pub fn is_causal(&self) -> bool {
        self.prefill == PrefillAttention::Causal
    }

    /// Append sentence vectors `[sentences, hidden]`, at least one, to the sequence in `cache`.
    ///
    /// Several at once see each other as the model's `prefill_attention` says; all see what is
    /// cached.
    pub fn append(&self, cache: &mut KvCache, vectors: ArrayView2<'_, f32>) -> Result<Prediction> {
        let new = vectors.nrows();
        let [hidden, stop] = self.run(cache, vectors, new)?;
        Ok(prediction(
            &hidden[hidden.len() - self.hidden_size..],
            &stop[stop.len() - 2..],
        ))
    }

    /// The same; returns what is predicted after each of the sentences.
    pub fn append_all(
        &self,
        cache: &mut KvCache,
        vectors: ArrayView2<'_, f32>,
    ) -> Result<Vec<Prediction>> {
        let new = vectors.nrows();
        self.predictions(cache, vectors, new)
    }

    /// Append one sentence vector `[rows, hidden]` to each of the sequences in `cache`; returns what
    /// is predicted after each.
    pub fn append_to_each(
        &self,
        cache: &mut KvCache,
        vectors: ArrayView2<'_, f32>,
    ) -> Result<Vec<Prediction>> {
        self.predictions(cache, vectors, 1)
    }

    fn predictions(
        &self,
        cache: &mut KvCache,
        vectors: ArrayView2<'_, f32>,
        new: usize,
    ) -> Result<Vec<Prediction>> {
        let [hidden, stop] = self.run(cache, vectors, new)?;
        let rows = hidden.chunks_exact(self.hidden_size);
        Ok(rows
            .zip(stop.chunks_exact(2))
            .map(|(hidden, stop)| prediction(hidden, stop))
            .collect())
    }

    /// Run on vectors `[rows * new, hidden]`.
    fn run(
        &self,
        cache: &mut KvCache,
        vectors: ArrayView2<'_, f32>,
        new: usize,
    ) -> Result<[Vec<f32>; 2]> {
        let graph = self.cached.graph();
        let rows = cache.rows();
        let bidirectional = self.prefill == PrefillAttention::Bidirectional && new > 1;
        let embeds: Vec<f32> = vectors.iter().copied().collect();
        let of_row = |&cached: &usize| cached as i64..(cached + new) as i64;
        let positions: Vec<i64> = cache.lengths().iter().flat_map(of_row).collect();
        let mask;
        let visible = if is_in_place(graph) {
            let asks = graph.has_input(BIDIRECTIONAL);
            let flag = std::slice::from_ref(&bidirectional);
            asks.then(|| Input::flags(BIDIRECTIONAL, &[], flag))
        } else {
            mask = attention_mask(cache.lengths(), new, bidirectional);
            let shape = [rows, new, cache.len() + new];
            Some(Input::flags("attention_mask", &shape, &mask))
        };
        let inputs = [
            Input::floats("inputs_embeds", &[rows, new, self.hidden_size], &embeds),
            Input::ids("position_ids", &[rows, new], &positions),
        ];
        let inputs = inputs.into_iter().chain(visible);
        cache.run(graph, inputs, new, &OUTPUTS, |outputs| {
            let [hidden, stop] = OUTPUTS;
            let hidden = graph.floats(outputs, hidden, &[rows, new, self.hidden_size])?;
            let stop = graph.floats(outputs, stop, &[rows, new, 2])?;
            Ok([hidden.to_vec(), stop.to_vec()])
        })
    }
}

fn prediction(hidden: &[f32], stop: &[f32]) -> Prediction {
    Prediction {
        hidden: hidden.to_vec(),
        stop_logits: [stop[0], stop[1]],
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use crate::{LoadOptions, Model, runtime::testing::assert_close};

    /// Steps with the cache, several sentences at once, and everything from scratch agree.
    #[test]
    fn steps_equal_recomputing() {
        for variant in ["portable", "cpu-int8"] {
            let options = LoadOptions::default().with_variant(variant);
            let model = Model::load("tests/golden/bundle", options).unwrap();
            let backbone = &model.sentence_model().unwrap().backbone;
            let size = model.config().hidden_size;
            let vectors =
                Array2::from_shape_fn((9, size), |(i, j)| ((i * 31 + j * 7) as f32).sin());
            let mut cache = backbone.cached().cache(1).unwrap();
            backbone
                .append(&mut cache, vectors.slice(s![..4, ..]))
                .unwrap();
            for end in 5..=9 {
                let step = backbone
                    .append(&mut cache, vectors.slice(s![end - 1..end, ..]))
                    .unwrap();
                let mut fresh = backbone.cached().cache(1).unwrap();
                let whole = backbone
                    .append(&mut fresh, vectors.slice(s![..end, ..]))
                    .unwrap();
                assert_close(&step.hidden, &whole.hidden, 1e-4);
                assert_close(&step.stop_logits, &whole.stop_logits, 1e-4);
            }
        }
    }

    #[test]
    fn a_full_cache_is_an_error() {
        let model = Model::load("tests/golden/bundle", LoadOptions::default()).unwrap();
        let backbone = &model.sentence_model().unwrap().backbone;
        let mut cache = backbone.cached().cache(1).unwrap();
        let vectors = Array2::zeros((13, model.config().hidden_size));
        let full = backbone.append(&mut cache, vectors.view());
        assert!(
            matches!(
                full,
                Err(crate::Error::CacheFull {
                    positions: 13,
                    limit: 12
                })
            ),
            "{full:?}"
        );
        assert_eq!(cache.len(), 0);
    }
}
