//! The sentence encoder: token ids of sentences to their vectors.

use ndarray::{Array2, s};
use ort::value::{
    Tensor,
    TensorElementType::{Float32, Int64},
};

use crate::{
    config::{ModelConfig, SpecialTokens},
    error::Result,
    runtime::{ANY, Graph, GraphSignature, TensorSpec},
};

use super::{length_batches, run_cost};

/// Most tokens of one run, padding included: more only costs memory.
const RUN_TOKENS: usize = 4096;

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
        graph.check(&GraphSignature {
            graph: "encoder",
            inputs: vec![
                TensorSpec::new("input_ids", Int64, &[ANY, ANY]),
                TensorSpec::new("attention_mask", Int64, &[ANY, ANY]),
            ],
            outputs: vec![TensorSpec::new(
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

    #[cfg(test)]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Vectors `[sentences, hidden]` of sentences given as the exact ids that the encoder sees
    /// (bos included where the model wants one), each of at most `max_sentence_tokens` ids. A
    /// sentence without ids has the vector of all positions masked.
    pub fn encode(&self, sentences: &[Vec<u32>]) -> Result<Array2<f32>> {
        let mut vectors = Array2::zeros((sentences.len(), self.hidden_size));
        let lengths: Vec<usize> = sentences.iter().map(Vec::len).collect();
        for run in length_batches(&lengths, run_cost(&self.graph), RUN_TOKENS) {
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
