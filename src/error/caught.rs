//! Panics of other libraries that become errors.

use std::cell::Cell;

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread is going to be caught and returned as an [`Error`]. A panic hook
/// need not print it.
///
/// The tokenizer library panics on some damaged files, and the standard library's hook would print
/// each of these panics to stderr.
///
/// ```
/// let hook = std::panic::take_hook();
/// std::panic::set_hook(Box::new(move |panic| {
///     if !sllm_ort::error::panic_is_caught() {
///         hook(panic);
///     }
/// }));
/// ```
///
/// [`Error`]: crate::Error
#[must_use]
pub fn panic_is_caught() -> bool {
    CAUGHT.get()
}

/// Call what may panic, inside of `catch_unwind`.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> T {
    /// Sets back what was there, after a panic too.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            CAUGHT.set(self.0);
        }
    }
    let _before = Before(CAUGHT.replace(true));
    call()
}
