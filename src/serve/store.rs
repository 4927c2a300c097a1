//! Contexts that stay between requests.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
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
    /// Bytes of the snapshots that are being restored.
    restoring: AtomicUsize,
    ttl: Duration,
    max_bytes: usize,
}

struct Entry {
    origin: Origin,
    /// `None` while a request uses it.
    session: Option<Session>,
    /// The session when it was put here last.
    description: Arc<Description>,
    used: Instant,
}

/// What is told of a session.
#[derive(Debug)]
pub struct Description {
    pub model: String,
    /// The texts of its sentences.
    pub sentences: Vec<String>,
    pub tokens: usize,
    pub remaining: usize,
    /// Memory of its KV cache.
    pub memory_bytes: usize,
    /// Its whole memory: caches, sentence vectors, and the text here and in the session.
    bytes: usize,
}

impl Description {
    pub fn of(session: &Session) -> Self {
        let config = session.model().config();
        let memory_bytes = session.memory_bytes();
        let vectors = session.len() * config.hidden_size * size_of::<f32>();
        let text: usize = session.sentences().map(str::len).sum();
        Self {
            model: config.name.clone(),
            sentences: session.sentences().map(ToOwned::to_owned).collect(),
            tokens: session.tokens(),
            remaining: session.remaining(),
            memory_bytes,
            bytes: memory_bytes + vectors + 2 * text,
        }
    }
}

impl Store {
    pub fn new(ttl: Duration, max_bytes: usize) -> Self {
        Self {
            entries: Mutex::default(),
            restoring: AtomicUsize::new(0),
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

    /// Drop the sessions whose time is over.
    pub fn drop_expired(&self) {
        drop(self.entries());
    }

    /// Number of sessions, and their memory in bytes.
    pub fn totals(&self) -> (usize, usize) {
        let entries = self.entries();
        (entries.len(), total_bytes(&entries))
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
        let bytes = self.entries().get(id).map(|entry| entry.description.bytes);
        self.check_size(2 * bytes.ok_or_else(|| ApiError::no_session(id))?)
    }

    /// What a session is, and whether a request uses it: then it is described as it was before.
    pub fn describe(&self, id: &str) -> Result<(Arc<Description>, bool), ApiError> {
        let mut entries = self.entries();
        let entry = entries
            .get_mut(id)
            .ok_or_else(|| ApiError::no_session(id))?;
        entry.used = Instant::now();
        Ok((Arc::clone(&entry.description), entry.session.is_none()))
    }

    /// Counts the bytes of a snapshot while it is restored.
    pub fn restore(self: &Arc<Self>) -> Restored {
        Restored {
            store: Arc::clone(self),
            bytes: 0,
        }
    }

    /// Refuse what would not fit if there was nothing else.
    fn check_size(&self, bytes: usize) -> Result<(), ApiError> {
        match bytes <= self.max_bytes {
            true => Ok(()),
            false => Err(ApiError::session_too_large(bytes, self.max_bytes)),
        }
    }

    /// Take a new session.
    pub fn insert(
        self: &Arc<Self>,
        session: Session,
        origin: Origin,
    ) -> Result<Unclaimed, ApiError> {
        let id = format!("sess-{:032x}", rand::random::<u128>());
        let description = Arc::new(Description::of(&session));
        let bytes = description.bytes;
        self.check_size(bytes)?;
        let mut entries = self.entries();
        if entries.len() >= MAX_SESSIONS {
            return Err(ApiError::too_many_sessions(MAX_SESSIONS));
        }
        if total_bytes(&entries) + bytes > self.max_bytes {
            return Err(ApiError::session_memory(self.max_bytes));
        }
        let entry = Entry {
            origin,
            session: Some(session),
            description: Arc::clone(&description),
            used: Instant::now(),
        };
        entries.insert(id.clone(), entry);
        Ok(Unclaimed {
            store: Arc::clone(self),
            id,
            description,
            is_claimed: false,
        })
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
            model: entry.description.model.clone(),
            origin: entry.origin,
            session: Some(session),
            is_over: false,
        })
    }

    /// Forget a session; one that is in use is dropped afterwards.
    pub fn remove(&self, id: &str) -> Result<(), ApiError> {
        let removed = self.entries().remove(id);
        removed.map(drop).ok_or_else(|| ApiError::no_session(id))
    }

    /// Describe a session, and keep it unless it was removed.
    fn put_back(&self, id: &str, session: Session) -> Arc<Description> {
        let description = Arc::new(Description::of(&session));
        if let Some(entry) = self.entries().get_mut(id) {
            entry.description = Arc::clone(&description);
            entry.used = Instant::now();
            entry.session = Some(session);
        }
        description
    }
}

/// Memory of all sessions.
fn total_bytes(entries: &HashMap<String, Entry>) -> usize {
    entries.values().map(|entry| entry.description.bytes).sum()
}

/// The bytes of a snapshot that is being restored.
pub struct Restored {
    store: Arc<Store>,
    bytes: usize,
}

impl Restored {
    /// Count more bytes; refuse those that do not fit beside the sessions and other snapshots.
    pub fn add(&mut self, bytes: usize) -> Result<(), ApiError> {
        let entries = self.store.entries();
        let others = self.store.restoring.load(Ordering::Relaxed);
        if total_bytes(&entries) + others + bytes > self.store.max_bytes {
            return Err(ApiError::session_memory(self.store.max_bytes));
        }
        self.store.restoring.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        self.store
            .restoring
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A new session, whose id no client knows yet. Dropped before it is claimed, it is forgotten: its
/// client is gone, or gets an error.
pub struct Unclaimed {
    store: Arc<Store>,
    id: String,
    description: Arc<Description>,
    is_claimed: bool,
}

impl Unclaimed {
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The answer with its id is made.
    pub fn claim(mut self) {
        self.is_claimed = true;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if !self.is_claimed {
            let _ = self.store.remove(&self.id);
        }
    }
}

/// A session that a request uses. Dropped, it goes back; without its session it is forgotten.
pub struct Lease {
    store: Arc<Store>,
    id: String,
    model: String,
    origin: Origin,
    session: Option<Session>,
    is_over: bool,
}

impl Lease {
    pub fn model(&self) -> &str {
        &self.model
    }

    pub fn origin(&self) -> Origin {
        self.origin
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

    /// Put the session back; returns what it is now.
    pub fn give_back(mut self, session: Session) -> Arc<Description> {
        self.is_over = true;
        self.store.put_back(&self.id, session)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.session.take() {
            _ if self.is_over => {}
            Some(session) => drop(self.store.put_back(&self.id, session)),
            // It was lost in a panic.
            None => {
                let _ = self.store.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_that_are_restored_share_the_memory() {
        let store = Arc::new(Store::new(Duration::MAX, 100));
        let mut first = store.restore();
        assert!(first.add(60).is_ok());
        let mut second = store.restore();
        assert!(second.add(40).is_ok());
        assert_eq!(second.add(1).unwrap_err().status().as_u16(), 429);
        drop(first);
        assert!(second.add(60).is_ok());
    }
}
