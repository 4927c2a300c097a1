//! One use of a session at a time.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::PyResult;

use crate::errors::busy;

/// Where a session is while nothing uses it. Locked for the time of a move only.
#[derive(Clone)]
pub struct Slot(Arc<Mutex<Option<sllm_ort::Session>>>);

impl Slot {
    pub fn new(session: sllm_ort::Session) -> Self {
        Self(Arc::new(Mutex::new(Some(session))))
    }

    /// Take the session out, to use it.
    ///
    /// # Errors
    /// `BusyError` if it is in use.
    pub fn take(&self) -> PyResult<Lease> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = place.take().ok_or_else(|| busy("session"))?;
        Ok(Lease {
            slot: self.clone(),
            session: Some(session),
        })
    }

    /// Put the session back.
    pub fn put(&self, session: sllm_ort::Session) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }
}

/// A session in use, which goes back to its slot in the end.
pub struct Lease {
    slot: Slot,
    /// `None` once the lease has ended.
    session: Option<sllm_ort::Session>,
}

impl Lease {
    /// The session. It is there until the lease ends.
    pub fn session(&mut self) -> PyResult<&mut sllm_ort::Session> {
        self.session.as_mut().ok_or_else(|| busy("session"))
    }

    /// The session, which is to be put back into the slot.
    pub fn into_parts(mut self) -> Option<(Slot, sllm_ort::Session)> {
        let session = self.session.take()?;
        Some((self.slot.clone(), session))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.slot.put(session);
        }
    }
}
