//! The backbone: sentence vectors to the next sentence, with the sentence cache.

use ndarray::ArrayView2;
use ort::value::TensorElementType::{Bool, Float32, Int64};

use crate::{
    config::{ModelConfig, PrefillAttention},
    error::Result,
    runtime::{
        ANY, CacheShape, Contract, Graph, Input, KvCache, Port, cache_ports, floats, is_in_place,
    },
};

/// The input that an in-place graph has if it can prefill without a causal mask.
const BIDIRECTIONAL: &str = "bidirectional";

/// The backbone graph with what it needs to know of the model.
#[derive(Debug)]
pub(crate) struct Backbone {
    graph: Graph,
    shape: CacheShape,
    hidden_size: usize,
    prefill: PrefillAttention,
}

/// What the backbone says after the last sentence that it was given.
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
            batch: 1,
            layers: backbone.layers,
            heads: backbone.heads,
            head_size: hidden_size / backbone.heads,
            limit: config.require_max_sentences()?,
        };
        let in_place = is_in_place(&graph);
        let (cache_inputs, cache_outputs) = cache_ports(&graph, &shape);
        let hidden = [ANY, ANY, hidden_size as i64];
        let mut inputs = vec![
            Port::new("inputs_embeds", Float32, &hidden),
            Port::new("position_ids", Int64, &[ANY, ANY]),
        ];
        if !in_place {
            inputs.push(Port::new("attention_mask", Bool, &[ANY, ANY, ANY]));
        } else if backbone.prefill_attention == PrefillAttention::Bidirectional {
            inputs.push(Port::new(BIDIRECTIONAL, Bool, &[]));
        }
        inputs.extend(cache_inputs);
        let mut outputs = vec![
            Port::new("hidden", Float32, &hidden),
            Port::new("stop_logits", Float32, &[ANY, ANY, 2]),
        ];
        outputs.extend(cache_outputs);
        graph.check(&Contract {
            graph: "backbone",
            inputs,
            outputs,
        })?;
        Ok(Self {
            graph,
            shape,
            hidden_size,
            prefill: backbone.prefill_attention,
        })
    }

    pub fn cache(&self) -> Result<KvCache> {
        KvCache::new(&self.graph, self.shape)
    }

    /// Whether the result is the same however the sentences are split into runs.
    pub fn is_causal(&self) -> bool {
        self.prefill == PrefillAttention::Causal
    }

    pub fn clear(&self, cache: &mut KvCache) -> Result<()> {
        cache.clear(&self.graph)
    }

    /// Append sentence vectors `[sentences, hidden]`, at least one, to the sequence in `cache`.
    ///
    /// Several at once see each other as the model's `prefill_attention` says; all see what is
    /// cached.
    pub fn append(&self, cache: &mut KvCache, vectors: ArrayView2<'_, f32>) -> Result<Prediction> {
        let [hidden, stop] = self.run(cache, vectors)?;
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
        let [hidden, stop] = self.run(cache, vectors)?;
        let rows = hidden.chunks_exact(self.hidden_size);
        Ok(rows
            .zip(stop.chunks_exact(2))
            .map(|(hidden, stop)| prediction(hidden, stop))
            .collect())
    }

    fn run(&self, cache: &mut KvCache, vectors: ArrayView2<'_, f32>) -> Result<[Vec<f32>; 2]> {
        let (cached, new) = (cache.len(), vectors.nrows());
        let bidirectional = self.prefill == PrefillAttention::Bidirectional && new > 1;
        let embeds: Vec<f32> = vectors.iter().copied().collect();
        let positions: Vec<i64> = (cached as i64..(cached + new) as i64).collect();
        let mask = match is_in_place(&self.graph) {
            true => Vec::new(),
            false => attention_mask(cached, new, bidirectional),
        };
        let seen = if !is_in_place(&self.graph) {
            let shape = [1, new, cached + new];
            Some(Input::flags("attention_mask", &shape, &mask))
        } else {
            let asks = self.graph.has_input(BIDIRECTIONAL);
            let flag = std::slice::from_ref(&bidirectional);
            asks.then(|| Input::flags(BIDIRECTIONAL, &[], flag))
        };
        let inputs = [
            Input::floats("inputs_embeds", &[1, new, self.hidden_size], &embeds),
            Input::ids("position_ids", &[1, new], &positions),
        ];
        let inputs = inputs.into_iter().chain(seen);
        let wanted = ["hidden", "stop_logits"];
        let [hidden, stop] = cache.run(&self.graph, inputs, new, &wanted, |outputs| {
            Ok([
                floats(outputs, "hidden")?.to_vec(),
                floats(outputs, "stop_logits")?.to_vec(),
            ])
        })?;
        self.graph.check_finite("hidden", &hidden)?;
        self.graph.check_finite("stop_logits", &stop)?;
        Ok([hidden, stop])
    }
}

fn prediction(hidden: &[f32], stop: &[f32]) -> Prediction {
    Prediction {
        hidden: hidden.to_vec(),
        stop_logits: [stop[0], stop[1]],
    }
}

/// Which of `cached + new` sentences each of the `new` ones may see, `[new, cached + new]`.
fn attention_mask(cached: usize, new: usize, bidirectional: bool) -> Vec<bool> {
    let sees = |row: usize, column: usize| bidirectional || column <= cached + row;
    (0..new)
        .flat_map(|row| (0..cached + new).map(move |column| sees(row, column)))
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;
    use crate::{LoadOptions, Model, runtime::testing::assert_close};

    /// Steps with the cache, several sentences at once, and everything from scratch agree.
    #[test]
    fn steps_equal_recomputing() {
        for variant in ["portable", "cpu-int8"] {
            let options = LoadOptions::default().with_variant(variant);
            let model = Model::load("tests/golden/bundle", options).unwrap();
            let backbone = model.parts().backbone().unwrap();
            let size = model.config().hidden_size;
            let vectors =
                Array2::from_shape_fn((9, size), |(i, j)| ((i * 31 + j * 7) as f32).sin());
            let mut cache = backbone.cache().unwrap();
            backbone
                .append(&mut cache, vectors.slice(s![..4, ..]))
                .unwrap();
            for end in 5..=9 {
                let step = backbone
                    .append(&mut cache, vectors.slice(s![end - 1..end, ..]))
                    .unwrap();
                let mut fresh = backbone.cache().unwrap();
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
        let backbone = model.parts().backbone().unwrap();
        let mut cache = backbone.cache().unwrap();
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

    #[test]
    fn masks() {
        let text = |cached, new, bidirectional| {
            attention_mask(cached, new, bidirectional)
                .chunks(cached + new)
                .map(|row| {
                    row.iter()
                        .map(|&sees| if sees { '1' } else { '0' })
                        .collect::<String>()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(text(0, 3, false), ["100", "110", "111"]);
        assert_eq!(text(0, 3, true), ["111", "111", "111"]);
        assert_eq!(text(2, 2, false), ["1110", "1111"]);
        assert_eq!(text(3, 1, false), ["1111"]);
    }
}
