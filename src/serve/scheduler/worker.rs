//! A thread that generates.

mod prefill;

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use sllm_ort::{Batch, BatchEvent, FinishReason, GenerateOptions, Model, Session};

use super::super::{
    error::ApiError,
    job::{Answer, End, Event, Job},
    metrics::{Metrics, Timer},
    queue::Queue,
    store::{Description, Lease, Origin},
};

/// Sentences of prompts that are appended between two steps of the other rows.
const PREFILL_SENTENCES: usize = 32;

/// A thread's own.
pub struct Worker {
    model: Model,
    batch: Batch,
    queue: Arc<Queue>,
    rows: HashMap<usize, Row>,
    metrics: Arc<Metrics>,
}

/// A job in the batch.
struct Row {
    answer: Answer,
    home: Option<Lease>,
    /// What its prompt is in the request.
    param: Arc<str>,
    has_sentence: bool,
}

impl Worker {
    /// A worker without rows.
    ///
    /// # Errors
    /// If the model cannot generate.
    pub fn new(model: &Model, queue: Arc<Queue>, metrics: Arc<Metrics>) -> sllm_ort::Result<Self> {
        Ok(Self {
            batch: Batch::new(model)?,
            model: model.clone(),
            queue,
            rows: HashMap::new(),
            metrics,
        })
    }

    /// Generate until the queue is closed and there is no job.
    pub fn run(mut self) {
        while self.queue.wait(self.rows.len()) {
            let mut budget = PREFILL_SENTENCES;
            while budget > 0
                && let Some(job) = self.queue.pop(self.rows.len())
            {
                self.admit(job, &mut budget);
            }
            self.step();
        }
    }

    /// Append a job's text to its context, and make it a row.
    fn admit(&mut self, mut job: Job, budget: &mut usize) {
        let admitted = catch_unwind(AssertUnwindSafe(|| self.prepare(&mut job, budget)));
        let admitted = admitted.unwrap_or_else(|_| Err(ApiError::internal()));
        self.queue.release(&job.prompt);
        let Job {
            home,
            prompt,
            options,
            answer,
        } = job;
        match (admitted, options) {
            (Ok((session, started)), Some(options)) => {
                let row = Row {
                    answer,
                    home,
                    param: Arc::clone(&prompt.param),
                    has_sentence: false,
                };
                self.join(session, options, started, row);
            }
            (Ok((session, started)), None) => {
                let described = self.end(home, Some(session));
                answer.send(started);
                if let Some(description) = described {
                    answer.send(Event::Described(description));
                }
                answer.send(Event::Ended(End::Appended));
            }
            (Err(error), _) => {
                match answer.is_cancelled() {
                    true => count(&self.metrics.cancelled),
                    false if error.is_internal() => count(&self.metrics.failed),
                    false => {}
                }
                self.end(home, None);
                answer.send(Event::Failed(error));
            }
        }
    }

    fn join(&mut self, session: Session, options: GenerateOptions, started: Event, row: Row) {
        let options = options
            .with_cancel(row.answer.cancel().clone())
            .with_time_limit(row.answer.remaining());
        match self.batch.join(session, options) {
            Ok(id) => {
                let row = self.rows.entry(id).or_insert(row);
                row.answer.send(started);
            }
            Err(refused) => {
                let error = row.refused(&refused.error);
                if error.is_internal() {
                    count(&self.metrics.failed);
                }
                self.close(row, Some(refused.session), Event::Failed(error));
            }
        }
    }

    /// Generate one sentence for each row.
    fn step(&mut self) {
        self.remove_unwanted();
        if self.rows.is_empty() {
            return;
        }
        let started = Instant::now();
        let mut ended = Vec::new();
        let Self {
            batch,
            rows,
            metrics,
            ..
        } = self;
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            batch.step(|id, event| match event {
                BatchEvent::Text(text) => {
                    if let Some(row) = rows.get(&id) {
                        row.answer.send(Event::Text(text.to_owned()));
                    }
                }
                BatchEvent::Sentence(sentence) => {
                    if let Some(row) = rows.get_mut(&id) {
                        row.count(sentence.token_ids.len(), metrics);
                        row.answer.send(Event::Sentence(sentence, Instant::now()));
                    }
                }
                BatchEvent::Ended { session, result } => ended.push((id, session, result)),
                _ => {}
            });
        }));
        self.metrics.time(Timer::Step, started.elapsed());
        for (id, session, result) in ended {
            self.finish(id, session, result);
        }
        if stepped.is_err() {
            self.fail_all();
        }
    }

    /// Remove the rows of clients that are gone, and at the end of a shutdown all.
    fn remove_unwanted(&mut self) {
        let over = self.queue.is_over();
        let unwanted = self.rows.iter();
        let unwanted = unwanted.filter(|(_, row)| over || row.answer.is_abandoned());
        let ids: Vec<usize> = unwanted.map(|(&id, _)| id).collect();
        for id in ids {
            let session = self.batch.leave(id);
            if let Some(row) = self.rows.remove(&id) {
                self.count_cancelled(&row);
                self.close(row, session, Event::Ended(End::ShutDown));
            }
        }
    }

    /// A row has left the batch.
    fn finish(&mut self, id: usize, session: Session, result: sllm_ort::Result<FinishReason>) {
        let Some(row) = self.rows.remove(&id) else {
            return;
        };
        let event = match result {
            Ok(FinishReason::TimeLimit | FinishReason::Cancelled) => {
                self.count_cancelled(&row);
                Event::Failed(ApiError::timeout())
            }
            Ok(reason) => Event::Ended(End::Finished(reason)),
            Err(error) => {
                count(&self.metrics.failed);
                Event::Failed(row.refused(&error))
            }
        };
        self.close(row, Some(session), event);
    }

    /// Let go of a row that has left the batch. The client, who may use the session at once, hears
    /// of it last.
    fn close(&self, row: Row, session: Option<Session>, event: Event) {
        self.end(row.home, session);
        row.answer.send(event);
    }

    fn count_cancelled(&self, row: &Row) {
        if row.answer.is_cancelled() {
            count(&self.metrics.cancelled);
        }
    }

    /// After a panic: what the batch holds is not to be trusted.
    fn fail_all(&mut self) {
        tracing::error!(rows = self.rows.len(), "a step panicked");
        if let Ok(batch) = Batch::new(&self.model) {
            self.batch = batch;
        }
        let ids: Vec<usize> = self.rows.keys().copied().collect();
        for id in ids {
            if let Some(row) = self.rows.remove(&id) {
                count(&self.metrics.failed);
                self.close(row, None, Event::Failed(ApiError::internal()));
            }
        }
    }

    /// A job has ended; its session goes back to where it came from, and is described.
    fn end(&self, home: Option<Lease>, session: Option<Session>) -> Option<Arc<Description>> {
        let description = match (home, session) {
            (Some(home), Some(session)) => Some(home.give_back(session)),
            (home, _) => {
                drop(home);
                None
            }
        };
        self.queue.ended();
        description
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The error of a job.
fn refused(error: &sllm_ort::Error, param: &str, home: Option<&Lease>) -> ApiError {
    let origin = home.map_or(Origin::Model, Lease::origin);
    ApiError::of_session(error, param, origin)
}

impl Row {
    fn refused(&self, error: &sllm_ort::Error) -> ApiError {
        refused(error, &self.param, self.home.as_ref())
    }

    fn count(&mut self, tokens: usize, metrics: &Metrics) {
        if !self.has_sentence {
            self.has_sentence = true;
            metrics.time(Timer::FirstSentence, self.answer.arrived.elapsed());
        }
        metrics.sentences.fetch_add(1, Ordering::Relaxed);
        metrics.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }
}
