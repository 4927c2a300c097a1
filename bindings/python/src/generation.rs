//! `Generation`: an iterator over new sentences, which holds the session until it ends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::{PyTraverseError, PyVisit, prelude::*};
use sllm_ort::{Batch, BatchEvent, CancelHandle, Error, FinishReason, Sentence};

use crate::{
    arguments::GenerateKeywords,
    errors::{busy, exception},
    interrupt,
    lease::{Lease, Slot},
    values,
};

/// The continuation of a session in progress: an iterator over its sentences.
///
/// ``Session.generate`` makes one. The session is in use until the iterator is exhausted, closed or
/// dropped, or ends with an error or an interrupt. The session then holds all sentences that were
/// complete.
#[pyclass(frozen, module = "sllm_ort")]
pub struct Generation {
    slot: Slot,
    progress: Mutex<Progress>,
    cancel: CancelHandle,
    on_text: Option<Py<PyAny>>,
    seed: u64,
}

/// How far a generation is.
struct Progress {
    stage: Stage,
    finish_reason: Option<FinishReason>,
}

enum Stage {
    /// A batch of one row, the session.
    Between(Box<Batch>, usize),
    /// A call generates a sentence.
    Running,
    /// With an error that is to be raised.
    Ended(Option<Error>),
}

/// A batch in use. Its session goes back in the end, also after a panic.
struct Step<'g> {
    generation: &'g Generation,
    batch: Option<Box<Batch>>,
    row: usize,
}

/// What came of a step.
#[derive(Default)]
struct Events {
    sentence: Option<Sentence>,
    ended: Option<(sllm_ort::Session, sllm_ort::Result<FinishReason>)>,
}

impl Generation {
    /// # Errors
    /// Those of [`Batch::join`].
    pub fn start(mut lease: Lease, keywords: GenerateKeywords) -> PyResult<Self> {
        let model = lease.session()?.model().clone();
        let mut batch = Box::new(Batch::new(&model).map_err(exception)?);
        let options = keywords.of_row(0);
        let (slot, session) = lease.into_parts().ok_or_else(|| busy("session"))?;
        let row = match batch.join(session, options) {
            Ok(row) => row,
            Err(refused) => {
                slot.put(refused.session);
                return Err(exception(refused.error));
            }
        };
        Ok(Self {
            slot,
            progress: Mutex::new(Progress {
                stage: Stage::Between(batch, row),
                finish_reason: None,
            }),
            cancel: keywords.cancel,
            on_text: keywords.on_text,
            seed: keywords.sampling.seed(),
        })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Give the session back.
    fn end(&self, session: Option<sllm_ort::Session>, stage: Stage, reason: Option<FinishReason>) {
        if let Some(session) = session {
            self.slot.put(session);
        }
        *self.progress() = Progress {
            stage,
            finish_reason: reason,
        };
    }
}

impl Step<'_> {
    /// Run until there is a sentence, or the generation has ended.
    fn run(&mut self, py: Python<'_>) -> PyResult<Option<Sentence>> {
        let generation = self.generation;
        let on_text = generation.on_text.as_ref().map(|on_text| on_text.bind(py));
        let mut events = Events::default();
        let Some(batch) = &mut self.batch else {
            return Ok(None);
        };
        let finished = interrupt::run(py, &generation.cancel, on_text, |on_text| {
            while events.sentence.is_none() && events.ended.is_none() && !batch.is_empty() {
                batch.step(|_, event| match event {
                    BatchEvent::Text(text) => on_text(text),
                    BatchEvent::Sentence(sentence) => events.sentence = Some(sentence),
                    BatchEvent::Ended { session, result } => events.ended = Some((session, result)),
                    _ => {}
                });
            }
        });
        if let Some((session, result)) = events.ended {
            self.batch = None;
            let (failed, reason) = match result {
                Ok(reason) => (None, Some(reason)),
                Err(error) => (Some(error), None),
            };
            generation.end(Some(session), Stage::Ended(failed), reason);
        } else if finished.is_ok()
            && let Some(batch) = self.batch.take()
        {
            generation.progress().stage = Stage::Between(batch, self.row);
        }
        finished.map(|()| events.sentence)
    }
}

impl Drop for Step<'_> {
    /// The step was interrupted after its sentence, or panicked.
    fn drop(&mut self) {
        if let Some(mut batch) = self.batch.take() {
            let session = batch.leave(self.row);
            let reason = Some(FinishReason::Cancelled);
            self.generation.end(session, Stage::Ended(None), reason);
        }
    }
}

#[pymethods]
impl Generation {
    fn __iter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut progress = self.progress();
        let (batch, row) = match std::mem::replace(&mut progress.stage, Stage::Running) {
            Stage::Between(batch, row) => (batch, row),
            Stage::Running => return Err(busy("generation")),
            Stage::Ended(failed) => {
                progress.stage = Stage::Ended(None);
                return failed.map_or(Ok(None), |error| Err(exception(error)));
            }
        };
        drop(progress);
        let mut step = Step {
            generation: self,
            batch: Some(batch),
            row,
        };
        if let Some(sentence) = step.run(py)? {
            return values::sentence(py, sentence).map(Some);
        }
        let mut progress = self.progress();
        match &mut progress.stage {
            Stage::Ended(failed) => failed
                .take()
                .map_or(Ok(None), |error| Err(exception(error))),
            _ => Ok(None),
        }
    }

    /// End the generation, so that the session can be used again.
    fn close(&self) -> PyResult<()> {
        let mut progress = self.progress();
        match std::mem::replace(&mut progress.stage, Stage::Running) {
            Stage::Between(mut batch, row) => {
                drop(progress);
                let reason = Some(FinishReason::Cancelled);
                self.end(batch.leave(row), Stage::Ended(None), reason);
                Ok(())
            }
            Stage::Running => Err(busy("generation")),
            Stage::Ended(failed) => {
                progress.stage = Stage::Ended(failed);
                Ok(())
            }
        }
    }

    /// End the generation, from any thread, after its current graph run.
    fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Why the generation ended; None while it is running, or after an error.
    ///
    /// ``stop``, ``max_sentences``, ``max_tokens``, ``context_full``, ``stop_text``, ``cancelled``
    /// or ``time_limit``.
    #[getter]
    fn finish_reason(&self) -> Option<&'static str> {
        self.progress().finish_reason.map(FinishReason::as_str)
    }

    /// The seed: that of the keyword, or a random one.
    #[getter]
    fn seed(&self) -> u64 {
        self.seed
    }

    fn __enter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    #[pyo3(signature = (_exception_type = None, _exception = None, _traceback = None))]
    fn __exit__(
        &self,
        _exception_type: Option<&Bound<'_, PyAny>>,
        _exception: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.close()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.on_text
            .as_ref()
            .map_or(Ok(()), |on_text| visit.call(on_text))
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        // Nothing else refers to it, so that no step runs.
        let _ = self.close();
    }
}
