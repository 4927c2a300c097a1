//! Versions, and the ONNX Runtime library.

use std::ffi::{CStr, c_char};

use crate::{
    buffer::SllmBuffer,
    pointers::{make, optional_text},
    status::{Failure, SllmStatus, run},
};

/// Major version of this header.
pub const SLLM_VERSION_MAJOR: u32 = 0;
/// Minor version of this header.
pub const SLLM_VERSION_MINOR: u32 = 2;
/// Patch version of this header.
pub const SLLM_VERSION_PATCH: u32 = 0;

// They are those of the package. The header needs them as numbers.
const _: () = assert!(
    is(env!("CARGO_PKG_VERSION_MAJOR"), SLLM_VERSION_MAJOR)
        && is(env!("CARGO_PKG_VERSION_MINOR"), SLLM_VERSION_MINOR)
        && is(env!("CARGO_PKG_VERSION_PATCH"), SLLM_VERSION_PATCH)
);

const fn is(text: &str, number: u32) -> bool {
    matches!(u32::from_str_radix(text, 10), Ok(found) if found == number)
}

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };

/// Version of the library, such as "0.2.0".
///
/// A static string. While the major version is 0, a program works with the
/// minor version that it was compiled with.
#[unsafe(no_mangle)]
pub extern "C" fn sllm_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Load ONNX Runtime, as the first sllm_model_load does.
///
/// path: the library or its folder; NULL to search it (docs/c.md). A
/// process uses one library.
///
/// Errors: RUNTIME if none can be loaded, or if another one is loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_onnxruntime(path: *const c_char) -> SllmStatus {
    run(|| {
        // SAFETY: the caller keeps to the rules of the header.
        let path = unsafe { optional_text(path, "path") }?;
        sllm::load_library(path.map(AsRef::as_ref))?;
        Ok(())
    })
}

/// Describe the loaded ONNX Runtime as JSON: path, version, build.
///
/// out: a buffer to free with sllm_buffer_free.
///
/// Errors: RUNTIME if none is loaded yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_onnxruntime_info(out: *mut *mut SllmBuffer) -> SllmStatus {
    let work = || {
        let info = info().ok_or_else(|| {
            let message = "ONNX Runtime is not loaded: call sllm_load_onnxruntime first";
            Failure::new(SllmStatus::Runtime, message)
        })?;
        Ok(SllmBuffer::new(info.to_string()))
    };
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, work) }
}

/// The loaded library as JSON.
pub fn info() -> Option<serde_json::Value> {
    sllm::library_info().map(|library| {
        serde_json::json!({
            "path": library.path.display().to_string(),
            "version": library.version,
            "build": library.build,
        })
    })
}
