//! The manifest's `generation`.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Problems, Result},
    sampling::{GenerationDefaults, SamplingOptions},
};

/// The section as it is written; every key is optional.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GenerationSection {
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    no_repeat_ngram: Option<usize>,
    repetition_penalty: Option<f64>,
    avoid_repeats: Option<bool>,
}

impl GenerationSection {
    /// The defaults; adds every value out of range to `problems`.
    pub fn check(&self, problems: &mut Problems) -> GenerationDefaults {
        use SamplingOptions as Options;
        let mut check = Check {
            sampling: Options::default(),
            problems,
        };
        check.number("temperature", self.temperature, Options::with_temperature);
        check.count("top_k", self.top_k, Options::with_top_k);
        check.number("top_p", self.top_p, Options::with_top_p);
        check.number("min_p", self.min_p, Options::with_min_p);
        let ngram = self.no_repeat_ngram;
        check.count("no_repeat_ngram", ngram, Options::with_no_repeat_ngram);
        let penalty = self.repetition_penalty;
        check.number(
            "repetition_penalty",
            penalty,
            Options::with_repetition_penalty,
        );
        GenerationDefaults {
            sampling: check.sampling,
            avoid_repeats: self.avoid_repeats,
        }
    }
}

struct Check<'p> {
    sampling: SamplingOptions,
    problems: &'p mut Problems,
}

impl Check<'_> {
    fn number(
        &mut self,
        key: &str,
        value: Option<f64>,
        with: fn(SamplingOptions, f32) -> Result<SamplingOptions>,
    ) {
        self.set(key, value, |options, value| with(options, value as f32));
    }

    fn count(
        &mut self,
        key: &str,
        value: Option<usize>,
        with: fn(SamplingOptions, Option<usize>) -> Result<SamplingOptions>,
    ) {
        self.set(key, value, |options, value| with(options, Some(value)));
    }

    fn set<T: Copy + Serialize>(
        &mut self,
        key: &str,
        value: Option<T>,
        with: impl FnOnce(SamplingOptions, T) -> Result<SamplingOptions>,
    ) {
        let Some(value) = value else { return };
        match with(self.sampling.clone(), value) {
            Ok(sampling) => self.sampling = sampling,
            Err(Error::InvalidOption { allowed, .. }) => {
                self.problems.require(false, key, value, allowed);
            }
            Err(other) => self.problems.require(false, key, value, other),
        }
    }
}
