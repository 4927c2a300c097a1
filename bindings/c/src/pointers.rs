//! Pointers of the caller as references, checked as far as they can be.

use std::{
    ffi::{CStr, c_char},
    path::Path,
    ptr, slice,
};

use crate::status::{Failure, SllmStatus, run};

fn null(name: &str) -> Failure {
    Failure::new(SllmStatus::NullPointer, format!("{name} is NULL"))
}

/// A value to read.
///
/// # Safety
/// `pointer` is NULL, or to a value that nothing changes or frees during `'a`.
pub unsafe fn shared<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    // SAFETY: by the rule of this function.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(name))
}

/// A value to change.
///
/// # Safety
/// `pointer` is NULL, or to a value that nothing else uses during `'a`.
pub unsafe fn exclusive<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T, Failure> {
    // SAFETY: by the rule of this function.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(name))
}

/// A string.
///
/// # Safety
/// `pointer` is NULL, or to bytes up to a NUL that nothing changes or frees during `'a`.
pub unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: by the rule of this function.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|error| {
        let place = error.valid_up_to();
        let message = format!("{name} is not UTF-8 at byte {place}");
        Failure::new(SllmStatus::InvalidUtf8, message)
    })
}

/// A path.
///
/// # Safety
/// As [`text`].
pub unsafe fn path<'a>(pointer: *const c_char, name: &str) -> Result<&'a Path, Failure> {
    // SAFETY: the same rule.
    unsafe { text(pointer, name) }.map(Path::new)
}

/// A string, or none.
///
/// # Safety
/// As [`text`].
pub unsafe fn optional_text<'a>(
    pointer: *const c_char,
    name: &str,
) -> Result<Option<&'a str>, Failure> {
    match pointer.is_null() {
        true => Ok(None),
        // SAFETY: the same rule.
        false => unsafe { text(pointer, name) }.map(Some),
    }
}

/// An array to read; it may be NULL if it is empty.
///
/// # Safety
/// `pointer` is NULL, or to `length` values that nothing changes or frees during `'a`.
pub unsafe fn array<'a, T>(
    pointer: *const T,
    length: usize,
    name: &str,
) -> Result<&'a [T], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    check_array(pointer, length, name)?;
    // SAFETY: by the rule of this function; size and alignment were checked.
    Ok(unsafe { slice::from_raw_parts(pointer, length) })
}

/// An array of numbers to write; it may be NULL if it is empty.
///
/// # Safety
/// `pointer` is NULL, or to `length` initialized values that nothing else uses during `'a`.
pub unsafe fn array_mut<'a, T>(
    pointer: *mut T,
    length: usize,
    name: &str,
) -> Result<&'a mut [T], Failure> {
    if length == 0 {
        return Ok(&mut []);
    }
    check_array(pointer, length, name)?;
    // SAFETY: by the rule of this function; size and alignment were checked.
    Ok(unsafe { slice::from_raw_parts_mut(pointer, length) })
}

fn check_array<T>(pointer: *const T, length: usize, name: &str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(null(name));
    }
    let bytes = length.checked_mul(size_of::<T>());
    if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
        let allowed = "what memory can hold";
        return Err(Failure::refused(
            &format!("the length of {name}"),
            length,
            allowed,
        ));
    }
    if !pointer.is_aligned() {
        let allowed = format!("a multiple of {}", align_of::<T>());
        let address = format!("at {pointer:p}");
        return Err(Failure::refused(name, address, &allowed));
    }
    Ok(())
}

/// The strings of an array.
///
/// # Safety
/// As [`array`] and, for each of its pointers, [`text`].
pub unsafe fn texts<'a>(
    pointer: *const *const c_char,
    length: usize,
    name: &str,
) -> Result<Vec<&'a str>, Failure> {
    // SAFETY: the same rule.
    let pointers = unsafe { array(pointer, length, name) }?;
    let text_of = |(index, pointer): (usize, &*const c_char)| {
        // SAFETY: the same rule.
        unsafe { text(*pointer, &format!("{name}[{index}]")) }
    };
    pointers.iter().enumerate().map(text_of).collect()
}

/// Do the work of a function that makes a handle. Where it fails, the handle is NULL.
///
/// # Safety
/// `out` is NULL, or to memory for a pointer that nothing else uses.
pub unsafe fn make<T>(out: *mut *mut T, work: impl FnOnce() -> Result<T, Failure>) -> SllmStatus {
    run(|| {
        if out.is_null() {
            return Err(null("out"));
        }
        // SAFETY: by the rule of this function.
        unsafe { out.write(ptr::null_mut()) };
        let handle = Box::into_raw(Box::new(work()?));
        // SAFETY: by the rule of this function.
        unsafe { out.write(handle) };
        Ok(())
    })
}

/// Write a result that the caller may not want.
///
/// # Safety
/// `out` is NULL, or to memory for a value that nothing else uses.
pub unsafe fn put<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: by the rule of this function.
        unsafe { out.write(value) };
    }
}

/// Write a result that is asked for.
///
/// # Safety
/// As [`put`].
pub unsafe fn give<T>(out: *mut T, name: &str, value: T) -> Result<(), Failure> {
    if out.is_null() {
        return Err(null(name));
    }
    // SAFETY: by the rule of this function.
    unsafe { put(out, value) };
    Ok(())
}

/// Free a handle.
///
/// # Safety
/// `handle` is NULL, or was made by [`make`], is not freed yet, and is not used any more.
pub unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        crate::status::value((), || {
            // SAFETY: by the rule of this function it is a box of this type that nothing else has.
            drop(unsafe { Box::from_raw(handle) });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_checked() {
        let status = |result: Result<(), Failure>| result.map_err(|failure| failure.status);
        let numbers = [0_f32; 2];
        let pointer = numbers.as_ptr();
        assert!(check_array(pointer, 2, "vectors").is_ok());
        let null = check_array(ptr::null::<f32>(), 2, "vectors");
        assert_eq!(status(null), Err(SllmStatus::NullPointer));
        let long = check_array(pointer, usize::MAX, "vectors");
        assert_eq!(status(long), Err(SllmStatus::InvalidInput));
        let crooked = check_array(pointer.wrapping_byte_add(1), 1, "vectors");
        assert_eq!(status(crooked), Err(SllmStatus::InvalidInput));
        // SAFETY: no value is read.
        let empty = unsafe { array(ptr::null::<f32>(), 0, "vectors") };
        assert_eq!(empty.unwrap(), &[] as &[f32]);
    }
}
