//! What the tokenizer library may do with a tokenizer that nobody vouches for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Deserialize;
use serde_json::Value;

use crate::error::BoxedError;

/// How many times as long a text may become by the replacements of a tokenizer's normalizer, or of
/// its decoder. SentencePiece's, `▁` for a space and one in front, make it 16 times as long at most.
const MAX_GROWTH: usize = 1 << 12;

/// Calls the library, which panics on some tokenizers that contradict themselves; nothing that it
/// was about to return is used then.
pub(super) fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, BoxedError> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err("the tokenizer library panicked".into()))
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
        let error = guarded::<()>(|| panic!("on purpose")).unwrap_err();
        assert_eq!(error.to_string(), "the tokenizer library panicked");
    }
}
