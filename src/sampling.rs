//! Choosing a token from its logits: greedy, or drawn at random.

mod sampler;

use crate::{
    error::{Error, Result},
    number::shown,
};
pub(crate) use sampler::Sampler;

/// How many of the last tokens of the context the repetition penalty looks back on.
pub const REPETITION_WINDOW: usize = 64;

/// Most tokens whose equality DRY looks at.
const MAX_DRY_LENGTH: usize = 50;

/// The greatest penalty of DRY. It leaves the order of tokens that all have it.
const MAX_DRY_PENALTY: f32 = 1000.0;

/// The smallest number above 0.
const LEAST_ABOVE_0: f32 = f32::from_bits(1);

/// How the next token is chosen: from the whole vocabulary, or from the best tokens of it where the
/// graphs of a fast variant choose those (64 in the exporter's, if the vocabulary is large).
///
/// In this order: guidance, the repetition penalty, DRY, and what `no_repeat_ngram` forbids; with
/// temperature 0 then the best token, else the logits are divided by the temperature, cut to the
/// `top_k` best, cut to the fewest best that together have the probability `top_p`, cut to those
/// with at least `min_p` times the probability of the best, and one is drawn.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SamplingOptions {
    pub(crate) guidance_scale: f32,
    pub(crate) temperature: f32,
    pub(crate) top_k: Option<usize>,
    pub(crate) top_p: f32,
    pub(crate) min_p: f32,
    pub(crate) no_repeat_ngram: Option<usize>,
    pub(crate) repetition_penalty: f32,
    pub(crate) dry_multiplier: f32,
    pub(crate) dry_base: f32,
    pub(crate) dry_allowed_length: usize,
    pub(crate) seed: u64,
}

/// Generation defaults of a bundle: `generation` in its manifest.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GenerationDefaults {
    /// Temperature and all that goes with it; greedy where the manifest says nothing.
    pub sampling: SamplingOptions,
    /// Whether no sentence may come twice; see [`crate::GenerateOptions::with_avoid_repeats`].
    pub avoid_repeats: Option<bool>,
}

impl Default for SamplingOptions {
    /// Greedy: temperature 0, no guidance, no cut, no penalty, seed 0. The base of DRY is 1.75, its
    /// allowed length 2.
    fn default() -> Self {
        Self {
            guidance_scale: 1.0,
            temperature: 0.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            no_repeat_ngram: None,
            repetition_penalty: 1.0,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            seed: 0,
        }
    }
}

impl SamplingOptions {
    /// Classifier-free guidance (arXiv 2207.12598), 1 (none) to 10: the logits are `u + scale (c - u)`,
    /// where `c` are those of the sentence that the context asks for, and `u` those without a context
    /// (of a vector of zeros). Above 1, sentences keep closer to the context. Only tokens with at least
    /// a tenth of the best one's probability in `c` can then be chosen (arXiv 2210.15097). Each
    /// sentence is decoded twice. Only in kind `sllm`; it does good where the model was trained for
    /// it (`--condition-dropout` of the trainer).
    ///
    /// # Errors
    /// [`Error::InvalidOption`], here and in the methods below, for a value out of range.
    pub fn with_guidance_scale(mut self, scale: f32) -> Result<Self> {
        in_range("guidance-scale", scale, 1.0..=10.0, "1 (none) to 10")?;
        self.guidance_scale = scale;
        Ok(self)
    }

    /// Temperature, 0 (greedy) to 100.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_temperature(mut self, temperature: f32) -> Result<Self> {
        in_range("temperature", temperature, 0.0..=100.0, "0 (greedy) to 100")?;
        self.temperature = temperature;
        Ok(self)
    }

    /// Only the `top_k` best tokens may be drawn, at least 1; `None` for all.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for 0.
    pub fn with_top_k(mut self, top_k: Option<usize>) -> Result<Self> {
        if top_k == Some(0) {
            return Err(invalid("top-k", 0, "1 or more"));
        }
        self.top_k = top_k;
        Ok(self)
    }

    /// Only the fewest best tokens with at least this probability together may be drawn, above 0 to
    /// 1 (all).
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_top_p(mut self, top_p: f32) -> Result<Self> {
        in_range("top-p", top_p, LEAST_ABOVE_0..=1.0, "above 0 to 1")?;
        self.top_p = top_p;
        Ok(self)
    }

    /// Only tokens with at least this part of the best one's probability may be drawn, 0 (all) to 1.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_min_p(mut self, min_p: f32) -> Result<Self> {
        in_range("min-p", min_p, 0.0..=1.0, "0 (all) to 1")?;
        self.min_p = min_p;
        Ok(self)
    }

    /// No `n` tokens of the context, ends of sentences left out, may come a second time in the
    /// same order, at least 1; `None` for no such rule. Where nothing else may follow, the sentence
    /// ends.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for 0.
    pub fn with_no_repeat_ngram(mut self, n: Option<usize>) -> Result<Self> {
        if n == Some(0) {
            return Err(invalid("no-repeat-ngram", 0, "1 or more"));
        }
        self.no_repeat_ngram = n;
        Ok(self)
    }

    /// Divides the positive logits of the last [`REPETITION_WINDOW`] tokens, and multiplies the
    /// negative ones (arXiv 1909.05858, section 4.1); 1 (none) to 10.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_repetition_penalty(mut self, penalty: f32) -> Result<Self> {
        in_range("repetition-penalty", penalty, 1.0..=10.0, "1 (none) to 10")?;
        self.repetition_penalty = penalty;
        Ok(self)
    }

    /// DRY ("don't repeat yourself", a sampler of text-generation-webui and llama.cpp), 0 (none) to
    /// 10: where the last tokens have come before in the same order, a token that followed them
    /// there gets `multiplier * base.powi(length - allowed_length)` less, at most 1000, where
    /// `length` is how many of the last tokens are the same, at most 50, if it is no less than the
    /// allowed length. So words may come again, and sequences seldom do. Sequences go on from
    /// sentence to sentence: eos is left out. Where guidance leaves one token only, that one is
    /// chosen all the same.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_dry_multiplier(mut self, multiplier: f32) -> Result<Self> {
        in_range("dry-multiplier", multiplier, 0.0..=10.0, "0 (none) to 10")?;
        self.dry_multiplier = multiplier;
        Ok(self)
    }

    /// By how much the penalty of [`with_dry_multiplier`](Self::with_dry_multiplier) grows with
    /// each token, 1 to 10.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_dry_base(mut self, base: f32) -> Result<Self> {
        in_range("dry-base", base, 1.0..=10.0, "1 to 10")?;
        self.dry_base = base;
        Ok(self)
    }

    /// The least number of equal tokens for [`with_dry_multiplier`](Self::with_dry_multiplier), 1
    /// to 50.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_dry_allowed_length(mut self, length: usize) -> Result<Self> {
        if !(1..=MAX_DRY_LENGTH).contains(&length) {
            return Err(invalid("dry-allowed-length", length, "1 to 50"));
        }
        self.dry_allowed_length = length;
        Ok(self)
    }

    /// The guidance scale; 1 is none.
    #[must_use]
    pub fn guidance_scale(&self) -> f32 {
        self.guidance_scale
    }

    /// The temperature; 0 is greedy.
    #[must_use]
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// How many of the best tokens may be drawn; `None` for all.
    #[must_use]
    pub fn top_k(&self) -> Option<usize> {
        self.top_k
    }

    /// The probability that the tokens to draw from have together.
    #[must_use]
    pub fn top_p(&self) -> f32 {
        self.top_p
    }

    /// The least part of the best token's probability that a token to draw has.
    #[must_use]
    pub fn min_p(&self) -> f32 {
        self.min_p
    }

    /// How many tokens may not come twice in the same order; `None` without such a rule.
    #[must_use]
    pub fn no_repeat_ngram(&self) -> Option<usize> {
        self.no_repeat_ngram
    }

    /// The repetition penalty; 1 is none.
    #[must_use]
    pub fn repetition_penalty(&self) -> f32 {
        self.repetition_penalty
    }

    /// The multiplier of DRY; 0 is none.
    #[must_use]
    pub fn dry_multiplier(&self) -> f32 {
        self.dry_multiplier
    }

    /// The base of DRY.
    #[must_use]
    pub fn dry_base(&self) -> f32 {
        self.dry_base
    }

    /// The allowed length of DRY.
    #[must_use]
    pub fn dry_allowed_length(&self) -> usize {
        self.dry_allowed_length
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Draw with this seed: the same one gives the same tokens with the same version of this crate.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

fn in_range(
    option: &'static str,
    value: f32,
    range: std::ops::RangeInclusive<f32>,
    allowed: &str,
) -> Result<()> {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(invalid(option, shown(value), allowed))
    }
}

fn invalid(option: &'static str, value: impl ToString, allowed: &str) -> Error {
    Error::InvalidOption {
        option,
        value: value.to_string(),
        allowed: allowed.to_owned(),
    }
}
