//! The manifest's `generation`.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Problems, Result},
    number::narrowed,
    sampling::{GenerationDefaults, SamplingOptions},
};

/// The section as it is written; every key is optional.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GenerationSection {
    guidance_scale: Option<f64>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    no_repeat_ngram: Option<usize>,
    repetition_penalty: Option<f64>,
    dry_multiplier: Option<f64>,
    dry_base: Option<f64>,
    dry_allowed_length: Option<usize>,
    avoid_repeats: Option<bool>,
}

impl GenerationSection {
    /// The defaults; adds every value out of range to `problems`.
    pub fn check(&self, problems: &mut Problems) -> GenerationDefaults {
        let mut sampling = SamplingOptions::default();
        let mut number = |key, value: Option<f64>, with: Setter<f32>| {
            let set = |options, value| with(options, narrowed(value));
            apply(&mut sampling, problems, key, value, set);
        };
        number(
            "guidance_scale",
            self.guidance_scale,
            SamplingOptions::with_guidance_scale,
        );
        number(
            "temperature",
            self.temperature,
            SamplingOptions::with_temperature,
        );
        number("top_p", self.top_p, SamplingOptions::with_top_p);
        number("min_p", self.min_p, SamplingOptions::with_min_p);
        let penalty = self.repetition_penalty;
        number(
            "repetition_penalty",
            penalty,
            SamplingOptions::with_repetition_penalty,
        );
        number(
            "dry_multiplier",
            self.dry_multiplier,
            SamplingOptions::with_dry_multiplier,
        );
        number("dry_base", self.dry_base, SamplingOptions::with_dry_base);
        let mut count = |key, value: Option<usize>, with: Setter<Option<usize>>| {
            let set = |options, value| with(options, Some(value));
            apply(&mut sampling, problems, key, value, set);
        };
        count("top_k", self.top_k, SamplingOptions::with_top_k);
        count(
            "no_repeat_ngram",
            self.no_repeat_ngram,
            SamplingOptions::with_no_repeat_ngram,
        );
        apply(
            &mut sampling,
            problems,
            "dry_allowed_length",
            self.dry_allowed_length,
            SamplingOptions::with_dry_allowed_length,
        );
        GenerationDefaults {
            sampling,
            avoid_repeats: self.avoid_repeats,
        }
    }
}

type Setter<T> = fn(SamplingOptions, T) -> Result<SamplingOptions>;

fn apply<T: Copy + Serialize>(
    sampling: &mut SamplingOptions,
    problems: &mut Problems,
    key: &str,
    value: Option<T>,
    set: impl FnOnce(SamplingOptions, T) -> Result<SamplingOptions>,
) {
    let Some(value) = value else { return };
    match set(sampling.clone(), value) {
        Ok(changed) => *sampling = changed,
        Err(Error::InvalidOption { allowed, .. }) => problems.require(false, key, value, allowed),
        Err(other) => problems.require(false, key, value, other),
    }
}
