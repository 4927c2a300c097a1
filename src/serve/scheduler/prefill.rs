//! Appending a prompt without stopping the other rows for long.

use std::{sync::atomic::Ordering, time::Instant};

use sllm_ort::{
    Appended, Session,
    config::{ModelKind, PrefillAttention},
    text::TextSentence,
};

use super::{
    super::{
        error::ApiError,
        job::{Event, Job},
        metrics::Timer,
    },
    PREFILL_SENTENCES, Worker,
};

/// Sentences that are appended at once where no other row waits; the library's own number.
const ALONE_SENTENCES: usize = 256;

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
        let started = Instant::now();
        let session = match &mut job.home {
            Some(home) => home.take().ok_or_else(ApiError::internal)?,
            None => self
                .model
                .session()
                .map_err(|error| ApiError::of_library(&error, "model"))?,
        };
        let (session, appended) = self.append(session, job, budget);
        let appended = match appended {
            Ok(appended) => appended,
            Err(error) => {
                if let Some(home) = &mut job.home {
                    home.put(session);
                }
                return Err(error);
            }
        };
        self.metrics.time(Timer::Prefill, started.elapsed());
        let tokens = session.tokens();
        let total = &self.metrics.prompt_tokens;
        total.fetch_add(tokens as u64, Ordering::Relaxed);
        Ok((session, Event::Started { tokens, appended }))
    }

    fn append(
        &mut self,
        mut session: Session,
        job: &Job,
        budget: &mut usize,
    ) -> (Session, Result<Appended, ApiError>) {
        let held = session.len();
        let appended = if self.is_in_pieces() {
            self.append_in_pieces(&mut session, job, budget)
        } else {
            *budget = 0;
            session
                .append_cancellable(&job.text, job.answer.cancel())
                .map_err(|error| ApiError::of_library(&error, "prompt"))
        };
        if appended.is_err() && session.len() > held {
            let more = session.len() - held;
            if let Err(error) = session.rewind(more) {
                return (session, Err(ApiError::of_library(&error, "prompt")));
            }
        }
        (session, appended)
    }

    /// Whether the model gives the same context for a text in pieces.
    fn is_in_pieces(&self) -> bool {
        let config = self.model.config();
        let backbone = config.backbone.as_ref();
        let attention = backbone.map(|backbone| backbone.prefill_attention);
        config.kind == ModelKind::Sllm && attention == Some(PrefillAttention::Causal)
    }

    /// Append the text a few sentences at a time, with steps of the other rows between.
    fn append_in_pieces(
        &mut self,
        session: &mut Session,
        job: &Job,
        budget: &mut usize,
    ) -> Result<Appended, ApiError> {
        let refused = |error| ApiError::of_library(&error, "prompt");
        let model = self.model.clone();
        let mut pieces = model
            .text_pipeline()
            .sentences(&job.text)
            .map_err(refused)?;
        let mut appended = Appended::default();
        loop {
            let most = match self.rows.is_empty() {
                true => ALONE_SENTENCES,
                false => (*budget).clamp(1, PREFILL_SENTENCES),
            };
            let sentences: Result<Vec<TextSentence<'_>>, _> = pieces.by_ref().take(most).collect();
            let sentences = sentences.map_err(refused)?;
            if sentences.is_empty() {
                break;
            }
            session.append_sentences(&sentences).map_err(refused)?;
            appended.sentences += sentences.len();
            let truncated = sentences.iter().filter(|sentence| sentence.truncated);
            appended.truncated += truncated.count();
            *budget = budget.saturating_sub(sentences.len());
            if sentences.len() < most {
                break;
            }
            if let Some(refused) = job.answer.refusal() {
                return Err(refused);
            }
            if *budget == 0 {
                self.step();
                *budget = PREFILL_SENTENCES;
            }
        }
        pieces.dropped().clone_into(&mut appended.dropped);
        Ok(appended)
    }
}
