//! The jobs that wait for a scheduler.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    error::ApiError,
    job::{Event, Job},
};

/// A bounded queue: first in, first out.
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    max_running: usize,
    max_waiting: usize,
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

impl Queue {
    pub fn new(max_running: usize, max_waiting: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            max_running,
            max_waiting,
        }
    }

    pub fn max_running(&self) -> usize {
        self.max_running
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
        if jobs_after > self.max_running + self.max_waiting {
            return Err(ApiError::busy());
        }
        state.waiting.extend(jobs);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Wait until there is a job, unless there are `rows`; whether to go on at all.
    pub fn wait(&self, rows: usize) -> bool {
        let mut state = self.state();
        while rows == 0 && state.waiting.is_empty() {
            if state.closed {
                return false;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// The job that has waited longest.
    pub fn pop(&self) -> Option<Job> {
        let mut state = self.state();
        let job = state.waiting.pop_front()?;
        state.running += 1;
        job.answer.start();
        Some(job)
    }

    /// A job that was taken has ended.
    pub fn ended(&self) {
        let mut state = self.state();
        state.running = state.running.saturating_sub(1);
    }

    /// Jobs that run and jobs that wait.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.running, state.waiting.len())
    }

    /// Refuse new requests and those that have not begun.
    pub fn drain(&self, end_at: Instant) {
        let mut state = self.state();
        state.draining = true;
        state.end_at = Some(end_at);
        let waiting = std::mem::take(&mut state.waiting);
        let (kept, refused): (VecDeque<_>, VecDeque<_>) = waiting
            .into_iter()
            .partition(|job| job.answer.request_started());
        state.waiting = kept;
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
