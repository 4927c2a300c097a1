//! Status codes, and the message of the last error.

use std::{
    any::Any,
    borrow::Cow,
    cell::RefCell,
    error::Error as _,
    ffi::{CStr, CString, c_char},
    panic::{AssertUnwindSafe, catch_unwind},
};

use sllm::{Error, ErrorKind};

/// What a function returns.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SllmStatus {
    /// Success.
    Ok = 0,
    /// A file could not be read or written.
    Io = 1,
    /// An argument, option or text is not allowed.
    InvalidInput = 2,
    /// Text or context is longer than the model or the library allows.
    TooLong = 3,
    /// A bundle, a snapshot or another file is missing or damaged, or of another version.
    InvalidFile = 4,
    /// The model's kind or variant does not support this.
    Unsupported = 5,
    /// ONNX Runtime or an execution provider is missing, or does not start.
    Runtime = 6,
    /// A graph failed, or its output is invalid.
    Model = 7,
    /// The work was cancelled.
    Cancelled = 8,
    /// A pointer that must not be NULL is NULL.
    NullPointer = 9,
    /// A string is not UTF-8.
    InvalidUtf8 = 10,
    /// The session is in use: by another thread, or by the call whose callback this is.
    Busy = 11,
    /// The library has a bug. The handles of the call can still be used and freed.
    Internal = 12,
    /// An error of a kind that this version has no code for.
    Other = 13,
}

/// Why a function failed.
#[derive(Debug)]
pub struct Failure {
    pub status: SllmStatus,
    pub message: String,
}

/// Options whose name differs from that of the command line.
const OPTIONS: [(&str, &str); 3] = [
    ("spin", "spinning"),
    ("when-full", "overflow"),
    ("gpu-memory", "memory_limit"),
];

impl Failure {
    pub fn new(status: SllmStatus, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// An argument that is not allowed.
    pub fn refused(option: &str, value: impl ToString, allowed: &str) -> Self {
        let message = format!("{option} is {}, allowed is {allowed}", value.to_string());
        Self::new(SllmStatus::InvalidInput, message)
    }

    /// The failure of the row of a batch.
    pub fn of_row(self, row: usize) -> Self {
        let message = format!("session {row} of the batch: {}", self.message);
        Self::new(self.status, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Io => SllmStatus::Io,
            ErrorKind::InvalidInput => SllmStatus::InvalidInput,
            ErrorKind::TooLong => SllmStatus::TooLong,
            ErrorKind::InvalidFile => SllmStatus::InvalidFile,
            ErrorKind::Unsupported => SllmStatus::Unsupported,
            ErrorKind::Runtime => SllmStatus::Runtime,
            ErrorKind::Model => SllmStatus::Model,
            ErrorKind::Cancelled => SllmStatus::Cancelled,
            _ => SllmStatus::Other,
        };
        Self::new(status, message(&error))
    }
}

/// What failed, and its first cause.
fn message(error: &Error) -> String {
    match error {
        Error::Shared(error) => message(error),
        Error::InvalidOption {
            option,
            value,
            allowed,
        } => {
            let renamed = OPTIONS.iter().find(|(name, _)| name == option);
            let option = renamed.map_or_else(|| option.replace('-', "_"), |(_, o)| (*o).to_owned());
            format!("{option} is {value}, allowed is {allowed}")
        }
        error => match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Keep the message for `sllm_last_error`; returns the status.
fn record(failure: &Failure) -> SllmStatus {
    let message = failure.message.replace('\0', "\u{fffd}");
    let message = message.replace(['\n', '\r'], " ");
    let message = CString::new(message).unwrap_or_default();
    // A thread that ends has no last error.
    let _ = LAST_ERROR.try_with(|last| last.replace(message));
    failure.status
}

/// Do the work of a function. A panic ends here.
pub fn run(work: impl FnOnce() -> Result<(), Failure>) -> SllmStatus {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => SllmStatus::Ok,
        Ok(Err(failure)) => record(&failure),
        Err(panic) => record(&internal(&*panic)),
    }
}

/// The value of a function that has no status; `fallback` after a panic.
pub fn value<T>(fallback: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(fallback)
}

fn internal(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().map(Cow::from);
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| Cow::from(*text)));
    let text = text.unwrap_or_default();
    Failure::new(SllmStatus::Internal, format!("internal error: {text}"))
}

/// Message of the last call that failed on this thread, "" if none has.
///
/// UTF-8, one line. It stays valid until the next call fails on this
/// thread, or the thread ends.
#[unsafe(no_mangle)]
pub extern "C" fn sllm_last_error() -> *const c_char {
    let pointer = LAST_ERROR.try_with(|last| last.borrow().as_ptr());
    pointer.unwrap_or(c"".as_ptr())
}

/// Name of a status, such as "invalid_input"; "unknown" for another number.
///
/// A static string.
#[unsafe(no_mangle)]
pub extern "C" fn sllm_status_name(status: i32) -> *const c_char {
    const NAMES: [(SllmStatus, &CStr); 14] = [
        (SllmStatus::Ok, c"ok"),
        (SllmStatus::Io, c"io"),
        (SllmStatus::InvalidInput, c"invalid_input"),
        (SllmStatus::TooLong, c"too_long"),
        (SllmStatus::InvalidFile, c"invalid_file"),
        (SllmStatus::Unsupported, c"unsupported"),
        (SllmStatus::Runtime, c"runtime"),
        (SllmStatus::Model, c"model"),
        (SllmStatus::Cancelled, c"cancelled"),
        (SllmStatus::NullPointer, c"null_pointer"),
        (SllmStatus::InvalidUtf8, c"invalid_utf8"),
        (SllmStatus::Busy, c"busy"),
        (SllmStatus::Internal, c"internal"),
        (SllmStatus::Other, c"other"),
    ];
    let name = NAMES.iter().find(|(known, _)| *known as i32 == status);
    name.map_or(c"unknown", |(_, name)| *name).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_error() -> String {
        // SAFETY: it is a string that stays until the next call fails.
        let text = unsafe { CStr::from_ptr(sllm_last_error()) };
        text.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_is_an_internal_error() {
        assert_eq!(run(|| panic!("row {}", 3)), SllmStatus::Internal);
        assert_eq!(last_error(), "internal error: row 3");
        assert_eq!(value(7, || panic!("no value")), 7);
    }

    #[test]
    fn an_error_is_of_its_thread() {
        let failure = || Err(Failure::new(SllmStatus::Busy, "a\0b"));
        assert_eq!(run(failure), SllmStatus::Busy);
        assert_eq!(last_error(), "a\u{fffd}b");
        std::thread::spawn(|| assert_eq!(last_error(), ""))
            .join()
            .unwrap();
        assert_eq!(run(|| Ok(())), SllmStatus::Ok);
        assert_eq!(last_error(), "a\u{fffd}b");
    }

    #[test]
    fn options_have_the_names_of_the_header() {
        let error = Error::InvalidOption {
            option: "when-full",
            value: "x".into(),
            allowed: "y".into(),
        };
        let failure = Failure::from(Error::Shared(error.into()));
        assert_eq!(failure.status, SllmStatus::InvalidInput);
        assert_eq!(failure.message, "overflow is x, allowed is y");
    }
}
