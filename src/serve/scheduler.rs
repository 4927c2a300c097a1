//! The threads that generate for all requests of a model.

mod prefill;

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use sllm_ort::{Batch, BatchEvent, FinishReason, GenerateOptions, Model, Session};

use super::{
    error::ApiError,
    job::{Answer, End, Event, Job, Post},
    metrics::{Metrics, Timer},
    queue::Queue,
    store::Lease,
};

/// Sentences of prompts that are appended between two steps of the other rows.
const PREFILL_SENTENCES: usize = 32;

/// A model's rows, which its own threads continue, each in a batch. Requests join and leave between
/// sentences.
pub struct Scheduler {
    queue: Arc<Queue>,
    rows: Arc<AtomicUsize>,
    post: Post,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Scheduler {
    /// Start the threads, from a task of the runtime.
    ///
    /// # Errors
    /// If the model cannot generate, or the system starts no thread.
    pub fn start(model: &Model, queue: Queue, metrics: &Arc<Metrics>) -> anyhow::Result<Self> {
        let scheduler = Self {
            queue: Arc::new(queue),
            rows: Arc::default(),
            post: Post::start(),
            threads: Mutex::default(),
        };
        for number in 0..scheduler.queue.threads() {
            let worker = Worker {
                batch: Batch::new(model)?,
                model: model.clone(),
                queue: Arc::clone(&scheduler.queue),
                rows: HashMap::new(),
                all_rows: Arc::clone(&scheduler.rows),
                metrics: Arc::clone(metrics),
            };
            let thread = thread::Builder::new()
                .name(format!("batch {number}"))
                .spawn(move || worker.run())?;
            scheduler.threads().push(thread);
        }
        Ok(scheduler)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the answers of this scheduler's jobs go through.
    pub fn post(&self) -> &Post {
        &self.post
    }

    /// Most jobs of a request.
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Queue the jobs of a request, all or none.
    pub fn submit(&self, jobs: Vec<Job>) -> Result<(), ApiError> {
        self.queue.push(jobs)
    }

    /// Rows in the batches and jobs that wait.
    pub fn counts(&self) -> (usize, usize) {
        (self.rows.load(Ordering::Relaxed), self.queue.waiting())
    }

    /// Refuse what has not begun, and end the others at this time after the sentence they are at.
    pub fn drain(&self, end_at: Instant) {
        self.queue.drain(end_at);
    }

    /// Wait until the threads have ended, which they do when they have no job.
    pub fn join(&self) {
        self.queue.close();
        for thread in self.threads().drain(..) {
            // It catches panics itself.
            let _ = thread.join();
        }
    }
}

/// A thread's own.
struct Worker {
    model: Model,
    batch: Batch,
    queue: Arc<Queue>,
    rows: HashMap<usize, Row>,
    /// Number of rows of all threads.
    all_rows: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

/// A job in the batch.
struct Row {
    answer: Answer,
    home: Option<Lease>,
    has_sentence: bool,
}

impl Worker {
    fn run(mut self) {
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
        let Job {
            home,
            options,
            answer,
            ..
        } = job;
        match (admitted, options) {
            (Ok((session, started)), Some(options)) => {
                self.join(session, options, started, answer, home);
            }
            (Ok((session, started)), None) => {
                self.end(home, Some(session));
                answer.send(started);
                answer.send(Event::Ended(End::Appended));
            }
            (Err(error), _) => {
                self.end(home, None);
                answer.send(Event::Failed(error));
            }
        }
    }

    fn join(
        &mut self,
        session: Session,
        options: GenerateOptions,
        started: Event,
        answer: Answer,
        home: Option<Lease>,
    ) {
        let options = options
            .with_cancel(answer.cancel().clone())
            .with_time_limit(answer.remaining());
        match self.batch.join(session, options) {
            Ok(id) => {
                let row = Row {
                    answer,
                    home,
                    has_sentence: false,
                };
                let row = self.rows.entry(id).or_insert(row);
                // Not before: it may be refused.
                self.all_rows.fetch_add(1, Ordering::Relaxed);
                row.answer.send(started);
            }
            Err(refused) => {
                self.end(home, Some(refused.session));
                let error = ApiError::of_library(&refused.error, "prompt");
                answer.send(Event::Failed(error));
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
                        row.answer.send(Event::Sentence(sentence));
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
            let Some(row) = self.take_row(id) else {
                continue;
            };
            if row.answer.is_abandoned() {
                self.metrics.cancelled.fetch_add(1, Ordering::Relaxed);
            }
            self.end(row.home, session);
            row.answer.send(Event::Ended(End::ShutDown));
        }
    }

    fn take_row(&mut self, id: usize) -> Option<Row> {
        let row = self.rows.remove(&id)?;
        self.all_rows.fetch_sub(1, Ordering::Relaxed);
        Some(row)
    }

    /// A row has left the batch.
    fn finish(&mut self, id: usize, session: Session, result: sllm_ort::Result<FinishReason>) {
        let Some(row) = self.take_row(id) else {
            return;
        };
        // Before the client hears of it, who may use the session at once.
        self.end(row.home, Some(session));
        let event = match result {
            Ok(FinishReason::TimeLimit | FinishReason::Cancelled) => {
                self.metrics.cancelled.fetch_add(1, Ordering::Relaxed);
                Event::Failed(ApiError::timeout())
            }
            Ok(reason) => Event::Ended(End::Finished(reason)),
            Err(error) => {
                self.metrics.failed.fetch_add(1, Ordering::Relaxed);
                Event::Failed(ApiError::of_library(&error, "prompt"))
            }
        };
        row.answer.send(event);
    }

    /// After a panic: what the batch holds is not to be trusted.
    fn fail_all(&mut self) {
        tracing::error!(rows = self.rows.len(), "a step panicked");
        if let Ok(batch) = Batch::new(&self.model) {
            self.batch = batch;
        }
        let ids: Vec<usize> = self.rows.keys().copied().collect();
        for id in ids {
            if let Some(row) = self.take_row(id) {
                self.metrics.failed.fetch_add(1, Ordering::Relaxed);
                self.end(row.home, None);
                row.answer.send(Event::Failed(ApiError::internal()));
            }
        }
    }

    /// A job has ended; its session goes back to where it came from.
    fn end(&self, home: Option<Lease>, session: Option<Session>) {
        match (home, session) {
            (Some(home), Some(session)) => home.give_back(session),
            (home, _) => drop(home),
        }
        self.queue.ended();
    }
}

impl Row {
    fn count(&mut self, tokens: usize, metrics: &Metrics) {
        if !self.has_sentence {
            self.has_sentence = true;
            metrics.time(Timer::FirstSentence, self.answer.arrived.elapsed());
        }
        metrics.sentences.fetch_add(1, Ordering::Relaxed);
        metrics.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }
}
