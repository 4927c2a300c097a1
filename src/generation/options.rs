//! How a continuation is generated.

use crate::{
    error::{Error, Result},
    sampling::SamplingOptions,
    text::{Tail, segments},
};

/// How a continuation is generated.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GenerateOptions {
    pub(super) max_sentences: usize,
    pub(super) ignore_stop: bool,
    pub(super) stop_text: Option<String>,
    pub(super) sampling: SamplingOptions,
}

impl Default for GenerateOptions {
    /// Up to 16 sentences, greedy, to the end that the model sets.
    fn default() -> Self {
        Self {
            max_sentences: 16,
            ignore_stop: false,
            stop_text: None,
            sampling: SamplingOptions::default(),
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

    /// Go on where the model's stop head says that the text is over.
    #[must_use]
    pub fn with_ignore_stop(mut self, ignore_stop: bool) -> Self {
        self.ignore_stop = ignore_stop;
        self
    }

    /// End before this text is generated.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for an empty text, and for one that goes on after the end of a
    /// sentence: it is looked for within each sentence.
    pub fn with_stop_text(mut self, stop_text: impl Into<String>) -> Result<Self> {
        let stop_text = stop_text.into();
        if segments(&stop_text, Tail::Keep).count() != 1 {
            return Err(Error::InvalidOption {
                option: "stop",
                value: format!("{stop_text:?}"),
                allowed: "a text that ends with its first sentence".into(),
            });
        }
        self.stop_text = Some(stop_text);
        Ok(self)
    }

    /// How tokens are chosen.
    #[must_use]
    pub fn with_sampling(mut self, sampling: SamplingOptions) -> Self {
        self.sampling = sampling;
        self
    }
}
