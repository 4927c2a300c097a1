//! Contexts that stay between requests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sllm_ort::Session;

use super::error::ApiError;

/// Most sessions, whatever their memory.
const MAX_SESSIONS: usize = 4096;

/// Where the values of a session come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The graphs of a model.
    Model,
    /// A client's snapshot, of the session or of one that it was forked from.
    Snapshot,
}

/// The sessions of all models. Each lives until it was not used for the time to live.
pub struct Store {
    entries: Mutex<HashMap<String, Entry>>,
    ttl: Duration,
    max_bytes: usize,
}

struct Entry {
    model: String,
    origin: Origin,
    /// `None` while a request uses it.
    session: Option<Session>,
    used: Instant,
    bytes: usize,
}

impl Store {
    pub fn new(ttl: Duration, max_bytes: usize) -> Self {
        Self {
            entries: Mutex::default(),
            ttl,
            max_bytes,
        }
    }

    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The sessions, without those whose time is over.
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| entry.session.is_none() || entry.used.elapsed() < self.ttl);
        entries
    }

    /// Number of sessions, and their memory in bytes.
    pub fn totals(&self) -> (usize, usize) {
        let entries = self.entries();
        (
            entries.len(),
            entries.values().map(|entry| entry.bytes).sum(),
        )
    }

    /// Refuse a request that makes a session longer, or a new one, where there is no memory for it.
    pub fn check_memory(&self) -> Result<(), ApiError> {
        match self.totals().1 < self.max_bytes {
            true => Ok(()),
            false => Err(ApiError::session_memory(self.max_bytes)),
        }
    }

    /// Refuse to copy a session that would not fit beside its copy.
    pub fn check_copy(&self, id: &str) -> Result<(), ApiError> {
        let bytes = self.entries().get(id).map(|entry| entry.bytes);
        self.check_size(2 * bytes.ok_or_else(|| ApiError::no_session(id))?)
    }

    /// Refuse what would not fit if there was nothing else.
    fn check_size(&self, bytes: usize) -> Result<(), ApiError> {
        match bytes <= self.max_bytes {
            true => Ok(()),
            false => Err(ApiError::session_too_large(bytes, self.max_bytes)),
        }
    }

    /// Keep a new session; returns its id.
    pub fn insert(&self, session: Session, origin: Origin) -> Result<String, ApiError> {
        let id = format!("sess-{:032x}", rand::random::<u128>());
        let bytes = bytes_of(&session);
        self.check_size(bytes)?;
        let mut entries = self.entries();
        if entries.len() >= MAX_SESSIONS {
            return Err(ApiError::too_many_sessions(MAX_SESSIONS));
        }
        let total: usize = entries.values().map(|entry| entry.bytes).sum();
        if total + bytes > self.max_bytes {
            return Err(ApiError::session_memory(self.max_bytes));
        }
        let entry = Entry {
            model: session.model().config().name.clone(),
            origin,
            session: Some(session),
            used: Instant::now(),
            bytes,
        };
        entries.insert(id.clone(), entry);
        Ok(id)
    }

    /// Take a session, which no other request can use until the lease is over.
    pub fn lease(self: &Arc<Self>, id: &str) -> Result<Lease, ApiError> {
        let mut entries = self.entries();
        let entry = entries
            .get_mut(id)
            .ok_or_else(|| ApiError::no_session(id))?;
        let session = entry.session.take().ok_or_else(ApiError::session_busy)?;
        Ok(Lease {
            store: Arc::clone(self),
            id: id.to_owned(),
            model: entry.model.clone(),
            origin: entry.origin,
            session: Some(session),
        })
    }

    /// Forget a session; one that is in use is dropped afterwards.
    pub fn remove(&self, id: &str) -> Result<(), ApiError> {
        let removed = self.entries().remove(id);
        removed.map(drop).ok_or_else(|| ApiError::no_session(id))
    }

    fn put_back(&self, id: &str, session: Session) {
        if let Some(entry) = self.entries().get_mut(id) {
            entry.bytes = bytes_of(&session);
            entry.used = Instant::now();
            entry.session = Some(session);
        }
    }
}

/// Memory of a session: its caches, sentence vectors and text.
fn bytes_of(session: &Session) -> usize {
    let vectors = session.len() * session.model().config().hidden_size * size_of::<f32>();
    let text: usize = session.sentences().map(str::len).sum();
    session.memory_bytes() + vectors + text
}

/// A session that a request uses. Dropped, it goes back; without its session it is forgotten.
pub struct Lease {
    store: Arc<Store>,
    id: String,
    model: String,
    origin: Origin,
    session: Option<Session>,
}

impl Lease {
    pub fn model(&self) -> &str {
        &self.model
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    pub fn session_mut(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// The session, to be put back.
    pub fn take(&mut self) -> Option<Session> {
        self.session.take()
    }

    pub fn put(&mut self, session: Session) {
        self.session = Some(session);
    }

    pub fn give_back(mut self, session: Session) {
        self.session = Some(session);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.session.take() {
            Some(session) => self.store.put_back(&self.id, session),
            // It was lost in a panic.
            None => {
                let _ = self.store.remove(&self.id);
            }
        }
    }
}
