//! Cancellation and time limit of a continuation.

use std::time::{Duration, Instant};

use super::{FinishReason, GenerateOptions};
use crate::cancel::CancelHandle;

/// A cancel handle and a time limit.
pub(super) struct Limits {
    cancel: Option<CancelHandle>,
    started: Instant,
    time_limit: Option<Duration>,
}

impl Limits {
    /// The time counts from now.
    pub fn new(options: &GenerateOptions) -> Self {
        Self {
            cancel: options.cancel.clone(),
            started: Instant::now(),
            time_limit: options.time_limit,
        }
    }

    /// Why no further graph may be run.
    pub fn reached(&self) -> Option<FinishReason> {
        if self.cancel.as_ref().is_some_and(CancelHandle::is_cancelled) {
            return Some(FinishReason::Cancelled);
        }
        let late = |limit| self.started.elapsed() >= limit;
        self.time_limit
            .is_some_and(late)
            .then_some(FinishReason::TimeLimit)
    }
}
