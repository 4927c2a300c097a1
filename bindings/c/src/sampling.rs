//! Sampling options that a caller has set.

use sllm::SamplingOptions;

/// Sampling options in place of the bundle's.
#[derive(Clone, Default)]
pub struct Sampling {
    pub temperature: Option<f32>,
    pub guidance_scale: Option<f32>,
    pub top_k: Option<usize>,
    pub top_p: Option<f32>,
    pub min_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
    pub dry_multiplier: Option<f32>,
    pub dry_base: Option<f32>,
    pub dry_allowed_length: Option<usize>,
    pub no_repeat_ngram: Option<usize>,
}

impl Sampling {
    /// Apply these options over others, such as the bundle's.
    ///
    /// # Errors
    /// An option is out of range.
    pub fn over(&self, mut options: SamplingOptions) -> sllm::Result<SamplingOptions> {
        if let Some(temperature) = self.temperature {
            options = options.with_temperature(temperature)?;
        }
        if let Some(scale) = self.guidance_scale {
            options = options.with_guidance_scale(scale)?;
        }
        if self.top_k.is_some() {
            options = options.with_top_k(self.top_k)?;
        }
        if let Some(top_p) = self.top_p {
            options = options.with_top_p(top_p)?;
        }
        if let Some(min_p) = self.min_p {
            options = options.with_min_p(min_p)?;
        }
        if let Some(penalty) = self.repetition_penalty {
            options = options.with_repetition_penalty(penalty)?;
        }
        if let Some(multiplier) = self.dry_multiplier {
            options = options.with_dry_multiplier(multiplier)?;
        }
        if let Some(base) = self.dry_base {
            options = options.with_dry_base(base)?;
        }
        if let Some(length) = self.dry_allowed_length {
            options = options.with_dry_allowed_length(length)?;
        }
        if self.no_repeat_ngram.is_some() {
            options = options.with_no_repeat_ngram(self.no_repeat_ngram)?;
        }
        Ok(options)
    }
}
