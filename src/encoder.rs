//! The sentence encoder: token ids of sentences to their vectors.

use ndarray::{Array2, s};
use ort::value::{
    Tensor,
    TensorElementType::{Float32, Int64},
};

use crate::{
    config::{ModelConfig, SpecialTokens},
    error::Result,
    runtime::{ANY, Contract, Graph, Port},
};

/// Most tokens of one run, padding included: more only costs memory.
const RUN_TOKENS: usize = 4096;
/// A run takes sentences down to this share (in percent) of its longest one: padding costs more
/// than another run.
const SHORTEST_PERCENT: usize = 75;

/// The encoder graph with what it needs to know of the model.
#[derive(Debug)]
pub(crate) struct Encoder {
    graph: Graph,
    hidden_size: usize,
    tokens: SpecialTokens,
}

impl Encoder {
    pub fn new(graph: Graph, config: &ModelConfig) -> Result<Self> {
        let hidden_size = config.hidden_size;
        graph.check(&Contract {
            graph: "encoder",
            inputs: vec![
                Port::new("input_ids", Int64, &[ANY, ANY]),
                Port::new("attention_mask", Int64, &[ANY, ANY]),
            ],
            outputs: vec![Port::new(
                "sentence_embedding",
                Float32,
                &[ANY, hidden_size as i64],
            )],
        })?;
        Ok(Self {
            graph,
            hidden_size,
            tokens: config.tokens,
        })
    }

    /// Vectors `[sentences, hidden]` of sentences given as the exact ids that the encoder sees
    /// (bos included where the model wants one), each of at most `max_sentence_tokens` ids. A
    /// sentence without ids has the vector of all positions masked.
    pub fn encode(&self, sentences: &[Vec<u32>]) -> Result<Array2<f32>> {
        let mut vectors = Array2::zeros((sentences.len(), self.hidden_size));
        let lengths: Vec<usize> = sentences.iter().map(Vec::len).collect();
        for run in runs_of_similar_length(&lengths, RUN_TOKENS) {
            let values = self.encode_run(run.iter().map(|&index| &sentences[index]))?;
            for (row, &index) in values.chunks_exact(self.hidden_size).zip(&run) {
                vectors
                    .slice_mut(s![index, ..])
                    .assign(&ndarray::aview1(row));
            }
        }
        Ok(vectors)
    }

    fn encode_run<'a>(
        &self,
        sentences: impl ExactSizeIterator<Item = &'a Vec<u32>> + Clone,
    ) -> Result<Vec<f32>> {
        let rows = sentences.len();
        let width = sentences.clone().map(Vec::len).max().unwrap_or(0).max(1);
        let mut ids = vec![i64::from(self.tokens.pad); rows * width];
        let mut mask = vec![0i64; rows * width];
        for (row, sentence) in sentences.enumerate() {
            for (column, &id) in sentence.iter().enumerate() {
                ids[row * width + column] = i64::from(id);
                mask[row * width + column] = 1;
            }
        }
        let tensor = |values| {
            Tensor::from_array(([rows, width], values)).map_err(|source| self.graph.failed(source))
        };
        let inputs = vec![
            ("input_ids", tensor(ids)?.into()),
            ("attention_mask", tensor(mask)?.into()),
        ];
        let shape = [rows, self.hidden_size];
        self.graph.run(inputs, "sentence_embedding", &shape)
    }
}

/// Indices of sentences of these lengths, longest first, cut into runs with little padding and at
/// most `run_tokens` tokens, but at least one sentence.
pub(crate) fn runs_of_similar_length(lengths: &[usize], run_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for index in order {
        if let Some(run) = runs.last_mut() {
            let longest = lengths[run[0]];
            let close = lengths[index] * 100 >= longest * SHORTEST_PERCENT;
            if close && (run.len() + 1) * longest <= run_tokens {
                run.push(index);
                continue;
            }
        }
        runs.push(vec![index]);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sentence_is_in_one_run_of_similar_ones() {
        let lengths = [3usize, 40, 4, 4, 64, 1, 39, 3, 1, 50];
        let runs = runs_of_similar_length(&lengths, RUN_TOKENS);
        let mut all: Vec<usize> = runs.concat();
        all.sort_unstable();
        assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        for run in &runs {
            let longest = lengths[run[0]];
            assert!(run.len() * longest <= RUN_TOKENS);
            assert!(
                run.iter()
                    .all(|&i| lengths[i] * 100 >= longest * SHORTEST_PERCENT),
                "{run:?}"
            );
        }
    }

    #[test]
    fn a_run_is_bounded() {
        assert!(
            runs_of_similar_length(&[64; 1000], RUN_TOKENS)
                .iter()
                .all(|run| run.len() * 64 <= RUN_TOKENS)
        );
    }
}
