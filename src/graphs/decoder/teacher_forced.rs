//! Teacher forcing: the decoder on whole sentences, all tokens in one run.

use super::Decoder;
use crate::{
    error::Result,
    graphs::{RUN_LOGITS, length_batches, run_cost},
};

/// Most tokens of one run, padding included.
const RUN_TOKENS: usize = 2048;

impl Decoder {
    /// Logits `[sentences, tokens, vocab]` after each token of whole sentences, where `tokens` is the
    /// longest sentence's number. Those after the end of a shorter one mean nothing.
    ///
    /// `conditions` are concatenated; `ids` are what the decoder is given for each, bos first.
    pub fn teacher_forced(&self, conditions: &[f32], ids: &[&[u32]]) -> Result<Vec<f32>> {
        let batch = ids.len();
        let width = ids.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let mut cache = self.cached.cache(batch)?;
        // Attention is causal: no token sees the padding behind it, whatever it is.
        let padded: Vec<i64> = ids
            .iter()
            .flat_map(|ids| {
                let padding = ids.first().copied().into_iter().cycle();
                ids.iter().copied().chain(padding).take(width)
            })
            .map(i64::from)
            .collect();
        let conditions = self.parts(conditions);
        let positions: Vec<i64> = (0..width as i64).cycle().take(batch * width).collect();
        let inputs = self.inputs([batch, width], &conditions, &padded, &positions);
        self.output
            .all(self.cached.graph(), &mut cache, inputs, width)
    }

    /// The same in as many runs as are needed, sentences of similar length together, where `ids` are
    /// without bos: `take` is given the index of a sentence and its logits `[ids + 1, vocab]`, those
    /// after bos first.
    pub fn each_teacher_forced(
        &self,
        bos: u32,
        conditions: &[&[f32]],
        ids: &[&[u32]],
        mut take: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        let inputs: Vec<Vec<u32>> = ids.iter().map(|ids| [&[bos], *ids].concat()).collect();
        let lengths: Vec<usize> = inputs.iter().map(Vec::len).collect();
        let most = (RUN_LOGITS / self.vocab_size).min(RUN_TOKENS);
        for run in length_batches(&lengths, run_cost(self.cached.graph()), most) {
            let of_run: Vec<&[f32]> = run.iter().map(|&index| conditions[index]).collect();
            let ids: Vec<&[u32]> = run.iter().map(|&index| inputs[index].as_slice()).collect();
            let logits = self.teacher_forced(&of_run.concat(), &ids)?;
            let rows = logits.chunks_exact(logits.len() / run.len());
            for (&index, logits) in run.iter().zip(rows) {
                take(index, &logits[..lengths[index] * self.vocab_size]);
            }
        }
        Ok(())
    }
}
