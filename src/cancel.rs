//! Ending a continuation from elsewhere.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Ends the continuations that were given it, from any thread; clones are the same handle.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle {
    cancelled: Arc<AtomicBool>,
}

impl CancelHandle {
    /// A handle that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// End the continuations: each after the run of a graph that it is in, at
    /// [`FinishReason::Cancelled`](crate::FinishReason::Cancelled). It stays cancelled.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}
