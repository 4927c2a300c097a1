//! Sessions that are continued in the same runs.

use sllm::{
    Batch, BatchEvent, CancelHandle, FinishReason, GenerateOptions, Model, SamplingOptions,
};

use crate::{callbacks::Callbacks, session::Lease, status::Failure};

/// The options of the rows of a batch.
pub struct RowOptions {
    pub generate: GenerateOptions,
    pub sampling: SamplingOptions,
    pub cancel: CancelHandle,
    /// Of the first row.
    pub seed: u64,
}

impl RowOptions {
    /// The options of a row, and the handle that ends it alone.
    pub fn of_row(&self, row: usize) -> (GenerateOptions, CancelHandle) {
        let cancel = self.cancel.child();
        let options = self
            .generate
            .clone()
            .with_sampling(self.sampling.clone().with_seed(self.seed_of(row)))
            .with_cancel(cancel.clone());
        (options, cancel)
    }

    /// The seed of a row.
    pub fn seed_of(&self, row: usize) -> u64 {
        self.seed.wrapping_add(row as u64)
    }
}

/// A session that is continued, and what came of it.
pub struct Row<'h> {
    lease: Lease<'h>,
    /// Ends it alone.
    cancel: CancelHandle,
    /// A callback has ended it.
    stopped: bool,
    pub sentences: usize,
    pub tokens: usize,
    pub result: Result<FinishReason, Failure>,
}

/// The rows of a batch.
///
/// Their sessions go back in the end, also after a panic.
pub struct Rows<'h> {
    rows: Vec<Row<'h>>,
    batch: Batch,
    /// The index of the row with each id of the batch.
    indices: Vec<usize>,
}

impl<'h> Rows<'h> {
    /// No rows yet, with memory for `count`.
    pub fn new(model: &Model, count: usize) -> Result<Self, Failure> {
        Ok(Self {
            rows: Vec::with_capacity(count),
            batch: Batch::new(model)?,
            indices: Vec::with_capacity(count),
        })
    }

    /// Add a session. A refusal is the result of its row.
    pub fn join(&mut self, mut lease: Lease<'h>, options: &RowOptions) {
        let index = self.rows.len();
        let (options, cancel) = options.of_row(index);
        let mut result = Ok(FinishReason::Cancelled);
        if let Some(session) = lease.take() {
            match self.batch.join(session, options) {
                Ok(_) => self.indices.push(index),
                Err(refused) => {
                    lease.handle.put(refused.session);
                    result = Err(refused.error.into());
                }
            }
        }
        self.rows.push(Row {
            lease,
            cancel,
            stopped: false,
            sentences: 0,
            tokens: 0,
            result,
        });
    }

    /// Continue all sessions to their ends.
    pub fn run(&mut self, callbacks: Callbacks) {
        let (batch, rows, indices) = (&mut self.batch, &mut self.rows, &self.indices);
        while !batch.is_empty() {
            batch.step(|id, event| {
                let Some((index, row)) = indices
                    .get(id)
                    .and_then(|&index| Some((index, rows.get_mut(index)?)))
                else {
                    return;
                };
                match event {
                    BatchEvent::Text(text) if !row.stopped => {
                        row.stopped = callbacks.text(index, text);
                    }
                    BatchEvent::Sentence(sentence) => {
                        row.sentences += 1;
                        row.tokens += sentence.token_ids.len();
                        row.stopped = row.stopped || callbacks.sentence(index, sentence);
                    }
                    BatchEvent::Ended { session, result } => {
                        row.lease.handle.put(session);
                        row.result = result.map_err(Failure::from);
                    }
                    _ => {}
                }
                if row.stopped {
                    row.cancel.cancel();
                }
            });
        }
    }

    /// Take the rows, with what came of them.
    pub fn finish(&mut self) -> Vec<Row<'h>> {
        std::mem::take(&mut self.rows)
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        for (id, &index) in self.indices.iter().enumerate() {
            if let (Some(session), Some(row)) = (self.batch.leave(id), self.rows.get(index)) {
                row.lease.handle.put(session);
            }
        }
    }
}
