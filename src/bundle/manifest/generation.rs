//! The manifest's `generation`.

use serde_json::Value;

use crate::config::fields::{At, Fields};
use crate::error::{Error, Result};
use crate::sampling::GenerationDefaults;
use crate::sampling::SamplingOptions;

/// Reads the defaults; all keys are optional.
pub(super) fn read(value: Value, at: At<'_>) -> Result<GenerationDefaults> {
    let mut f = Fields::new(value, at)?;
    f.deny_unknown(&[
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "no_repeat_ngram",
        "repetition_penalty",
        "avoid_repeats",
    ])?;
    let mut sampling = SamplingOptions::default();
    type Set = fn(SamplingOptions, f32) -> Result<SamplingOptions>;
    let numbers: [(&str, Set); 4] = [
        ("temperature", SamplingOptions::with_temperature),
        ("top_p", SamplingOptions::with_top_p),
        ("min_p", SamplingOptions::with_min_p),
        (
            "repetition_penalty",
            SamplingOptions::with_repetition_penalty,
        ),
    ];
    for (key, set) in numbers {
        if let Some(value) = f.optional_number(key)? {
            sampling = checked(set(sampling, value), &f, key, value)?;
        }
    }
    type Count = fn(SamplingOptions, Option<usize>) -> Result<SamplingOptions>;
    let counts: [(&str, Count); 2] = [
        ("top_k", SamplingOptions::with_top_k),
        ("no_repeat_ngram", SamplingOptions::with_no_repeat_ngram),
    ];
    for (key, set) in counts {
        if let Some(value) = f.optional_integer::<usize>(key)? {
            sampling = checked(set(sampling, Some(value)), &f, key, value)?;
        }
    }
    let avoid_repeats = match f.contains("avoid_repeats") {
        true => Some(f.bool("avoid_repeats")?),
        false => None,
    };
    Ok(GenerationDefaults {
        sampling,
        avoid_repeats,
    })
}

/// An option that is out of range, as a value of the manifest that is.
fn checked(
    set: Result<SamplingOptions>,
    f: &Fields<'_>,
    key: &str,
    value: impl Into<Value>,
) -> Result<SamplingOptions> {
    set.map_err(|error| match error {
        Error::InvalidOption { allowed, .. } => f.invalid(key, &value.into(), allowed),
        other => other,
    })
}
