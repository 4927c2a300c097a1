//! Ending a continuation from elsewhere.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Ends the continuations that were given it, from any thread; clones are the same handle.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle {
    cancelled: Arc<AtomicBool>,
    parent: Option<Arc<CancelHandle>>,
}

impl CancelHandle {
    /// A handle that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle that is cancelled with this one, and can be cancelled alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            cancelled: Arc::default(),
            parent: Some(Arc::new(self.clone())),
        }
    }

    /// End the continuations: each after the run of a graph that it is in, at
    /// [`FinishReason::Cancelled`](crate::FinishReason::Cancelled). It stays cancelled.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let parent = self.parent.as_deref();
        self.cancelled.load(Ordering::Relaxed) || parent.is_some_and(Self::is_cancelled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_cancelled_with_its_parent_and_alone() {
        let parent = CancelHandle::new();
        let (one, other) = (parent.child(), parent.child());
        one.cancel();
        assert!(one.clone().is_cancelled());
        assert!(!parent.is_cancelled() && !other.is_cancelled());
        parent.cancel();
        assert!(other.child().is_cancelled());
    }
}
