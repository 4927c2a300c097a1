//! The outputs by which the next token is chosen, in either of the two forms that variants use.

use ort::{
    session::SessionOutputs,
    value::TensorElementType::{Bool, Float32, Int64},
};

use super::{ANY, Graph, Input, KvCache, Port, floats};
use crate::{candidates::Candidates, error::Result};

/// The input by which a graph is told that chooses the best tokens itself: whether it shall give out
/// the logits of all tokens too.
const ALL_LOGITS: &str = "all_logits";
const LOGITS: &str = "logits";
const CANDIDATE_IDS: &str = "candidate_ids";
const CANDIDATE_LOGITS: &str = "candidate_logits";
/// The outputs of a graph that chooses.
const CHOSEN: [&str; 3] = [CANDIDATE_IDS, CANDIDATE_LOGITS, LOGITS];

/// How a graph gives out the logits of its vocabulary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scores {
    vocab_size: usize,
    chooses: bool,
}

impl Scores {
    pub fn new(graph: &Graph, vocab_size: usize) -> Self {
        Self {
            vocab_size,
            chooses: graph.has_input(ALL_LOGITS),
        }
    }

    /// The inputs and outputs that belong to it in the graph's contract.
    pub fn ports(&self) -> (Vec<Port>, Vec<Port>) {
        let vocab_size = self.vocab_size as i64;
        if !self.chooses {
            let logits = Port::new(LOGITS, Float32, &[ANY, ANY, vocab_size]);
            return (Vec::new(), vec![logits]);
        }
        let open = [ANY; 3];
        let outputs = [
            Port::new(CANDIDATE_IDS, Int64, &open),
            Port::new(CANDIDATE_LOGITS, Float32, &open),
            Port::new(LOGITS, Float32, &open),
        ];
        (vec![Port::new(ALL_LOGITS, Bool, &[])], outputs.into())
    }

    /// Run `graph` on `new` further positions of `cache`; returns what may follow the last of them.
    pub fn next<'a>(
        &self,
        graph: &Graph,
        cache: &mut KvCache,
        inputs: impl IntoIterator<Item = Input<'a>>,
        new: usize,
    ) -> Result<Candidates> {
        if !self.chooses {
            let logits = cache.run(graph, inputs, new, &[LOGITS], |outputs| {
                Ok(last(floats(outputs, LOGITS)?, self.vocab_size).to_vec())
            })?;
            graph.check_finite(LOGITS, &logits)?;
            return Ok(Candidates::all(logits));
        }
        let inputs = inputs.into_iter().chain([all_logits(&false)]);
        let (ids, logits) = cache.run(graph, inputs, new, &CHOSEN, last_candidates)?;
        if ids.is_empty() || ids.len() != logits.len() {
            let found = format!("{} ids with {} logits", ids.len(), logits.len());
            return Err(graph.broken(format!("output {CANDIDATE_IDS}: {found}")));
        }
        graph.check_finite(CANDIDATE_LOGITS, &logits)?;
        Ok(Candidates::best(ids, logits))
    }

    /// Run `graph` on `new` further positions of `cache`; returns the logits of the whole vocabulary
    /// after each position that the graph scores, `[batch, positions, vocab]`.
    pub fn all<'a>(
        &self,
        graph: &Graph,
        cache: &mut KvCache,
        inputs: impl IntoIterator<Item = Input<'a>>,
        new: usize,
    ) -> Result<Vec<f32>> {
        let asked = self.chooses.then(|| all_logits(&true));
        let wanted: &[&str] = if self.chooses { &CHOSEN } else { &[LOGITS] };
        let inputs = inputs.into_iter().chain(asked);
        let (logits, scored) = cache.run(graph, inputs, new, wanted, |outputs| {
            let (shape, logits) = outputs[LOGITS].try_extract_tensor::<f32>()?;
            Ok((logits.to_vec(), shape.last().copied()))
        })?;
        let expected = self.vocab_size as i64;
        if scored != Some(expected) {
            let found = scored.unwrap_or(0);
            let problem = format!("output {LOGITS}: expected {expected} of them, found {found}");
            return Err(graph.broken(problem));
        }
        graph.check_finite(LOGITS, &logits)?;
        Ok(logits)
    }
}

fn all_logits(wanted: &bool) -> Input<'_> {
    Input::flags(ALL_LOGITS, &[], std::slice::from_ref(wanted))
}

/// The candidates of the last position.
fn last_candidates(outputs: &SessionOutputs<'_>) -> ort::Result<(Vec<u32>, Vec<f32>)> {
    let (shape, ids) = outputs[CANDIDATE_IDS].try_extract_tensor::<i64>()?;
    let logits = floats(outputs, CANDIDATE_LOGITS)?;
    let count = shape.last().map_or(0, |&count| count as usize);
    // An id that is none is refused by the tokenizer, as any that is not in the vocabulary.
    let id = |&id: &i64| u32::try_from(id).unwrap_or(u32::MAX);
    Ok((
        last(ids, count).iter().map(id).collect(),
        last(logits, count).to_vec(),
    ))
}

fn last<T>(values: &[T], count: usize) -> &[T] {
    &values[values.len().saturating_sub(count)..]
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;
    use crate::{
        error::Error,
        runtime::{CacheShape, GraphSettings, Provider, environment},
    };

    /// Shapes that only a run can show are checked.
    #[test]
    fn a_vocabulary_of_another_size_is_refused() {
        let settings = GraphSettings {
            environment: environment(None).unwrap(),
            provider: Provider::Cpu,
            threads: 1,
            spinning: Duration::ZERO,
        };
        let path = Path::new("tests/golden/bundle-fast/cpu-int8/decoder.onnx");
        let graph = Graph::load(path, None, &settings).unwrap();
        let shape = CacheShape {
            batch: 1,
            layers: 2,
            heads: 4,
            head_size: 8,
            limit: 12,
        };
        let inputs = [
            Input::ids("input_ids", &[1, 1], &[2]),
            Input::ids("position_ids", &[1, 1], &[0]),
            Input::floats("sentence_embedding", &[1, 32], &[0.5; 32]),
        ];
        let score = |vocab_size| {
            let mut cache = KvCache::new(&graph, shape).unwrap();
            Scores::new(&graph, vocab_size).all(&graph, &mut cache, inputs, 1)
        };
        assert_eq!(score(64).unwrap().len(), 64);
        assert!(matches!(score(65), Err(Error::Contract { .. })));
    }
}
