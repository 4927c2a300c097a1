//! Status values of ONNX Runtime's C API.

use ort::sys::OrtStatusPtr;

/// The error that a status stands for.
///
/// # Safety
/// A function of ONNX Runtime has just returned `status`, and it is used once.
pub(super) unsafe fn check(status: OrtStatusPtr) -> ort::Result<()> {
    // SAFETY: the caller's promise.
    unsafe { ort::Error::result_from_status(status) }
}
