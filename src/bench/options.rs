//! What a benchmark measures.

use crate::error::{Error, Result};

/// What a benchmark measures.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BenchOptions {
    pub(super) prompt_tokens: usize,
    pub(super) sentence_tokens: usize,
    pub(super) sentences: usize,
    pub(super) batch: usize,
    pub(super) warmup: usize,
    pub(super) seed: u64,
    pub(super) memory: bool,
}

impl Default for BenchOptions {
    /// A prompt of 320 tokens, 16 new sentences, 10 tokens each; one round to warm up.
    fn default() -> Self {
        Self {
            prompt_tokens: 320,
            sentence_tokens: 10,
            sentences: 16,
            batch: 1,
            warmup: 1,
            seed: 0,
            memory: true,
        }
    }
}

impl BenchOptions {
    /// Tokens of the prompt, at least 1; the last sentence may be shorter than the others.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], here and in the methods below, for 0.
    pub fn with_prompt_tokens(mut self, tokens: usize) -> Result<Self> {
        self.prompt_tokens = at_least_one("prompt-tokens", tokens)?;
        Ok(self)
    }

    /// Tokens of each sentence, at least 1; in a generated one the last of them is eos.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_sentence_tokens(mut self, tokens: usize) -> Result<Self> {
        self.sentence_tokens = at_least_one("sentence-tokens", tokens)?;
        Ok(self)
    }

    /// Sentences to generate, at least 1; a model of kind `opt` generates the same number of
    /// tokens.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_sentences(mut self, sentences: usize) -> Result<Self> {
        self.sentences = at_least_one("sentences", sentences)?;
        Ok(self)
    }

    /// Continuations of the prompt that are generated together, at least 1; more than one only for
    /// models of kind `sllm` and `opt`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_batch(mut self, continuations: usize) -> Result<Self> {
        self.batch = at_least_one("batch", continuations)?;
        Ok(self)
    }

    /// Warm-up rounds, which are not measured; at least 1.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_warmup(mut self, rounds: usize) -> Result<Self> {
        self.warmup = at_least_one("warmup", rounds)?;
        Ok(self)
    }

    /// Whether to measure memory; the default is `true`. It takes a moment, and the figures are
    /// valid only for the first model of a process.
    #[must_use]
    pub fn with_memory(mut self, memory: bool) -> Self {
        self.memory = memory;
        self
    }

    /// Seed of the prompt's tokens.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

fn at_least_one(option: &'static str, value: usize) -> Result<usize> {
    if value == 0 {
        return Err(Error::InvalidOption {
            option,
            value: value.to_string(),
            allowed: "1 or more".into(),
        });
    }
    Ok(value)
}
