//! Limits on what an untrusted tokenizer can make the tokenizer library do.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{BoxedError, caught, one_line};

/// How many times as long a text may become by the replacements of a tokenizer's normalizer, or of
/// its decoder. SentencePiece's, `▁` for a space and one in front, make it 16 times as long at most.
const MAX_GROWTH: usize = 1 << 12;

/// Calls the library, which panics on some tokenizers that contradict themselves; nothing that it
/// was about to return is used then.
pub(super) fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, BoxedError> {
    let called = catch_unwind(AssertUnwindSafe(|| caught(call)));
    called.unwrap_or_else(|payload| Err(panicked(&*payload).into()))
}

/// What a panic said, on one line.
fn panicked(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    match text {
        Some(text) => format!("the tokenizer library panicked: {}", one_line(&text)),
        None => "the tokenizer library panicked".to_owned(),
    }
}

/// The parts of a tokenizer's file that are looked at before the library is.
#[derive(Deserialize)]
pub(super) struct Parts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    decoder: Value,
}

impl Parts {
    /// Refuses chained replacements that make a short text endlessly long. The library already
    /// applies them to the added tokens while it loads.
    pub fn check_growth(&self) -> Result<(), String> {
        for (part, value) in [("normalizer", &self.normalizer), ("decoder", &self.decoder)] {
            if growth(value).is_none_or(|growth| growth > MAX_GROWTH) {
                return Err(format!(
                    "its {part} may make a text more than {MAX_GROWTH} times as long"
                ));
            }
        }
        Ok(())
    }
}

/// The most bytes that a byte can become; `None` if that is beyond counting.
fn growth(value: &Value) -> Option<usize> {
    match value {
        Value::Array(items) => items
            .iter()
            .map(growth)
            .try_fold(1, |all: usize, one| all.checked_mul(one?)),
        // A compiled map of characters can hold anything, and the library trusts the sizes in it.
        Value::Object(map) if map.contains_key("precompiled_charsmap") => None,
        Value::Object(map) => {
            // `content` of Replace, `prepend` of Prepend: both at each byte in the worst case.
            let own = ["content", "prepend"]
                .iter()
                .filter_map(|key| map.get(*key));
            let own = own.filter_map(Value::as_str).map(|text| text.len() + 1);
            own.chain(map.values().filter(|v| v.is_array()).map(growth_or_most))
                .try_fold(1, usize::checked_mul)
        }
        _ => Some(1),
    }
}

fn growth_or_most(value: &Value) -> usize {
    growth(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::panic_is_caught;

    #[test]
    fn replacements_multiply() {
        let replace = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
        let chain =
            |count| json!({"type": "Sequence", "normalizers": vec![replace.clone(); count]});
        assert_eq!(growth(&Value::Null), Some(1));
        assert_eq!(growth(&replace), Some(3));
        assert_eq!(growth(&chain(3)), Some(27));
        assert_eq!(
            growth(&json!([{"prepend": "▁"}, {"content": "▁"}])),
            Some(16)
        );
        assert!(growth(&chain(100)).is_none_or(|growth| growth > MAX_GROWTH));
        assert!(growth(&json!([chain(100), chain(100)])).is_none_or(|growth| growth > MAX_GROWTH));
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let error = guarded::<()>(|| panic!("on\npurpose")).unwrap_err();
        let expected = "the tokenizer library panicked: on purpose";
        assert_eq!(error.to_string(), expected);
        let error = guarded::<()>(|| panic!("{}, too", 1)).unwrap_err();
        assert!(error.to_string().ends_with("panicked: 1, too"), "{error}");
        let error = guarded::<()>(|| std::panic::panic_any(3)).unwrap_err();
        assert_eq!(error.to_string(), "the tokenizer library panicked");
    }

    /// A hook is told which panics come back as errors, also after one of them.
    #[test]
    fn a_hook_is_told_of_a_caught_panic() {
        assert!(!panic_is_caught());
        for _ in 0..2 {
            let inside = guarded(|| Ok(panic_is_caught())).unwrap();
            assert!(inside && !panic_is_caught());
            guarded::<()>(|| panic!("on purpose")).unwrap_err();
            assert!(!panic_is_caught());
        }
        // Of this thread only.
        let other = guarded(|| Ok(std::thread::spawn(panic_is_caught).join().unwrap()));
        assert!(!other.unwrap());
    }
}
