//! Several contexts that are continued in the same runs.

use pyo3::{exceptions::PyTypeError, prelude::*, types::PyString};
use sllm_ort::{Appended, Batch, BatchEvent, Error, FinishReason, Model, Result, Sentence};

use crate::{
    arguments::GenerateKeywords,
    lease::{Lease, Slot},
    session::Session,
};

/// What is continued.
pub enum Context {
    Prompt(String),
    Session(Lease),
}

impl Context {
    /// Read a sequence of contexts.
    ///
    /// # Errors
    /// `TypeError` for one text and for what is no context, `BusyError` for a session that is in
    /// use, or given twice.
    pub fn read_all(contexts: &Bound<'_, PyAny>) -> PyResult<Vec<Self>> {
        if contexts.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err(
                "a list of contexts is needed, not one str",
            ));
        }
        contexts
            .try_iter()?
            .map(|context| Self::new(&context?))
            .collect()
    }

    fn new(context: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(session) = context.cast::<Session>() {
            return session.get().slot().take().map(Self::Session);
        }
        if !context.is_instance_of::<PyString>() {
            let found = context.get_type();
            let message = format!("a context is a str or a Session, not {found}");
            return Err(PyTypeError::new_err(message));
        }
        context.extract().map(Self::Prompt)
    }
}

/// A row, and what came of it.
pub struct Row {
    /// Where its session goes, if that was given.
    slot: Option<Slot>,
    pub appended: Appended,
    pub sentences: Vec<Sentence>,
    pub result: Result<FinishReason>,
}

/// The rows of a batch.
///
/// Their sessions go back in the end, also after a panic.
#[derive(Default)]
pub struct Rows {
    rows: Vec<Row>,
    batch: Option<Batch>,
    /// The index of the row with each id of the batch.
    indices: Vec<usize>,
}

impl Rows {
    /// Continue all contexts to their ends.
    ///
    /// # Errors
    /// That of the first context that is refused; none is continued then.
    pub fn run(
        &mut self,
        model: &Model,
        contexts: Vec<Context>,
        keywords: &GenerateKeywords,
    ) -> Result<()> {
        let mut batch = Batch::new(model)?;
        let mut sessions = Vec::with_capacity(contexts.len());
        for (row, context) in contexts.into_iter().enumerate() {
            let (lease, prompt) = match context {
                Context::Session(lease) => (Ok(lease), Appended::default()),
                Context::Prompt(prompt) => {
                    let mut session = model.session()?;
                    let appended = session.append_cancellable(&prompt, &keywords.cancel);
                    (Err(session), appended.map_err(|error| of_row(row, error))?)
                }
            };
            sessions.push((lease, prompt));
        }
        let mut refusal = None;
        for (index, (session, appended)) in sessions.into_iter().enumerate() {
            let (slot, session) = match session {
                Ok(lease) => match lease.into_parts() {
                    Some((slot, session)) => (Some(slot), session),
                    None => continue,
                },
                Err(session) => (None, session),
            };
            let row = Row {
                slot,
                appended,
                sentences: Vec::new(),
                result: Ok(FinishReason::Cancelled),
            };
            match batch.join(session, keywords.of_row(index as u64)) {
                Ok(_) => self.indices.push(index),
                Err(refused) => {
                    row.give_back(refused.session);
                    refusal.get_or_insert(of_row(index, refused.error));
                }
            }
            self.rows.push(row);
        }
        let batch = self.batch.insert(batch);
        // Their sessions go back before anything is generated.
        if let Some(error) = refusal {
            return Err(error);
        }
        while !batch.is_empty() {
            batch.step(|id, event| {
                let row = &mut self.rows[self.indices[id]];
                match event {
                    BatchEvent::Sentence(sentence) => row.sentences.push(sentence),
                    BatchEvent::Ended { session, result } => {
                        row.give_back(session);
                        row.result = result;
                    }
                    _ => {}
                }
            });
        }
        Ok(())
    }

    /// What came of each row, errors with its index.
    pub fn finish(&mut self) -> impl Iterator<Item = Row> + use<> {
        let rows = std::mem::take(&mut self.rows).into_iter().enumerate();
        rows.map(|(index, mut row)| {
            row.result = row.result.map_err(|error| of_row(index, error));
            row
        })
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        let Some(batch) = &mut self.batch else { return };
        for (id, &index) in self.indices.iter().enumerate() {
            if let (Some(session), Some(row)) = (batch.leave(id), self.rows.get(index)) {
                row.give_back(session);
            }
        }
    }
}

impl Row {
    fn give_back(&self, session: sllm_ort::Session) {
        if let Some(slot) = &self.slot {
            slot.put(session);
        }
    }
}

fn of_row(row: usize, error: Error) -> Error {
    Error::BatchRow {
        row,
        source: Box::new(error),
    }
}
