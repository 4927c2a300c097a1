//! How a continuation is generated.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LogitsHook;
use crate::{
    cancel::CancelHandle,
    error::{Error, Result},
    model::{Model, Network},
    sampling::{SamplingOptions, invalid},
};

/// Most texts of [`GenerateOptions::with_stop_text`].
const MAX_STOP_TEXTS: usize = 16;
/// Most candidates of [`GenerateOptions::with_best_of`].
const MAX_BEST_OF: usize = 256;

/// What a continuation does when the context is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OverflowPolicy {
    /// End, with [`FinishReason::ContextFull`](super::FinishReason::ContextFull).
    #[default]
    Stop,
    /// Drop the oldest quarter of the sentences, at least one, and run the backbone over the others
    /// again. Nothing is encoded again. Only in kind `sllm`.
    DropOldest,
}

/// How a continuation is generated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GenerateOptions {
    pub(super) max_sentences: usize,
    pub(super) max_tokens: Option<usize>,
    pub(super) log_probabilities: bool,
    pub(super) logits_hook: Option<LogitsHook>,
    pub(super) ignore_eos: bool,
    pub(super) stop_texts: Vec<String>,
    /// `None`: the bundle's.
    pub(super) sampling: Option<SamplingOptions>,
    pub(super) avoid_repeats: Option<bool>,
    pub(super) best_of: usize,
    pub(super) overflow: OverflowPolicy,
    pub(super) cancel: Option<CancelHandle>,
    pub(super) time_limit: Option<Duration>,
    /// Every sentence has this number of tokens, for the benchmark.
    pub(super) fixed_sentence_tokens: Option<usize>,
}

impl Default for GenerateOptions {
    /// Up to 16 sentences, to the end that the model sets, with the sampling that the model's bundle
    /// asks for; greedy if it asks for none.
    fn default() -> Self {
        Self {
            max_sentences: 16,
            max_tokens: None,
            log_probabilities: false,
            logits_hook: None,
            ignore_eos: false,
            stop_texts: Vec::new(),
            sampling: None,
            avoid_repeats: None,
            best_of: 1,
            overflow: OverflowPolicy::Stop,
            cancel: None,
            time_limit: None,
            fixed_sentence_tokens: None,
        }
    }
}

impl GenerateOptions {
    /// At most this many new sentences.
    #[must_use]
    pub fn with_max_sentences(mut self, max_sentences: usize) -> Self {
        self.max_sentences = max_sentences;
        self
    }

    /// At most this many output tokens, ends of sentences included; `None` for no limit.
    ///
    /// The sentence that reaches the limit is cut there, and is part of the context as it is. The
    /// next continuation begins a new sentence.
    #[must_use]
    pub fn with_max_tokens(mut self, max_tokens: Option<usize>) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// Compute the log-probability of each output token, which takes some time. It includes
    /// guidance, but not penalties and masks.
    #[must_use]
    pub fn with_log_probabilities(mut self, log_probabilities: bool) -> Self {
        self.log_probabilities = log_probabilities;
        self
    }

    /// Let a hook change the logits before each token is chosen.
    #[must_use]
    pub fn with_logits_hook(mut self, hook: LogitsHook) -> Self {
        self.logits_hook = Some(hook);
        self
    }

    /// Whether to ignore a predicted end of the text, and continue.
    #[must_use]
    pub fn with_ignore_eos(mut self, ignore_eos: bool) -> Self {
        self.ignore_eos = ignore_eos;
        self
    }

    /// Stop before this text.
    ///
    /// Call this method again to add more stop texts, 16 at most; the first one that occurs ends the
    /// continuation. It may begin in one sentence and end in a later one, and begin with white space
    /// that ends the context: `\nUser:` stops at a line that begins with `User:`. CRLF and CR in a
    /// stop text are read as LF.
    ///
    /// Text that may begin a stop text is held back: what is given out as it is decoded never
    /// contains a part of one. A sentence that was given out stays as it is, in the context too,
    /// also if a stop text begins in it. The sentence that completes the stop text ends before it;
    /// the context holds the tokens of that sentence, the stop text's included. If nothing is left of
    /// it, it is dropped.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for an empty text, and for more than 16 texts.
    pub fn with_stop_text(mut self, stop_text: impl Into<String>) -> Result<Self> {
        let text = stop_text.into();
        if text.is_empty() {
            let allowed = "a text of one character or more";
            return Err(invalid("stop", "\"\"", allowed));
        }
        if self.stop_texts.len() >= MAX_STOP_TEXTS {
            let more = format!("more than {MAX_STOP_TEXTS} texts");
            let allowed = format!("{MAX_STOP_TEXTS} texts at most");
            return Err(invalid("stop", more, &allowed));
        }
        self.stop_texts.push(text);
        Ok(self)
    }

    /// How tokens are chosen; by default as the bundle's manifest says
    /// ([`Model::sampling`](crate::Model::sampling)).
    #[must_use]
    pub fn with_sampling(mut self, sampling: SamplingOptions) -> Self {
        self.sampling = Some(sampling);
        self
    }

    /// Whether to avoid sentences that are already in the context, with identical tokens.
    ///
    /// The token that would complete such a sentence is not chosen if there is another. Only
    /// sentences that end with a full stop, an exclamation mark or a question mark count; a part
    /// such as `He said,` may occur twice. By default as the bundle's manifest says, else on if
    /// tokens are sampled and off if greedy. Only in kind `sllm`.
    #[must_use]
    pub fn with_avoid_repeats(mut self, avoid_repeats: bool) -> Self {
        self.avoid_repeats = Some(avoid_repeats);
        self
    }

    /// Decode each sentence `candidates` times, 1 to 256, and keep the likeliest.
    ///
    /// The candidates are decoded together. The one with the highest mean log-probability of its
    /// tokens is kept; its text is emitted once it is chosen. Only in kind `sllm`. At temperature 0
    /// all candidates are the same, so generation refuses more than one.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_best_of(mut self, candidates: usize) -> Result<Self> {
        if !(1..=MAX_BEST_OF).contains(&candidates) {
            let allowed = format!("1 to {MAX_BEST_OF}");
            return Err(invalid("best-of", candidates, &allowed));
        }
        self.best_of = candidates;
        Ok(self)
    }

    /// What to do when the context is full; [`OverflowPolicy::Stop`] by default.
    #[must_use]
    pub fn with_overflow(mut self, overflow: OverflowPolicy) -> Self {
        self.overflow = overflow;
        self
    }

    /// Stop when this handle is cancelled. The unfinished sentence is dropped; the session is as it
    /// was before it.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelHandle) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Stop when this time has passed since the continuation began, with
    /// [`FinishReason::TimeLimit`](super::FinishReason::TimeLimit). The unfinished sentence is
    /// dropped, as on cancellation.
    #[must_use]
    pub fn with_time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = Some(time_limit);
        self
    }

    /// Give every sentence this number of tokens, its end included.
    pub(crate) fn with_fixed_sentence_tokens(mut self, tokens: usize) -> Self {
        self.fixed_sentence_tokens = Some(tokens);
        self
    }

    /// Most sentences of the continuation.
    #[must_use]
    pub fn max_sentences(&self) -> usize {
        self.max_sentences
    }

    /// Most output tokens of the continuation; `None` for no limit.
    #[must_use]
    pub fn max_tokens(&self) -> Option<usize> {
        self.max_tokens
    }

    /// Whether the predicted end of the text is ignored.
    #[must_use]
    pub fn ignore_eos(&self) -> bool {
        self.ignore_eos
    }

    /// The stop texts.
    #[must_use]
    pub fn stop_texts(&self) -> &[String] {
        &self.stop_texts
    }

    /// How tokens are chosen; `None` for the bundle's defaults.
    #[must_use]
    pub fn sampling_options(&self) -> Option<&SamplingOptions> {
        self.sampling.as_ref()
    }

    /// How many times each sentence is decoded.
    #[must_use]
    pub fn best_of(&self) -> usize {
        self.best_of
    }

    /// What happens when the context is full.
    #[must_use]
    pub fn overflow(&self) -> OverflowPolicy {
        self.overflow
    }

    /// The time limit.
    #[must_use]
    pub fn time_limit(&self) -> Option<Duration> {
        self.time_limit
    }

    /// These options, with the defaults of the model's bundle for what they leave open.
    pub(crate) fn resolved(mut self, model: &Model) -> Self {
        let defaults = model.generation_defaults();
        self.sampling
            .get_or_insert_with(|| defaults.sampling.clone());
        if !matches!(model.network(), Network::Tokens(_)) {
            self.avoid_repeats = self.avoid_repeats.or(defaults.avoid_repeats);
        }
        self
    }

    pub(super) fn sampling(&self) -> SamplingOptions {
        self.sampling.clone().unwrap_or_default()
    }

    /// The same with the seed of a row of a batch.
    pub(crate) fn with_seed_of_row(self, row: u64) -> Self {
        let sampling = self.sampling();
        let seed = sampling.seed().wrapping_add(row);
        self.with_sampling(sampling.with_seed(seed))
    }

    pub(super) fn avoids_repeats(&self) -> bool {
        self.avoid_repeats
            .unwrap_or(self.sampling().temperature > 0.0)
    }

    /// Refuse to decode a sentence several times where all candidates are the same.
    pub(crate) fn check_best_of(&self) -> Result<()> {
        match self.best_of == 1 || self.sampling().temperature > 0.0 {
            true => Ok(()),
            false => {
                let allowed = "1 at temperature 0, where all candidates are the same";
                Err(invalid("best-of", self.best_of, allowed))
            }
        }
    }

    /// Refuse what a token-level model cannot do.
    pub(crate) fn check_token_level(&self) -> Result<()> {
        let refused = |option, value: &dyn ToString, allowed: &str| Error::InvalidOption {
            option,
            value: value.to_string(),
            allowed: format!("{allowed} with a model of kind opt"),
        };
        if self.best_of > 1 {
            return Err(refused("best-of", &self.best_of, "1"));
        }
        let scale = self.sampling().guidance_scale;
        if scale != 1.0 {
            return Err(refused("guidance-scale", &scale, "1"));
        }
        if self.overflow == OverflowPolicy::DropOldest {
            return Err(refused("when-full", &"drop-oldest", "stop"));
        }
        if self.avoid_repeats == Some(true) {
            return Err(refused("avoid-repeats", &true, "false"));
        }
        Ok(())
    }
}

/// The former name of [`OverflowPolicy`].
#[deprecated(since = "0.2.0", note = "renamed to `OverflowPolicy`")]
pub type WhenFull = OverflowPolicy;

/// Former names.
impl GenerateOptions {
    /// See [`with_ignore_eos`](Self::with_ignore_eos).
    #[deprecated(since = "0.2.0", note = "renamed to `with_ignore_eos`")]
    #[must_use]
    pub fn with_ignore_stop(self, ignore_stop: bool) -> Self {
        self.with_ignore_eos(ignore_stop)
    }

    /// See [`with_overflow`](Self::with_overflow).
    #[deprecated(since = "0.2.0", note = "renamed to `with_overflow`")]
    #[must_use]
    pub fn with_when_full(self, overflow: OverflowPolicy) -> Self {
        self.with_overflow(overflow)
    }
}
