//! The sentence decoder: a sentence vector to tokens, one by one, with the token cache.

mod teacher_forced;

use std::borrow::Cow;

use ort::value::TensorElementType::{Float32, Int64};

use super::{CachedGraph, LogitsOutput};
use crate::{
    config::ModelConfig,
    error::Result,
    logits::Logits,
    runtime::{ANY, CacheShape, Graph, Input, KvCache, TensorSpec},
};

/// The decoder graph with what it needs to know of the model.
#[derive(Debug)]
pub(crate) struct Decoder {
    cached: CachedGraph,
    hidden_size: usize,
    vocab_size: usize,
    output: LogitsOutput,
}

/// Memory that is reused from sentence to sentence.
#[derive(Debug, Default)]
pub(crate) struct DecodeBuffers {
    /// The token cache of the last sentences.
    cache: Option<KvCache>,
    logits: Vec<Logits>,
    /// The sentences that are not over yet, one row each.
    active: Vec<usize>,
    /// Those of them that are guided: behind these rows each has one without its vector.
    guided: Vec<usize>,
    /// The tokens so far of each sentence.
    decoded: Vec<Vec<u32>>,
    /// The last token of each row.
    ids: Vec<i64>,
    positions: Vec<i64>,
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
        let mut inputs = vec![
            TensorSpec::new("input_ids", Int64, &[ANY, ANY]),
            TensorSpec::new("position_ids", Int64, &[ANY, ANY]),
            TensorSpec::new("sentence_embedding", Float32, &[ANY, hidden_size as i64]),
        ];
        let output = LogitsOutput::new(&graph, config.vocab_size);
        let (output_inputs, outputs) = output.specs();
        inputs.extend(output_inputs);
        Ok(Self {
            cached: CachedGraph::new(graph, shape, "decoder", inputs, outputs)?,
            hidden_size,
            vocab_size: config.vocab_size,
            output,
        })
    }

    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The graph, for its caches.
    pub fn cached(&self) -> &CachedGraph {
        &self.cached
    }

    /// Decode the sentences of these vectors, which are concatenated, in the same runs.
    ///
    /// `next` is given the index of a sentence and the logits after its last token, which it may
    /// change, or the error that these are not finite. It returns the token to continue with, `None`
    /// if the sentence is over: the sentence then leaves the runs that follow.
    ///
    /// # Errors
    /// Of a run: all sentences that are not over are then lost.
    pub fn decode(
        &self,
        buffers: &mut DecodeBuffers,
        bos: u32,
        vectors: &[f32],
        next: impl FnMut(usize, Result<&mut Logits>) -> Option<u32>,
    ) -> Result<()> {
        self.decode_guided(buffers, bos, vectors, &[], next)
    }

    /// The same, with the guidance scale of each sentence: see
    /// [`SamplingOptions::with_guidance_scale`](crate::SamplingOptions::with_guidance_scale). A
    /// sentence without one is not guided.
    pub fn decode_guided(
        &self,
        buffers: &mut DecodeBuffers,
        bos: u32,
        vectors: &[f32],
        scales: &[f32],
        mut next: impl FnMut(usize, Result<&mut Logits>) -> Option<u32>,
    ) -> Result<()> {
        let count = vectors.len() / self.hidden_size;
        if count == 0 {
            return Ok(());
        }
        let cache = buffers.cache.take();
        let DecodeBuffers {
            logits,
            active,
            guided,
            decoded,
            ids,
            positions,
            ..
        } = buffers;
        active.clear();
        active.extend(0..count);
        guided.clear();
        let is_guided = |&sentence: &usize| scales.get(sentence).is_some_and(|&s| s != 1.0);
        guided.extend((0..count).filter(is_guided));
        decoded.iter_mut().for_each(Vec::clear);
        decoded.resize_with(count, Vec::new);
        let rows = count + guided.len();
        ids.clear();
        ids.resize(rows, i64::from(bos));
        logits.resize_with(rows, Logits::default);
        let mut cache = self.reused_or_new(cache, rows)?;
        let mut whole_cache = None;
        let mut vectors = Cow::Borrowed(vectors);
        if !guided.is_empty() {
            vectors.to_mut().resize(rows * self.hidden_size, 0.0);
        }
        loop {
            positions.clear();
            positions.resize(ids.len(), cache.len() as i64);
            let inputs = self.inputs([ids.len(), 1], &vectors, ids, positions);
            let rows = logits.iter_mut();
            let graph = self.cached.graph();
            self.output
                .next(graph, &mut cache, inputs, 1, active.len(), rows)?;
            guide(active, guided, scales, decoded, logits);
            let before = ids.len();
            let mut row = 0;
            let mut stay = Vec::new();
            active.retain(|&sentence| {
                let logits = &mut logits[row];
                let logits = match logits.is_empty() {
                    true => Err(self.output.not_finite(graph)),
                    false => Ok(logits),
                };
                let token = next(sentence, logits);
                if let Some(token) = token {
                    decoded[sentence].push(token);
                    ids[row] = i64::from(token);
                    if before > 1 {
                        stay.push(row);
                    }
                }
                row += 1;
                token.is_some()
            });
            if active.is_empty() {
                buffers.cache = Some(whole_cache.unwrap_or(cache));
                return Ok(());
            }
            guided.retain(|sentence| {
                let place = active.binary_search(sentence);
                if let Ok(place) = place {
                    ids[row] = ids[stay[place]];
                    stay.push(row);
                }
                row += 1;
                place.is_ok()
            });
            if active.len() + guided.len() < before {
                let rows: Vec<_> = stay.iter().map(|&row| cache.row(row)).collect();
                let fewer = self.cached.copy_rows(&rows)?;
                let replaced = std::mem::replace(&mut cache, fewer);
                whole_cache.get_or_insert(replaced);
                let rows = |&row: &usize| &vectors[row * self.hidden_size..][..self.hidden_size];
                vectors = Cow::Owned(stay.iter().flat_map(rows).copied().collect());
                for (place, &row) in stay.iter().enumerate() {
                    ids[place] = ids[row];
                }
                ids.truncate(stay.len());
                logits.truncate(stay.len());
            }
        }
    }

    /// An empty cache of so many rows.
    fn reused_or_new(&self, cache: Option<KvCache>, rows: usize) -> Result<KvCache> {
        match cache.filter(|cache| cache.rows() == rows) {
            Some(mut cache) => self.cached.truncate(&mut cache, 0).map(|()| cache),
            None => self.cached.cache(rows),
        }
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

/// Guide the logits of each sentence of `guided`, which are in the order of `active`, as the rows
/// behind those of `active` are in the order of `guided`. `decoded` has the tokens of each so far.
fn guide(
    active: &[usize],
    guided: &[usize],
    scales: &[f32],
    decoded: &[Vec<u32>],
    logits: &mut [Logits],
) {
    let (of_sentences, without_context) = logits.split_at_mut(active.len());
    for (sentence, without) in guided.iter().zip(without_context) {
        if let Ok(row) = active.binary_search(sentence) {
            match without.is_empty() {
                true => of_sentences[row].clear(),
                false => {
                    of_sentences[row].guide(without, scales[*sentence], &decoded[*sentence]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadOptions, Model, Provider, ProviderChoice, runtime::testing::assert_close};

    fn load(bundle: &str, variant: &str) -> Model {
        let options = LoadOptions::default()
            .with_provider(ProviderChoice::Only(Provider::Cpu))
            .with_variant(variant);
        Model::load(format!("tests/golden/{bundle}"), options).unwrap()
    }

    fn log_sum_exp(logits: &[f32]) -> f32 {
        logits.iter().map(|logit| logit.exp()).sum::<f32>().ln()
    }

    /// Logits of a guided sentence are those of its vector, led away from those of zeros, in runs
    /// with others too; a sentence with scale 1 has its own.
    #[test]
    fn guided_logits_are_led_away_from_those_of_zeros() {
        for (bundle, variant) in [("bundle", "portable"), ("bundle-fast", "cpu-int8")] {
            let model = load(bundle, variant);
            let decoder = &model.autoencoder().unwrap().decoder;
            let texts = [
                "the cat sat on the hill. ",
                "a dog ran. ",
                "we saw the moon. ",
            ];
            let vectors: Vec<f32> = model.encode(&texts).unwrap().into_iter().collect();
            let size = model.config().hidden_size;
            let bos = model.config().tokens.bos;
            let tokens = [[bos, 20, 30, 5], [bos, 7, 8, 9], [bos, 11, 4, 12]];
            let lengths = [2, 4, 3];
            let scales = [1.75, 1.0, 3.0];
            let mut found = vec![Vec::new(); 3];
            let next = |sentence: usize, logits: Result<&mut Logits>| {
                found[sentence].push(logits.unwrap().clone());
                let place = found[sentence].len();
                (place < lengths[sentence]).then(|| tokens[sentence][place])
            };
            let mut buffers = DecodeBuffers::default();
            decoder
                .decode_guided(&mut buffers, bos, &vectors, &scales, next)
                .unwrap();
            let zeros = vec![0.0; size];
            for (sentence, found) in found.iter().enumerate() {
                let ids = &tokens[sentence][..lengths[sentence]];
                let vector = &vectors[sentence * size..][..size];
                let alone = stepwise(decoder, vector, ids);
                let without = decoder.teacher_forced(&zeros, &[ids]).unwrap();
                let without = without.chunks(decoder.vocab_size());
                assert_eq!(found.len(), alone.len());
                let steps = found.iter().zip(alone).zip(without).enumerate();
                for (place, ((found, mut expected), without)) in steps {
                    let scale = scales[sentence];
                    if scale != 1.0 {
                        let shift = log_sum_exp(expected.values()) - log_sum_exp(without);
                        for &id in &ids[1..=place] {
                            if let Some(logit) = expected.logit_mut(id) {
                                *logit = logit.min(without[id as usize] + shift);
                            }
                        }
                    }
                    let most = expected.best_token().1;
                    let lead = |(id, logit): (u32, f32)| {
                        let without = without[id as usize];
                        if scale != 1.0 && logit < most + 0.1f32.ln() {
                            return f32::NEG_INFINITY;
                        }
                        without + scale * (logit - without)
                    };
                    let values: Vec<f32> = expected.iter().map(lead).collect();
                    expected.set_top(expected.ids().to_vec(), &values);
                    let ranks = variant != "portable";
                    assert!(ranks || found.ids().is_empty());
                    // Coarse logits may rank otherwise with other rows in a run.
                    let pairs = found.iter().filter_map(|(id, logit)| {
                        let pair = (logit, *expected.logit_mut(id)?);
                        let finite = pair.0.is_finite() && pair.1.is_finite();
                        assert!(ranks || pair.0.is_finite() == pair.1.is_finite());
                        finite.then_some(pair)
                    });
                    let (found, expected): (Vec<f32>, Vec<f32>) = pairs.unzip();
                    assert!(!found.is_empty());
                    assert_close(&found, &expected, if ranks { 0.05 } else { 1e-4 });
                }
            }
        }
    }

    /// The logits after each token of a sentence that is decoded with these tokens.
    fn stepwise(decoder: &Decoder, vector: &[f32], tokens: &[u32]) -> Vec<Logits> {
        let mut found = Vec::new();
        let mut rest = tokens[1..].iter().copied();
        let mut buffers = DecodeBuffers::default();
        let next = |_, logits: Result<&mut Logits>| {
            found.push(logits.unwrap().clone());
            rest.next()
        };
        decoder
            .decode(&mut buffers, tokens[0], vector, next)
            .unwrap();
        found
    }

    /// Token by token with the cache, and the whole prefix from scratch, agree.
    #[test]
    fn steps_equal_recomputing() {
        // On ARM, ONNX Runtime rounds a single vector otherwise than several.
        let int8 = if cfg!(target_arch = "aarch64") {
            0.02
        } else {
            1e-4
        };
        for (bundle, variant, tolerance) in [
            ("bundle", "portable", 1e-4),
            ("bundle", "cpu-int8", int8),
            ("bundle-half", "cuda-fp16", 0.02),
        ] {
            let model = load(bundle, variant);
            let decoder = &model.autoencoder().unwrap().decoder;
            let vocab_size = model.config().vocab_size;
            let vector = model.encode(&["the cat sat on the hill. "]).unwrap();
            let vector = vector.row(0).to_vec();
            let mut ids = vec![model.config().tokens.bos];
            for _ in 0..20 {
                let step = stepwise(decoder, &vector, &ids).pop().unwrap();
                let whole = decoder.teacher_forced(&vector, &[&ids]).unwrap();
                let whole = &whole[whole.len() - vocab_size..];
                let (chosen, logits): (Vec<u32>, Vec<f32>) = step.iter().unzip();
                assert_eq!(chosen.len(), whole.len());
                let expected: Vec<f32> = chosen.iter().map(|&id| whole[id as usize]).collect();
                assert_close(&logits, &expected, tolerance);
                let (best, _) = step.best_token();
                let best_of_whole = Logits::dense(whole.to_vec()).best_token().0;
                assert_eq!(best, best_of_whole, "{variant}, after {ids:?}");
                ids.push(best);
            }
        }
    }

    /// The top k of the graph are the best of all tokens, with the same logits, and hold nearly all
    /// of the probability.
    #[test]
    fn ranked_logits_are_those_of_the_best_tokens() {
        let model = Model::load("tests/golden/bundle-fast", LoadOptions::default()).unwrap();
        let decoder = &model.autoencoder().unwrap().decoder;
        let vector = model.encode(&["the cat sat on the hill. "]).unwrap();
        let vector = vector.row(0).to_vec();
        let ids = [model.config().tokens.bos, 20, 30];
        let dense = decoder.teacher_forced(&vector, &[&ids]).unwrap();
        let ranked = stepwise(decoder, &vector, &ids);
        for (top, dense) in ranked.iter().zip(dense.chunks(model.config().vocab_size)) {
            assert_eq!(top.iter().count(), 8);
            let least = top.values().iter().copied().fold(f32::MAX, f32::min);
            for (id, &logit) in dense.iter().enumerate() {
                let chosen = top.ids().contains(&(id as u32));
                assert!(chosen || logit < least + 0.5, "{id}: {logit}, {least}");
            }
            for (id, logit) in top.iter() {
                assert!((logit - dense[id as usize]).abs() < 1e-4, "{id}");
            }
            let weight = |logits: &[f32]| logits.iter().map(|logit| logit.exp()).sum::<f32>();
            let mass = weight(top.values()) / weight(dense);
            assert!(mass > 0.9, "{mass}");
        }
    }
}
