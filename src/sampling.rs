//! Choosing a token from logits: greedy, or sampled.

mod sampler;

use crate::{
    error::{Error, Result},
    number::shown,
};
pub(crate) use sampler::Sampler;

/// Number of the context's last tokens that the repetition penalty covers.
pub const REPETITION_WINDOW: usize = 64;

/// Most tokens whose equality DRY looks at.
const MAX_DRY_LENGTH: usize = 50;

/// The greatest penalty of DRY. It leaves the order of tokens that all have it.
const MAX_DRY_PENALTY: f32 = 1000.0;

/// The smallest number above 0.
const LEAST_ABOVE_0: f32 = f32::from_bits(1);

/// How the next token is chosen.
///
/// The candidates are the whole vocabulary, or its best tokens where the graphs of a fast variant
/// preselect them (64 in the exporter's variants, if the vocabulary is large).
///
/// The steps are, in this order: guidance, the repetition penalty, DRY, and the mask of
/// `no_repeat_ngram`. Temperature 0 then takes the best token. Otherwise the logits are divided by
/// the temperature; the candidates are cut to the `top_k` best, to the fewest best whose total
/// probability reaches `top_p`, and to those with at least `min_p` times the probability of the
/// best; and one of them is sampled.
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
    /// Sampling options; greedy if the manifest has none.
    pub sampling: SamplingOptions,
    /// Whether to avoid repeated sentences; see [`crate::GenerateOptions::with_avoid_repeats`].
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
    /// Scale of classifier-free guidance (arXiv 2207.12598), 1 (none) to 10.
    ///
    /// The logits are `u + scale (c - u)`, where `c` are those for the predicted sentence vector,
    /// and `u` those without a context (for a vector of zeros). Above 1, sentences keep closer to
    /// the context. A token that the sentence already has gets no higher probability in `c` than in
    /// `u`: the vector says which words a sentence has, not how often. Only tokens with at least a
    /// tenth of the best one's probability in `c` can then be chosen (arXiv 2210.15097). Each
    /// sentence is decoded twice. Only in kind `sllm`, and only useful if the model was trained for
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

    /// Sample from the `top_k` best tokens only, at least 1; `None` for all.
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

    /// Sample from the fewest best tokens whose total probability reaches `top_p`, above 0 to 1
    /// (all).
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_top_p(mut self, top_p: f32) -> Result<Self> {
        in_range("top-p", top_p, LEAST_ABOVE_0..=1.0, "above 0 to 1")?;
        self.top_p = top_p;
        Ok(self)
    }

    /// Sample only from tokens with at least `min_p` times the best one's probability, 0 (all) to
    /// 1.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_min_p(mut self, min_p: f32) -> Result<Self> {
        in_range("min-p", min_p, 0.0..=1.0, "0 (all) to 1")?;
        self.min_p = min_p;
        Ok(self)
    }

    /// Never repeat a sequence of `n` tokens of the context, at least 1; `None` for no such rule.
    ///
    /// Ends of sentences are left out. If no other token may follow, the sentence ends.
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

    /// Repetition penalty, 1 (none) to 10.
    ///
    /// It divides the positive logits of the last [`REPETITION_WINDOW`] tokens, and multiplies the
    /// negative ones (arXiv 1909.05858, section 4.1).
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_repetition_penalty(mut self, penalty: f32) -> Result<Self> {
        in_range("repetition-penalty", penalty, 1.0..=10.0, "1 (none) to 10")?;
        self.repetition_penalty = penalty;
        Ok(self)
    }

    /// Multiplier of the DRY penalty, 0 (none) to 10.
    ///
    /// DRY ("don't repeat yourself") is a sampler of text-generation-webui and llama.cpp. If the
    /// last `length` tokens have occurred before in the same order, the logit of a token that
    /// followed them there is reduced by `multiplier * base.powi(length - allowed_length)`, at most
    /// 1000. `length` counts up to 50 tokens; below the allowed length nothing is reduced. So words
    /// may recur, but sequences seldom do. Sequences continue from sentence to sentence: eos is
    /// left out. If guidance leaves only one token, that one is chosen all the same.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_dry_multiplier(mut self, multiplier: f32) -> Result<Self> {
        in_range("dry-multiplier", multiplier, 0.0..=10.0, "0 (none) to 10")?;
        self.dry_multiplier = multiplier;
        Ok(self)
    }

    /// Base of the DRY penalty ([`with_dry_multiplier`](Self::with_dry_multiplier)), its growth
    /// factor per token; 1 to 10.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_dry_base(mut self, base: f32) -> Result<Self> {
        in_range("dry-base", base, 1.0..=10.0, "1 to 10")?;
        self.dry_base = base;
        Ok(self)
    }

    /// Shortest repeated sequence that DRY ([`with_dry_multiplier`](Self::with_dry_multiplier))
    /// penalizes, 1 to 50 tokens.
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

    /// How many of the best tokens to sample from; `None` for all.
    #[must_use]
    pub fn top_k(&self) -> Option<usize> {
        self.top_k
    }

    /// The total probability of the tokens to sample from.
    #[must_use]
    pub fn top_p(&self) -> f32 {
        self.top_p
    }

    /// The minimum probability of a token, relative to that of the best one.
    #[must_use]
    pub fn min_p(&self) -> f32 {
        self.min_p
    }

    /// The length of sequences that must not repeat; `None` without such a rule.
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

    /// Sample with this seed. The same seed gives the same tokens with the same version of this
    /// crate.
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

pub(crate) fn invalid(option: &'static str, value: impl ToString, allowed: &str) -> Error {
    Error::InvalidOption {
        option,
        value: value.to_string(),
        allowed: allowed.to_owned(),
    }
}
