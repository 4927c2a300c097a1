//! How a model is loaded.

use std::path::PathBuf;

use crate::{
    error::{Error, Result},
    runtime::ProviderChoice,
};

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    pub(super) provider: ProviderChoice,
    pub(super) variant: Option<String>,
    pub(super) threads: Option<usize>,
    pub(super) onnxruntime: Option<PathBuf>,
}

impl LoadOptions {
    /// The execution provider; [`ProviderChoice::Auto`] where not set.
    #[must_use]
    pub fn with_provider(mut self, provider: ProviderChoice) -> Self {
        self.provider = provider;
        self
    }

    /// The variant of the bundle by name; the first one made for the provider where not set.
    #[must_use]
    pub fn with_variant(mut self, variant: impl Into<String>) -> Self {
        self.variant = Some(variant.into());
        self
    }

    /// Threads that work on one graph, 1 to 1024; where not set one for a model narrower than 512,
    /// else all processors up to 4.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_threads(mut self, threads: usize) -> Result<Self> {
        if !(1..=1024).contains(&threads) {
            return Err(Error::InvalidOption {
                option: "threads",
                value: threads.to_string(),
                allowed: "1 to 1024".into(),
            });
        }
        self.threads = Some(threads);
        Ok(self)
    }

    /// The ONNX Runtime library to load, in place of searching one. The first model of a process
    /// decides for all.
    #[must_use]
    pub fn with_onnxruntime(mut self, path: impl Into<PathBuf>) -> Self {
        self.onnxruntime = Some(path.into());
        self
    }
}
