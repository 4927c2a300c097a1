//! Handles that cancel.

use sllm::CancelHandle;

use crate::{
    pointers::{free, make, shared},
    status::{SllmStatus, value},
};

/// Cancels generations and calls of sllm_session_append.
///
/// Threads: may be used by several threads at once.
pub struct SllmCancel(pub CancelHandle);

/// Make a handle that is not cancelled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_cancel_new(out: *mut *mut SllmCancel) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, || Ok(SllmCancel(CancelHandle::new()))) }
}

/// Cancel all present and later work that uses this handle. NULL is allowed.
///
/// A generation ends after its current graph run. May be called from any
/// thread, and in a signal handler: it stores one atomic flag.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_cancel(cancel: *const SllmCancel) {
    // SAFETY: the caller keeps to the rules of the header.
    if let Some(cancel) = unsafe { cancel.as_ref() } {
        cancel.0.cancel();
    }
}

/// Whether the handle was cancelled; false for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_cancel_is_set(cancel: *const SllmCancel) -> bool {
    // SAFETY: the caller keeps to the rules of the header.
    let cancel = unsafe { shared(cancel, "cancel") };
    value(false, || cancel.is_ok_and(|cancel| cancel.0.is_cancelled()))
}

/// Free a handle. NULL is allowed.
///
/// Options and calls that were given it keep what they need of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_cancel_free(cancel: *mut SllmCancel) {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { free(cancel) };
}
