//! The threads that generate for all requests of a model.

mod worker;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use sllm_ort::Model;

use super::{
    error::ApiError,
    job::{Answer, Events, Job, Post, answers},
    metrics::Metrics,
    queue::Queue,
};
use worker::Worker;

/// A model's rows, which its own threads continue, each in a batch. Requests join and leave between
/// sentences.
pub struct Scheduler {
    queue: Arc<Queue>,
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
            post: Post::start(),
            threads: Mutex::default(),
        };
        for number in 0..scheduler.queue.threads() {
            let worker = Worker::new(model, Arc::clone(&scheduler.queue), Arc::clone(metrics))?;
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

    /// The answers of so many jobs that arrive now and must end within `timeout`.
    pub fn answers(&self, jobs: usize, timeout: Duration) -> (Vec<Answer>, Events) {
        answers(jobs, timeout, &self.post, &self.queue)
    }

    /// Most jobs of a request.
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Queue the jobs of a request, all or none.
    pub fn submit(&self, jobs: Vec<Job>) -> Result<(), ApiError> {
        self.queue.push(jobs)
    }

    /// Jobs that are worked on, and jobs that wait.
    pub fn counts(&self) -> (usize, usize) {
        self.queue.counts()
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
