//! The logits output of a graph: dense, or the top k.

use ort::{
    session::SessionOutputs,
    value::TensorElementType::{Bool, Float32, Int64},
};

use crate::{
    error::{Error, Result},
    logits::Logits,
    runtime::{ANY, Graph, Input, KvCache, TensorSpec},
};

/// The input of a graph that ranks the vocabulary itself: whether it also gives dense logits.
const ALL_LOGITS: &str = "all_logits";
const LOGITS: &str = "logits";
const CANDIDATE_IDS: &str = "candidate_ids";
const CANDIDATE_LOGITS: &str = "candidate_logits";
/// The outputs of a graph that ranks.
const RANKED: [&str; 3] = [CANDIDATE_IDS, CANDIDATE_LOGITS, LOGITS];

/// How a graph gives logits.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogitsOutput {
    vocab_size: usize,
    ranks: bool,
}

impl LogitsOutput {
    pub fn new(graph: &Graph, vocab_size: usize) -> Self {
        Self {
            vocab_size,
            ranks: graph.has_input(ALL_LOGITS),
        }
    }

    /// The inputs and outputs that belong to it in the graph's signature.
    pub fn specs(&self) -> (Vec<TensorSpec>, Vec<TensorSpec>) {
        let vocab_size = self.vocab_size as i64;
        if !self.ranks {
            let logits = TensorSpec::new(LOGITS, Float32, &[ANY, ANY, vocab_size]);
            return (Vec::new(), vec![logits]);
        }
        let open = [ANY; 3];
        let outputs = [
            TensorSpec::new(CANDIDATE_IDS, Int64, &open),
            TensorSpec::new(CANDIDATE_LOGITS, Float32, &open),
            TensorSpec::new(LOGITS, Float32, &open),
        ];
        (vec![TensorSpec::new(ALL_LOGITS, Bool, &[])], outputs.into())
    }

    fn outputs(&self) -> &'static [&'static str] {
        if self.ranks { &RANKED } else { &[LOGITS] }
    }

    /// Run `graph` on `new` further positions of each row of `cache`, and set the row's logits.
    ///
    /// The rows from `dense_from` on get dense logits, the others what the graph gives: the best where
    /// it ranks. The logits of a row are empty if they are not finite. After an error all are
    /// unchanged.
    pub fn next<'a, 'l>(
        &self,
        graph: &Graph,
        cache: &mut KvCache,
        inputs: impl IntoIterator<Item = Input<'a>>,
        new: usize,
        dense_from: usize,
        mut rows: impl Iterator<Item = &'l mut Logits>,
    ) -> Result<()> {
        let count = cache.rows();
        let size = [count, self.vocab_size];
        let some_dense = dense_from < count;
        let asked = self.ranks.then(|| all_logits(some_dense));
        let inputs = inputs.into_iter().chain(asked);
        cache.run(graph, inputs, new, self.outputs(), |outputs| {
            if !self.ranks {
                return take_dense(graph, outputs, size, 0, rows);
            }
            take_ranked(graph, outputs, count, rows.by_ref().take(dense_from))?;
            if some_dense {
                take_dense(graph, outputs, size, dense_from, rows)?;
            }
            Ok(())
        })
    }

    /// The error for a row whose logits are not finite.
    pub fn not_finite(&self, graph: &Graph) -> Error {
        graph.not_finite(if self.ranks { CANDIDATE_LOGITS } else { LOGITS })
    }

    /// Run `graph` on `new` further positions of `cache`; returns dense logits after each position
    /// that the graph scores, `[batch, positions, vocab]`.
    pub fn all<'a>(
        &self,
        graph: &Graph,
        cache: &mut KvCache,
        inputs: impl IntoIterator<Item = Input<'a>>,
        new: usize,
    ) -> Result<Vec<f32>> {
        let asked = self.ranks.then(|| all_logits(true));
        let inputs = inputs.into_iter().chain(asked);
        let shape = [cache.rows(), new, self.vocab_size];
        cache.run(graph, inputs, new, self.outputs(), |outputs| {
            Ok(graph.floats(outputs, LOGITS, &shape)?.to_vec())
        })
    }
}

fn all_logits(wanted: bool) -> Input<'static> {
    let flag: &'static [bool] = if wanted { &[true] } else { &[false] };
    Input::flags(ALL_LOGITS, &[], flag)
}

/// Take dense logits into these rows, of which the first one is `first` of the graph's.
fn take_dense<'l>(
    graph: &Graph,
    outputs: &SessionOutputs<'_>,
    [count, vocab_size]: [usize; 2],
    first: usize,
    rows: impl Iterator<Item = &'l mut Logits>,
) -> Result<()> {
    let (shape, logits) = graph.output::<f32>(outputs, LOGITS)?;
    check_rows(graph, LOGITS, shape, count, Some(vocab_size))?;
    for (row, logits) in rows.zip(last_of_rows(logits, shape).skip(first)) {
        row.set_dense(finite_or_empty(logits));
    }
    Ok(())
}

fn take_ranked<'l>(
    graph: &Graph,
    outputs: &SessionOutputs<'_>,
    count: usize,
    rows: impl Iterator<Item = &'l mut Logits>,
) -> Result<()> {
    let (shape, ids) = graph.output::<i64>(outputs, CANDIDATE_IDS)?;
    let (logits_shape, logits) = graph.output::<f32>(outputs, CANDIDATE_LOGITS)?;
    check_rows(graph, CANDIDATE_IDS, shape, count, None)?;
    if shape != logits_shape {
        let found = format!("{} ids with {} logits", ids.len(), logits.len());
        return Err(graph.broken(format!("output {CANDIDATE_IDS}: {found}")));
    }
    let values = last_of_rows(ids, shape).zip(last_of_rows(logits, shape));
    for (row, (ids, logits)) in rows.zip(values) {
        match finite_or_empty(logits) {
            [] => row.clear(),
            // An id that is none is refused by the tokenizer, as any that is not in the vocabulary.
            logits => row.set_top(
                ids.iter().map(|&id| u32::try_from(id).unwrap_or(u32::MAX)),
                logits,
            ),
        }
    }
    Ok(())
}

fn finite_or_empty(values: &[f32]) -> &[f32] {
    match values.iter().all(|value| value.is_finite()) {
        true => values,
        false => &[],
    }
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
            values.map_or("k".to_owned(), |values| values.to_string())
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
        error::GraphError,
        runtime::{CacheLayout, CacheShape, testing},
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
        let layout = CacheLayout::of(&graph, shape).unwrap().into();
        let inputs = [
            Input::ids("input_ids", &[1, 1], &[2]),
            Input::ids("position_ids", &[1, 1], &[0]),
            Input::floats("sentence_embedding", &[1, 32], &[0.5; 32]),
        ];
        let score = |vocab_size| {
            let mut cache = KvCache::new(&graph, &layout, 1).unwrap();
            LogitsOutput::new(&graph, vocab_size).all(&graph, &mut cache, inputs, 1)
        };
        assert_eq!(score(64).unwrap().len(), 64);
        assert!(matches!(
            score(65),
            Err(Error::Graph(GraphError::Signature { .. }))
        ));
    }
}
