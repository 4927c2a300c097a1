//! The version of the loaded library, which `ort` reads but does not expose.

use std::{ffi::CStr, path::Path};

use libloading::{Library, Symbol};
use ort::sys::OrtApiBase;

/// The version of the ONNX Runtime that is loaded from `path`, such as `1.31.1`; `None` if it has
/// none.
pub(super) fn version(path: &Path) -> Option<String> {
    // SAFETY: `ort` has loaded this file and never unloads it: it is opened once more, and none of
    // its initialisers runs again.
    let library = unsafe { Library::new(path) }.ok()?;
    // SAFETY: the type is that of ONNX Runtime's C interface, by which `ort` has called the same
    // function.
    let base: Symbol<'_, unsafe extern "C" fn() -> *const OrtApiBase> =
        unsafe { library.get(b"OrtGetApiBase\0") }.ok()?;
    // SAFETY: the function has no preconditions; what it returns is null or a static table.
    let base = unsafe { base().as_ref() }?;
    // SAFETY: the function has no preconditions.
    let text = unsafe { (base.GetVersionString)() };
    if text.is_null() {
        return None;
    }
    // SAFETY: it is a static C string of the library, which stays loaded.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().ok().map(ToOwned::to_owned)
}
