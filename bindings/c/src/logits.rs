//! Logits, as a hook sees them.

use std::ffi::c_void;

use sllm::{Logits, LogitsHook};

use crate::{
    pointers::{exclusive, shared},
    status::value,
};

/// Logits of the next token: of the whole vocabulary, or of the best tokens.
///
/// Threads: used by the thread that runs the hook, until the hook returns.
pub struct SllmLogits<'l>(&'l mut Logits);

/// Changes the logits of the next token before it is chosen.
///
/// token_ids: the output tokens [token_count] of the sentence so far; NULL
/// if there are none.
/// logits: may be masked with negative infinity and changed, but not become
/// NaN or positive infinity, and not all be masked: that ends the generation
/// with INVALID_INPUT.
pub type SllmLogitsHook = Option<
    unsafe extern "C" fn(
        token_ids: *const u32,
        token_count: usize,
        logits: *mut SllmLogits,
        user: *mut c_void,
    ),
>;

/// A user pointer, which goes with options to the threads that use them.
struct User(*mut c_void);

// SAFETY: it is only handed to the caller's function, whose rules in the header say that both are
// used by every thread that generates with the options.
unsafe impl Send for User {}
// SAFETY: as above.
unsafe impl Sync for User {}

impl User {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

/// The hook that calls a function of the caller.
pub fn hook(
    function: unsafe extern "C" fn(*const u32, usize, *mut SllmLogits, *mut c_void),
    user: *mut c_void,
) -> LogitsHook {
    let user = User(user);
    LogitsHook::new(move |ids, logits| {
        let pointer = match ids.is_empty() {
            true => std::ptr::null(),
            false => ids.as_ptr(),
        };
        let mut logits = SllmLogits(logits);
        // SAFETY: the pointers are valid during the call, and the caller keeps to the rules of the
        // header.
        unsafe { function(pointer, ids.len(), &mut logits, user.get()) };
    })
}

/// Number of logits; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_logits_count(logits: *const SllmLogits) -> usize {
    // SAFETY: the caller keeps to the rules of the header.
    let logits = unsafe { shared(logits, "logits") };
    value(0, || logits.map_or(0, |logits| logits.0.values().len()))
}

/// Token id of the logit with this index; UINT32_MAX if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_logits_id(logits: *const SllmLogits, index: usize) -> u32 {
    // SAFETY: the caller keeps to the rules of the header.
    let logits = unsafe { shared(logits, "logits") };
    value(u32::MAX, || match logits {
        Ok(SllmLogits(logits)) if index < logits.values().len() => match logits.ids() {
            [] => u32::try_from(index).unwrap_or(u32::MAX),
            ids => ids.get(index).copied().unwrap_or(u32::MAX),
        },
        _ => u32::MAX,
    })
}

/// Value of the logit with this index; NaN if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_logits_value(logits: *const SllmLogits, index: usize) -> f32 {
    // SAFETY: the caller keeps to the rules of the header.
    let logits = unsafe { shared(logits, "logits") };
    value(f32::NAN, || {
        let value = logits.ok().and_then(|logits| logits.0.values().get(index));
        value.copied().unwrap_or(f32::NAN)
    })
}

/// Set the logit of a token. Returns false if the token is not among them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_logits_set(
    logits: *mut SllmLogits,
    token_id: u32,
    logit: f32,
) -> bool {
    // SAFETY: the caller keeps to the rules of the header.
    let logits = unsafe { exclusive(logits, "logits") };
    value(false, || {
        let place = logits.ok().and_then(|logits| logits.0.logit_mut(token_id));
        place.map(|place| *place = logit).is_some()
    })
}
