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
    context_bias: bool,
    output: LogitsOutput,
}

/// The input of a graph with a context bias.
const CONTEXT_TOKENS: &str = "context_tokens";

/// What sentences are decoded from, as the graph takes it.
#[derive(Default)]
struct ConditionParts {
    /// `[sentences, hidden]`
    vectors: Vec<f32>,
    /// 1 for the tokens that come before a sentence, else 0: `[sentences, vocab]`, or nothing
    /// without a context bias.
    seen: Vec<f32>,
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
    /// The tokens so far of each sentence; none where no sentence is guided.
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
        let context_bias = svae.context_bias_size > 0;
        if context_bias {
            let seen = [ANY, config.vocab_size as i64];
            inputs.push(TensorSpec::new(CONTEXT_TOKENS, Float32, &seen));
        }
        let output = LogitsOutput::new(&graph, config.vocab_size);
        let (output_inputs, outputs) = output.specs();
        inputs.extend(output_inputs);
        Ok(Self {
            cached: CachedGraph::new(graph, shape, "decoder", inputs, outputs)?,
            hidden_size,
            vocab_size: config.vocab_size,
            context_bias,
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

    /// Numbers of a condition: what a sentence is decoded from.
    fn condition_size(&self) -> usize {
        self.hidden_size
            + if self.context_bias {
                self.vocab_size
            } else {
                0
            }
    }

    /// Append a condition to `conditions`: a sentence vector, and which tokens come before the
    /// sentence.
    pub fn push_condition(
        &self,
        conditions: &mut Vec<f32>,
        vector: &[f32],
        before: impl IntoIterator<Item = u32>,
    ) {
        conditions.extend_from_slice(vector);
        if self.context_bias {
            let first = conditions.len();
            conditions.resize(first + self.vocab_size, 0.0);
            for token in before {
                conditions[first + token as usize] = 1.0;
            }
        }
    }

    /// The conditions of these vectors, which are concatenated, with nothing before them.
    pub fn conditions<'v>(&self, vectors: &'v [f32]) -> Cow<'v, [f32]> {
        if !self.context_bias {
            return Cow::Borrowed(vectors);
        }
        let mut conditions = Vec::new();
        for vector in vectors.chunks_exact(self.hidden_size) {
            self.push_condition(&mut conditions, vector, []);
        }
        Cow::Owned(conditions)
    }

    /// Decode the sentences of these conditions, which are concatenated, in the same runs.
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
        conditions: &[f32],
        next: impl FnMut(usize, Result<&mut Logits>) -> Option<u32>,
    ) -> Result<()> {
        self.decode_guided(buffers, bos, conditions, &[], next)
    }

    /// The same, with the guidance scale of each sentence: see
    /// [`SamplingOptions::with_guidance_scale`](crate::SamplingOptions::with_guidance_scale). A
    /// sentence without one is not guided.
    pub fn decode_guided(
        &self,
        buffers: &mut DecodeBuffers,
        bos: u32,
        conditions: &[f32],
        scales: &[f32],
        mut next: impl FnMut(usize, Result<&mut Logits>) -> Option<u32>,
    ) -> Result<()> {
        let size = self.condition_size();
        let count = conditions.len() / size;
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
        decoded.resize_with(if guided.is_empty() { 0 } else { count }, Vec::new);
        let rows = count + guided.len();
        ids.clear();
        ids.resize(rows, i64::from(bos));
        logits.resize_with(rows, Logits::default);
        let mut cache = self.reused_or_new(cache, rows)?;
        let mut whole_cache = None;
        let mut conditions = Cow::Borrowed(conditions);
        if !guided.is_empty() {
            conditions.to_mut().resize(rows * size, 0.0);
        }
        let mut parts = self.parts(&conditions);
        loop {
            positions.clear();
            positions.resize(ids.len(), cache.len() as i64);
            let inputs = self.inputs([ids.len(), 1], &parts, ids, positions);
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
                    if let Some(decoded) = decoded.get_mut(sentence) {
                        decoded.push(token);
                    }
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
                let rows = |&row: &usize| &conditions[row * size..][..size];
                conditions = Cow::Owned(stay.iter().flat_map(rows).copied().collect());
                parts = self.parts(&conditions);
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

    /// Conditions as the graph takes them.
    fn parts(&self, conditions: &[f32]) -> ConditionParts {
        let mut parts = ConditionParts::default();
        for condition in conditions.chunks_exact(self.condition_size()) {
            let (vector, seen) = condition.split_at(self.hidden_size);
            parts.vectors.extend_from_slice(vector);
            parts.seen.extend_from_slice(seen);
        }
        parts
    }

    fn inputs<'a>(
        &self,
        [batch, new]: [usize; 2],
        conditions: &'a ConditionParts,
        ids: &'a [i64],
        positions: &'a [i64],
    ) -> impl Iterator<Item = Input<'a>> {
        let ConditionParts { vectors, seen } = conditions;
        let seen = || Input::floats(CONTEXT_TOKENS, &[batch, self.vocab_size], seen);
        [
            Input::ids("input_ids", &[batch, new], ids),
            Input::ids("position_ids", &[batch, new], positions),
            Input::floats("sentence_embedding", &[batch, self.hidden_size], vectors),
        ]
        .into_iter()
        .chain(self.context_bias.then(seen))
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
mod tests;
