//! Cancellation of continuations.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Cancels the continuations that were given this handle, from any thread.
///
/// Clones are the same handle.
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

    /// A child handle: it is cancelled with this one, and can be cancelled alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            cancelled: Arc::default(),
            parent: Some(Arc::new(self.clone())),
        }
    }

    /// Cancel the continuations.
    ///
    /// Each ends after its current graph run, with
    /// [`FinishReason::Cancelled`](crate::FinishReason::Cancelled). The handle stays cancelled.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the handle was cancelled.
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
