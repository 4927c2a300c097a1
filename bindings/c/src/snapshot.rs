//! Snapshots of sessions: files and bytes.

use std::ffi::c_char;

use sllm::Session;

use crate::{
    buffer::SllmBuffer,
    model::SllmModel,
    pointers::{array, make, path, shared},
    session::{SllmSession, with},
    status::{SllmStatus, run},
};

/// Write a snapshot of a session to a file, whole or not at all.
///
/// Errors: IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_save(
    session: *const SllmSession,
    path: *const c_char,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    run(|| unsafe {
        let path = self::path(path, "path")?;
        with(session, |session| Ok(session.save(path)?))
    })
}

/// Restore a session from a file that sllm_session_save wrote.
///
/// out: a session to free with sllm_session_free.
///
/// Errors: INVALID_FILE if it is no snapshot or of another model, IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_load(
    model: *const SllmModel,
    path: *const c_char,
    out: *mut *mut SllmSession,
) -> SllmStatus {
    let work = || {
        // SAFETY: the caller keeps to the rules of the header.
        let (SllmModel(model), path) =
            unsafe { (shared(model, "model")?, self::path(path, "path")?) };
        Ok(Session::load(model, path)?.into())
    };
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, work) }
}

/// Get a snapshot of a session as bytes.
///
/// out: a buffer to free with sllm_buffer_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_to_bytes(
    session: *const SllmSession,
    out: *mut *mut SllmBuffer,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        make(out, || {
            with(session, |session| Ok(SllmBuffer::new(session.to_bytes()?)))
        })
    }
}

/// Restore a session from the bytes that sllm_session_to_bytes returned.
///
/// data: bytes [length].
/// out: a session to free with sllm_session_free.
///
/// Errors: INVALID_FILE if it is no snapshot or of another model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_from_bytes(
    model: *const SllmModel,
    data: *const c_char,
    length: usize,
    out: *mut *mut SllmSession,
) -> SllmStatus {
    let work = || {
        // SAFETY: the caller keeps to the rules of the header.
        let (SllmModel(model), data) = unsafe {
            (
                shared(model, "model")?,
                array(data.cast::<u8>(), length, "data")?,
            )
        };
        Ok(Session::from_bytes(model, data)?.into())
    };
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, work) }
}
