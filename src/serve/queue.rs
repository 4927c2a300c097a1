//! The jobs that wait for a scheduler.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Instant,
};

use super::{
    error::ApiError,
    job::{Event, Job},
    metrics::Metrics,
    prompt::Prompt,
};

/// A bounded queue: first in, first out. Several threads take from it.
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    max_running: usize,
    max_waiting: usize,
    threads: usize,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Jobs that were taken and have not ended.
    running: usize,
    draining: bool,
    closed: bool,
    /// When running jobs are to end after the sentence they are at.
    end_at: Option<Instant>,
}

impl State {
    /// Take out the waiting jobs that are `wanted`.
    fn take_waiting(&mut self, wanted: impl Fn(&Job) -> bool) -> VecDeque<Job> {
        let waiting = std::mem::take(&mut self.waiting);
        let (taken, kept) = waiting.into_iter().partition(wanted);
        self.waiting = kept;
        taken
    }
}

impl Queue {
    /// At most so many jobs run on so many threads, and so many wait.
    pub fn new(
        max_running: usize,
        max_waiting: usize,
        threads: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            max_running,
            max_waiting,
            threads,
            metrics,
        }
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Most jobs that a request may have: with more it would never be admitted.
    pub fn capacity(&self) -> usize {
        self.max_running + self.max_waiting
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Add the jobs of a request, all or none.
    pub fn push(&self, jobs: Vec<Job>) -> Result<(), ApiError> {
        let mut state = self.state();
        if state.draining || state.closed {
            return Err(ApiError::draining());
        }
        let jobs_after = state.running + state.waiting.len() + jobs.len();
        if jobs_after > self.capacity() {
            return Err(ApiError::busy());
        }
        state.waiting.extend(jobs);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Wait until there is a job for a thread, unless it has `rows`; whether to go on at all.
    pub fn wait(&self, rows: usize) -> bool {
        let mut state = self.state();
        while rows == 0 && !self.has_job(&state, rows) {
            if state.closed && state.waiting.is_empty() {
                return false;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// The job that has waited longest, for a thread with so many rows. Its prompt is to be released.
    pub fn pop(&self, rows: usize) -> Option<Job> {
        let mut state = self.state();
        if !self.has_job(&state, rows) {
            return None;
        }
        let first = state.waiting.iter().position(can_begin)?;
        let job = state.waiting.remove(first)?;
        job.prompt.begin();
        state.running += 1;
        job.answer.start();
        Some(job)
    }

    /// Whether a thread with so many rows is to take a job: each has its share.
    fn has_job(&self, state: &State, rows: usize) -> bool {
        let jobs = (state.running + state.waiting.len()).min(self.max_running);
        state.waiting.iter().any(can_begin)
            && state.running < self.max_running
            && rows < jobs.div_ceil(self.threads)
    }

    /// The prompt of a job that was taken is appended, or has failed: its other choices may begin.
    pub fn release(&self, prompt: &Prompt) {
        let state = self.state();
        prompt.release();
        drop(state);
        self.changed.notify_all();
    }

    /// A job that was taken has ended.
    pub fn ended(&self) {
        let mut state = self.state();
        state.running = state.running.saturating_sub(1);
        drop(state);
        self.changed.notify_all();
    }

    /// Free the places of waiting jobs whose clients are gone.
    pub fn remove_abandoned(&self) {
        let mut state = self.state();
        if !state.waiting.iter().any(|job| job.answer.is_abandoned()) {
            return;
        }
        let abandoned = state.take_waiting(|job| job.answer.is_abandoned());
        drop(state);
        let cancelled = abandoned.iter().filter(|job| job.answer.is_cancelled());
        let count = cancelled.count() as u64;
        drop(abandoned);
        self.metrics.cancelled.fetch_add(count, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Jobs that were taken and have not ended, and jobs that wait.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.running, state.waiting.len())
    }

    /// Refuse new requests and those that have not begun.
    pub fn drain(&self, end_at: Instant) {
        let mut state = self.state();
        state.draining = true;
        state.end_at = Some(end_at);
        let refused = state.take_waiting(|job| !job.answer.request_started());
        drop(state);
        for job in refused {
            job.answer.send(Event::Failed(ApiError::draining()));
        }
    }

    /// Whether running jobs are to end after the sentence they are at.
    pub fn is_over(&self) -> bool {
        self.state().end_at.is_some_and(|end| Instant::now() >= end)
    }

    /// End the scheduler when it has no job.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

/// Whether a job need not wait for another choice that appends its prompt.
fn can_begin(job: &Job) -> bool {
    !job.prompt.is_busy()
}
