//! Bytes that a function returns.

use std::{ffi::c_char, ptr};

use crate::{
    pointers::{free, shared},
    status::value,
};

/// Bytes that a function has returned; a NUL follows them.
///
/// Threads: immutable, may be used by several threads at once.
pub struct SllmBuffer(Vec<u8>);

impl SllmBuffer {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let mut bytes = bytes.into();
        bytes.push(0);
        Self(bytes)
    }
}

/// The bytes, which stay valid until the buffer is freed; NULL for NULL.
///
/// For text: UTF-8, ended by a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_buffer_data(buffer: *const SllmBuffer) -> *const c_char {
    // SAFETY: the caller keeps to the rules of the header.
    let buffer = unsafe { shared(buffer, "buffer") };
    value(ptr::null(), || {
        buffer.map_or(ptr::null(), |buffer| buffer.0.as_ptr().cast())
    })
}

/// Number of bytes, without the NUL; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_buffer_length(buffer: *const SllmBuffer) -> usize {
    // SAFETY: the caller keeps to the rules of the header.
    let buffer = unsafe { shared(buffer, "buffer") };
    value(0, || buffer.map_or(0, |buffer| buffer.0.len() - 1))
}

/// Free a buffer. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_buffer_free(buffer: *mut SllmBuffer) {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { free(buffer) };
}
