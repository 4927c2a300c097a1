//! Sampling options as a user gives them: each may be left out, and numbers have 64 bits.

use sllm_ort::{Error, Result, SamplingOptions};

use crate::number::{narrowed, shown};

/// Options in place of the bundle's.
pub struct SamplingOverrides {
    pub temperature: Option<f64>,
    pub guidance_scale: Option<f64>,
    pub top_k: Option<usize>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub no_repeat_ngram: Option<usize>,
    pub repetition_penalty: Option<f64>,
    pub dry_multiplier: Option<f64>,
    pub dry_base: Option<f64>,
    pub dry_allowed_length: Option<usize>,
}

impl SamplingOverrides {
    /// These options over others.
    pub fn over(&self, mut sampling: SamplingOptions) -> Result<SamplingOptions> {
        let numbers: [(Option<f64>, Setter); 7] = [
            (self.temperature, SamplingOptions::with_temperature),
            (self.guidance_scale, SamplingOptions::with_guidance_scale),
            (self.top_p, SamplingOptions::with_top_p),
            (self.min_p, SamplingOptions::with_min_p),
            (
                self.repetition_penalty,
                SamplingOptions::with_repetition_penalty,
            ),
            (self.dry_multiplier, SamplingOptions::with_dry_multiplier),
            (self.dry_base, SamplingOptions::with_dry_base),
        ];
        for (number, with) in numbers {
            if let Some(number) = number {
                sampling = set(sampling, number, with)?;
            }
        }
        if self.top_k.is_some() {
            sampling = sampling.with_top_k(self.top_k)?;
        }
        if self.no_repeat_ngram.is_some() {
            sampling = sampling.with_no_repeat_ngram(self.no_repeat_ngram)?;
        }
        match self.dry_allowed_length {
            Some(length) => sampling.with_dry_allowed_length(length),
            None => Ok(sampling),
        }
    }
}

type Setter = fn(SamplingOptions, f32) -> Result<SamplingOptions>;

/// Set an option. An error has the number as it was given.
fn set(sampling: SamplingOptions, number: f64, with: Setter) -> Result<SamplingOptions> {
    with(sampling, narrowed(number)).map_err(|error| match error {
        Error::InvalidOption {
            option, allowed, ..
        } => Error::InvalidOption {
            option,
            value: shown(number),
            allowed,
        },
        other => other,
    })
}
