//! Appending a prompt without stopping the other rows for long.

use std::{
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use sllm_ort::{Appended, Session, config::ModelKind};

use super::{
    super::super::{
        error::ApiError,
        job::{Event, Job},
        metrics::Timer,
    },
    PREFILL_SENTENCES, Worker, refused,
};

/// Tokens of a token-level model that count as a sentence.
const SENTENCE_TOKENS: usize = 16;

impl Worker {
    /// The context of a job with its text appended, and the event that says so. After an error a
    /// session is as it was.
    pub(super) fn prepare(
        &mut self,
        job: &mut Job,
        budget: &mut usize,
    ) -> Result<(Session, Event), ApiError> {
        if let Some(refused) = job.answer.refusal() {
            return Err(refused);
        }
        let prompt = Arc::clone(&job.prompt);
        if let Some(copied) = prompt.take() {
            let copied = copied.map_err(|error| ApiError::of_library(&error, &prompt.param))?;
            return Ok(begun(copied));
        }
        let started = Instant::now();
        let mut session = match &mut job.home {
            Some(home) => home.take().ok_or_else(ApiError::internal)?,
            None => self
                .model
                .session()
                .map_err(|error| ApiError::of_library(&error, "model"))?,
        };
        let held = session.tokens();
        let appended = self.append(&mut session, job, budget);
        let appended = appended.and_then(|appended| {
            prompt.keep(&session, &appended)?;
            Ok(appended)
        });
        let appended = match appended {
            Ok(appended) => appended,
            Err(error) => {
                let refused = refused(&error, &prompt.param, job.home.as_ref());
                if let Some(home) = &mut job.home {
                    home.put(session);
                }
                return Err(refused);
            }
        };
        if !prompt.text.is_empty() {
            self.metrics.time(Timer::Prefill, started.elapsed());
        }
        let given = session.tokens().saturating_sub(held) as u64;
        self.metrics
            .prompt_tokens
            .fetch_add(given, Ordering::Relaxed);
        Ok(begun((session, appended)))
    }

    /// Append the job's text, with steps of the other rows between its runs.
    fn append(
        &mut self,
        session: &mut Session,
        job: &Job,
        budget: &mut usize,
    ) -> sllm_ort::Result<Appended> {
        let unit = match self.model.config().kind {
            ModelKind::Opt => SENTENCE_TOKENS,
            _ => 1,
        };
        session.append_with(&job.prompt.text, |progress| {
            if job.answer.refusal().is_some() {
                return ControlFlow::Break(());
            }
            if *budget == 0 {
                self.step();
                *budget = PREFILL_SENTENCES;
            }
            if self.rows.is_empty() {
                *budget = 0;
                return ControlFlow::Continue(usize::MAX);
            }
            let run = *budget * unit;
            *budget -= run.min(progress.remaining()).div_ceil(unit);
            ControlFlow::Continue(run)
        })
    }
}

/// A session with its prompt, and the event that says so.
fn begun((session, appended): (Session, Appended)) -> (Session, Event) {
    let tokens = session.tokens();
    (session, Event::Started { tokens, appended })
}
