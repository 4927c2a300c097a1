//! The sentence decoder: a sentence vector to tokens, one by one, with the token cache.

use ort::value::TensorElementType::{Float32, Int64};

use crate::{
    candidates::Candidates,
    config::ModelConfig,
    error::Result,
    runtime::{ANY, CacheShape, Contract, Graph, Input, KvCache, Port, Scores, cache_ports},
};

/// The decoder graph with what it needs to know of the model.
#[derive(Debug)]
pub(crate) struct Decoder {
    graph: Graph,
    shape: CacheShape,
    hidden_size: usize,
    vocab_size: usize,
    scores: Scores,
}

impl Decoder {
    pub fn new(graph: Graph, config: &ModelConfig) -> Result<Self> {
        let svae = config.require_svae()?;
        let hidden_size = config.hidden_size;
        let shape = CacheShape {
            layers: svae.decoder_layers(),
            heads: svae.heads,
            head_size: hidden_size / svae.heads,
            limit: config.require_max_sentence_tokens()?,
        };
        let (cache_inputs, cache_outputs) = cache_ports(&graph, &shape);
        let mut inputs = vec![
            Port::new("input_ids", Int64, &[ANY, ANY]),
            Port::new("position_ids", Int64, &[ANY, ANY]),
            Port::new("sentence_embedding", Float32, &[ANY, hidden_size as i64]),
        ];
        let scores = Scores::new(&graph, config.vocab_size);
        let (score_inputs, mut outputs) = scores.ports();
        inputs.extend(cache_inputs.into_iter().chain(score_inputs));
        outputs.extend(cache_outputs);
        graph.check(&Contract {
            graph: "decoder",
            inputs,
            outputs,
        })?;
        Ok(Self {
            graph,
            shape,
            hidden_size,
            vocab_size: config.vocab_size,
            scores,
        })
    }

    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// A cache for so many sentences that are decoded together.
    pub fn cache(&self, sentences: usize) -> Result<KvCache> {
        KvCache::new(&self.graph, self.shape, sentences)
    }

    /// A copy of these rows of a cache.
    fn keep(&self, cache: &KvCache, rows: &[usize]) -> Result<KvCache> {
        let rows: Vec<_> = rows.iter().map(|&row| (cache, row)).collect();
        KvCache::from_rows(&self.graph, self.shape, &rows)
    }

    pub fn clear(&self, cache: &mut KvCache) -> Result<()> {
        cache.clear(&self.graph)
    }

    /// Append a token to each of the sentences in `cache`; `candidates` become what may follow.
    ///
    /// `vectors` holds the sentence vectors one behind the other.
    pub fn append(
        &self,
        cache: &mut KvCache,
        vectors: &[f32],
        ids: &[i64],
        candidates: &mut [Candidates],
    ) -> Result<()> {
        let position = cache.len() as i64;
        let many;
        let positions: &[i64] = match ids.len() {
            1 => &[position],
            rows => {
                many = vec![position; rows];
                &many
            }
        };
        let inputs = self.inputs([ids.len(), 1], vectors, ids, positions);
        self.scores.next(&self.graph, cache, inputs, 1, candidates)
    }

    /// Decode the sentences of these vectors, one behind the other, together.
    ///
    /// `next` is given the number of a sentence and what may follow its last token, which it may
    /// change; it returns the token to go on with, `None` if the sentence is over. Such a sentence
    /// takes no part in the runs that follow.
    pub fn decode_together(
        &self,
        bos: u32,
        mut vectors: Vec<f32>,
        mut next: impl FnMut(usize, &mut Candidates) -> Result<Option<u32>>,
    ) -> Result<()> {
        let mut numbers: Vec<usize> = (0..vectors.len() / self.hidden_size).collect();
        let mut cache = self.cache(numbers.len())?;
        let mut ids = vec![i64::from(bos); numbers.len()];
        let mut candidates = vec![Candidates::default(); numbers.len()];
        let mut going_on = Vec::with_capacity(numbers.len());
        if numbers.is_empty() {
            return Ok(());
        }
        loop {
            self.append(&mut cache, &vectors, &ids, &mut candidates)?;
            going_on.clear();
            for (row, candidates) in candidates.iter_mut().enumerate() {
                if let Some(id) = next(numbers[row], candidates)? {
                    ids[going_on.len()] = i64::from(id);
                    going_on.push(row);
                }
            }
            if going_on.is_empty() {
                return Ok(());
            }
            if going_on.len() < numbers.len() {
                cache = self.keep(&cache, &going_on)?;
                let rows = |row: &usize| &vectors[row * self.hidden_size..][..self.hidden_size];
                vectors = going_on.iter().flat_map(rows).copied().collect();
                numbers = going_on.iter().map(|&row| numbers[row]).collect();
                ids.truncate(numbers.len());
                candidates.truncate(numbers.len());
            }
        }
    }

    /// Logits `[sentences, tokens, vocab]` after each token of whole sentences, where `tokens` is the
    /// longest one's number: what follows a shorter sentence's end means nothing.
    ///
    /// `vectors` holds the sentence vectors one behind the other, `ids` what the decoder is given
    /// for each, bos first and at least that.
    pub fn teacher_forced(&self, vectors: &[f32], ids: &[&[u32]]) -> Result<Vec<f32>> {
        let batch = ids.len();
        let width = ids.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let mut cache = self.cache(batch)?;
        // Attention is causal: no token sees the padding behind it, whatever it is.
        let padded: Vec<i64> = ids
            .iter()
            .flat_map(|ids| {
                let padding = ids.first().copied().into_iter().cycle();
                ids.iter().copied().chain(padding).take(width)
            })
            .map(i64::from)
            .collect();
        let positions: Vec<i64> = (0..width as i64).cycle().take(batch * width).collect();
        let inputs = self.inputs([batch, width], vectors, &padded, &positions);
        self.scores.all(&self.graph, &mut cache, inputs, width)
    }

    fn inputs<'a>(
        &self,
        [batch, new]: [usize; 2],
        sentences: &'a [f32],
        ids: &'a [i64],
        positions: &'a [i64],
    ) -> [Input<'a>; 3] {
        [
            Input::ids("input_ids", &[batch, new], ids),
            Input::ids("position_ids", &[batch, new], positions),
            Input::floats("sentence_embedding", &[batch, self.hidden_size], sentences),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadOptions, Model, Provider, ProviderChoice, runtime::testing::assert_close};

    fn append(
        decoder: &Decoder,
        cache: &mut KvCache,
        vector: &[f32],
        id: u32,
        candidates: &mut Candidates,
    ) {
        let candidates = std::slice::from_mut(candidates);
        decoder
            .append(cache, vector, &[i64::from(id)], candidates)
            .unwrap();
    }

    /// Token by token with the cache, and the whole prefix from scratch, agree.
    #[test]
    fn steps_equal_recomputing() {
        for (bundle, variant, tolerance) in [
            ("bundle", "portable", 1e-4),
            ("bundle", "cpu-int8", 1e-4),
            ("bundle-half", "cuda-fp16", 0.02),
        ] {
            let cpu = ProviderChoice::Only(Provider::Cpu);
            let options = LoadOptions::default()
                .with_provider(cpu)
                .with_variant(variant);
            let model = Model::load(format!("tests/golden/{bundle}"), options).unwrap();
            let decoder = &model.parts().sentence_graphs().unwrap().decoder;
            let vector = model
                .encode(&["the cat sat on the hill. "])
                .unwrap()
                .row(0)
                .to_vec();
            let mut cache = decoder.cache(1).unwrap();
            let mut step = Candidates::default();
            let mut ids = vec![model.config().tokens.bos];
            for _ in 0..20 {
                append(decoder, &mut cache, &vector, ids[ids.len() - 1], &mut step);
                let whole = decoder.teacher_forced(&vector, &[&ids]).unwrap();
                let whole = &whole[whole.len() - decoder.vocab_size()..];
                let (chosen, logits): (Vec<u32>, Vec<f32>) = step.iter().unzip();
                assert_eq!(chosen.len(), whole.len());
                let expected: Vec<f32> = chosen.iter().map(|&id| whole[id as usize]).collect();
                assert_close(&logits, &expected, tolerance);
                let (best, _) = step.best_token();
                let best_of_whole = Candidates::all(whole.to_vec()).best_token().0;
                assert_eq!(best, best_of_whole, "{variant}, after {ids:?}");
                ids.push(best);
            }
        }
    }

    /// The graph's candidates are the best of all tokens, with the same logits, and hold nearly all
    /// of the probability.
    #[test]
    fn candidates_are_the_best_tokens() {
        let model = Model::load("tests/golden/bundle-fast", LoadOptions::default()).unwrap();
        let decoder = &model.parts().sentence_graphs().unwrap().decoder;
        let text = "the cat sat on the hill. ";
        let vector = model.encode(&[text]).unwrap().row(0).to_vec();
        let ids = [model.config().tokens.bos, 20, 30];
        let all = decoder.teacher_forced(&vector, &[&ids]).unwrap();
        let mut cache = decoder.cache(1).unwrap();
        let mut candidates = Candidates::default();
        for (&id, logits) in ids.iter().zip(all.chunks(decoder.vocab_size())) {
            append(decoder, &mut cache, &vector, id, &mut candidates);
            assert_eq!(candidates.iter().count(), 8);
            let least = candidates.logits().iter().copied().fold(f32::MAX, f32::min);
            let chosen = |id: u32| candidates.iter().any(|(candidate, _)| candidate == id);
            for (id, &logit) in logits.iter().enumerate() {
                assert!(
                    chosen(id as u32) || logit < least + 0.5,
                    "{id}: {logit}, {least}"
                );
            }
            for (id, logit) in candidates.iter() {
                assert!((logit - logits[id as usize]).abs() < 1e-4, "{id}");
            }
            let weight = |logits: &[f32]| logits.iter().map(|logit| logit.exp()).sum::<f32>();
            let mass = weight(candidates.logits()) / weight(logits);
            assert!(mass > 0.9, "{mass}");
        }
    }
}
