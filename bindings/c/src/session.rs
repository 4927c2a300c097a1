//! Sessions: contexts that grow.

use std::{
    ffi::c_char,
    sync::{Mutex, PoisonError},
};

use sllm::Session;

use crate::{
    buffer::SllmBuffer,
    cancel::SllmCancel,
    model::SllmModel,
    pointers::{free, give, make, put, shared, text},
    status::{Failure, SllmStatus, run},
    texts::SllmTexts,
};

/// A context that grows: a prompt and generated sentences.
///
/// Threads: used by one thread at a time, by any. A use while another call
/// uses it, also from a callback of that call, returns BUSY.
pub struct SllmSession {
    /// Nothing while a call uses the session. Locked for the time of a move only.
    slot: Mutex<Option<Session>>,
}

impl From<Session> for SllmSession {
    fn from(session: Session) -> Self {
        Self {
            slot: Mutex::new(Some(session)),
        }
    }
}

impl SllmSession {
    /// Take the session out, to use it.
    pub fn take(&self) -> Result<Lease<'_>, Failure> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.take() {
            Some(session) => Ok(Lease {
                handle: self,
                session: Some(session),
            }),
            None => Err(busy()),
        }
    }

    /// Put the session back.
    pub fn put(&self, session: Session) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }
}

fn busy() -> Failure {
    let message = "the session is in use: use it when the call that uses it has returned";
    Failure::new(SllmStatus::Busy, message)
}

/// A session in use, which goes back to its handle in the end.
pub struct Lease<'h> {
    pub handle: &'h SllmSession,
    /// `None` once it was taken.
    session: Option<Session>,
}

impl Lease<'_> {
    pub fn session(&mut self) -> Result<&mut Session, Failure> {
        self.session.as_mut().ok_or_else(busy)
    }

    /// The session, which is to be put back into the handle.
    pub fn take(&mut self) -> Option<Session> {
        self.session.take()
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.handle.put(session);
        }
    }
}

/// Use a session.
///
/// # Safety
/// As [`shared`].
pub unsafe fn with<T>(
    session: *const SllmSession,
    work: impl FnOnce(&mut Session) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // SAFETY: the same rule.
    let mut lease = unsafe { shared(session, "session") }?.take()?;
    work(lease.session()?)
}

/// What sllm_session_append added to the context.
#[repr(C)]
pub struct SllmAppended {
    /// Sentences that were added to the context.
    pub sentences: usize,
    /// How many of them were truncated by the bundle's segmentation.
    pub truncated: usize,
    /// Bytes at the end of the text that the bundle's segmentation dropped.
    pub dropped_bytes: usize,
}

/// How much a session holds.
#[repr(C)]
pub struct SllmSessionSize {
    /// Sentences of the context.
    pub sentences: usize,
    /// Tokens of the context, bos included.
    pub tokens: usize,
    /// How many more sentences (in kind "opt" tokens) the context can hold.
    pub remaining: usize,
    /// Memory of the KV cache, in bytes.
    pub memory_bytes: usize,
}

/// Make a session with an empty context.
///
/// out: a session to free with sllm_session_free.
///
/// Errors: UNSUPPORTED for a model of kind "svae".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_new(
    model: *const SllmModel,
    out: *mut *mut SllmSession,
) -> SllmStatus {
    let work = || {
        // SAFETY: the caller keeps to the rules of the header.
        let SllmModel(model) = unsafe { shared(model, "model") }?;
        Ok(model.session()?.into())
    };
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, work) }
}

/// Free a session. NULL is allowed; a session in use is not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_free(session: *mut SllmSession) {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { free(session) };
}

/// Cut a text into sentences and append them.
///
/// The end of the text ends a sentence.
///
/// cancel: stops the call when cancelled; NULL for none.
/// appended: gets what was appended; NULL is allowed.
///
/// Errors: TOO_LONG if the text does not fit, CANCELLED, INVALID_INPUT,
/// MODEL. The context is then as it was before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_append(
    session: *mut SllmSession,
    text: *const c_char,
    cancel: *const SllmCancel,
    appended: *mut SllmAppended,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    run(|| unsafe {
        let text = self::text(text, "text")?;
        let cancel = cancel.as_ref().map(|SllmCancel(cancel)| cancel.clone());
        let result = with(session, |session| {
            Ok(match &cancel {
                Some(cancel) => session.append_cancellable(text, cancel)?,
                None => session.append(text)?,
            })
        })?;
        let result = SllmAppended {
            sentences: result.sentences,
            truncated: result.truncated,
            dropped_bytes: result.dropped.len(),
        };
        put(appended, result);
        Ok(())
    })
}

/// Make a separate session with the same context.
///
/// out: a session to free with sllm_session_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_fork(
    session: *const SllmSession,
    out: *mut *mut SllmSession,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, || with(session, |session| Ok(session.fork()?.into()))) }
}

/// Remove the last sentences, or all if there are fewer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_rewind(
    session: *mut SllmSession,
    sentences: usize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    run(|| unsafe { with(session, |session| Ok(session.rewind(sentences)?)) })
}

/// Remove the first sentences, or all if there are fewer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_drop_oldest(
    session: *mut SllmSession,
    sentences: usize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    run(|| unsafe { with(session, |session| Ok(session.drop_oldest(sentences)?)) })
}

/// Remove the whole context, and release its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_clear(session: *mut SllmSession) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    run(|| unsafe { with(session, |session| Ok(session.clear()?)) })
}

/// Get the text of the context: all that was appended and generated.
///
/// out: a buffer to free with sllm_buffer_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_text(
    session: *const SllmSession,
    out: *mut *mut SllmBuffer,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        make(out, || {
            with(session, |session| Ok(SllmBuffer::new(session.text())))
        })
    }
}

/// Get the texts of the sentences of the context, without token ids.
///
/// out: a list to free with sllm_texts_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_sentences(
    session: *const SllmSession,
    out: *mut *mut SllmTexts,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        make(out, || {
            with(session, |session| {
                let sentences = session.sentences();
                Ok(sentences
                    .map(|text| (text.to_owned(), Vec::new(), false))
                    .collect())
            })
        })
    }
}

/// Get how much a session holds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_size(
    session: *const SllmSession,
    size: *mut SllmSessionSize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    run(|| unsafe {
        with(session, |session| {
            let found = SllmSessionSize {
                sentences: session.len(),
                tokens: session.tokens(),
                remaining: session.remaining(),
                memory_bytes: session.memory_bytes(),
            };
            give(size, "size", found)
        })
    })
}
