//! The outputs by which the next token is chosen, in either of the two forms that variants use.

use ort::{
    session::SessionOutputs,
    value::TensorElementType::{Bool, Float32, Int64},
};

use super::{ANY, Graph, Input, KvCache, Port};
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

    fn outputs(&self) -> &'static [&'static str] {
        if self.chooses { &CHOSEN } else { &[LOGITS] }
    }

    /// Run `graph` on `new` further positions of each row of `cache`; `candidates`, one for each row,
    /// become what may follow the last of them.
    ///
    /// After an error they are what they were before.
    pub fn next<'a>(
        &self,
        graph: &Graph,
        cache: &mut KvCache,
        inputs: impl IntoIterator<Item = Input<'a>>,
        new: usize,
        candidates: &mut [Candidates],
    ) -> Result<()> {
        debug_assert_eq!(cache.rows(), candidates.len());
        let asked = self.chooses.then(|| all_logits(&false));
        let inputs = inputs.into_iter().chain(asked);
        cache.run(graph, inputs, new, self.outputs(), |outputs| {
            match self.chooses {
                true => take_chosen(graph, outputs, candidates),
                false => take_all(graph, outputs, self.vocab_size, candidates),
            }
        })
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
        let inputs = inputs.into_iter().chain(asked);
        cache.run(graph, inputs, new, self.outputs(), |outputs| {
            let (shape, logits) = graph.output::<f32>(outputs, LOGITS)?;
            let (expected, found) = (
                self.vocab_size,
                shape.last().map_or(0, |&size| size as usize),
            );
            if found != expected {
                let problem =
                    format!("output {LOGITS}: expected {expected} of them, found {found}");
                return Err(graph.broken(problem));
            }
            graph.check_finite(LOGITS, logits)?;
            Ok(logits.to_vec())
        })
    }
}

fn all_logits(wanted: &bool) -> Input<'_> {
    Input::flags(ALL_LOGITS, &[], std::slice::from_ref(wanted))
}

fn take_all(
    graph: &Graph,
    outputs: &SessionOutputs<'_>,
    vocab_size: usize,
    candidates: &mut [Candidates],
) -> Result<()> {
    let (shape, logits) = graph.output::<f32>(outputs, LOGITS)?;
    check_rows(graph, LOGITS, shape, candidates.len(), Some(vocab_size))?;
    graph.check_finite(LOGITS, logits)?;
    for (candidates, logits) in candidates.iter_mut().zip(last_of_rows(logits, shape)) {
        candidates.set_all(logits);
    }
    Ok(())
}

fn take_chosen(
    graph: &Graph,
    outputs: &SessionOutputs<'_>,
    candidates: &mut [Candidates],
) -> Result<()> {
    let (shape, ids) = graph.output::<i64>(outputs, CANDIDATE_IDS)?;
    let (logits_shape, logits) = graph.output::<f32>(outputs, CANDIDATE_LOGITS)?;
    check_rows(graph, CANDIDATE_IDS, shape, candidates.len(), None)?;
    if shape != logits_shape {
        let found = format!("{} ids with {} logits", ids.len(), logits.len());
        return Err(graph.broken(format!("output {CANDIDATE_IDS}: {found}")));
    }
    graph.check_finite(CANDIDATE_LOGITS, logits)?;
    let rows = last_of_rows(ids, shape).zip(last_of_rows(logits, shape));
    for (candidates, (ids, logits)) in candidates.iter_mut().zip(rows) {
        // An id that is none is refused by the tokenizer, as any that is not in the vocabulary.
        let ids = ids.iter().map(|&id| u32::try_from(id).unwrap_or(u32::MAX));
        candidates.set_best(ids, logits);
    }
    Ok(())
}

/// Refuse an output that is not `[rows, positions, values]`, with at least one position and value.
fn check_rows(
    graph: &Graph,
    name: &str,
    shape: &[i64],
    rows: usize,
    values: Option<usize>,
) -> Result<()> {
    let fits = match shape {
        [found, positions, count] => {
            usize::try_from(*found) == Ok(rows)
                && *positions > 0
                && *count > 0
                && values.is_none_or(|values| usize::try_from(*count) == Ok(values))
        }
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(graph.broken(format!(
            "output {name}: expected the shape [{rows}, positions, {}], found {shape:?}",
            values.map_or("candidates".to_owned(), |values| values.to_string())
        ))),
    }
}

/// The values of the last position of each row, of an output [batch, positions, values].
fn last_of_rows<'o, T>(values: &'o [T], shape: &[i64]) -> impl Iterator<Item = &'o [T]> {
    let [_, positions, count] =
        [0, 1, 2].map(|axis| shape.get(axis).map_or(1, |&size| size as usize));
    let rows = values.chunks_exact((positions * count).max(1));
    rows.map(move |row| &row[row.len() - count..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::Error,
        runtime::{CacheShape, testing},
    };

    /// Shapes that only a run can show are checked.
    #[test]
    fn a_vocabulary_of_another_size_is_refused() {
        let graph = testing::graph("tests/golden/bundle-fast/cpu-int8/decoder.onnx");
        let shape = CacheShape {
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
            let mut cache = KvCache::new(&graph, shape, 1).unwrap();
            Scores::new(&graph, vocab_size).all(&graph, &mut cache, inputs, 1)
        };
        assert_eq!(score(64).unwrap().len(), 64);
        assert!(matches!(score(65), Err(Error::Contract { .. })));
    }
}
