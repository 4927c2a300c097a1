//! How a model is evaluated.

use std::{path::PathBuf, time::Duration};

use crate::error::{Error, Result};

const STATE_INTERVAL: Duration = Duration::from_secs(10);

/// How a model is evaluated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EvalOptions {
    pub(super) limit: Option<u64>,
    pub(super) state: Option<PathBuf>,
    pub(super) state_interval: Duration,
    pub(super) keep_state: bool,
}

impl Default for EvalOptions {
    /// The whole file, without a state file.
    fn default() -> Self {
        Self {
            limit: None,
            state: None,
            state_interval: STATE_INTERVAL,
            keep_state: false,
        }
    }
}

impl EvalOptions {
    /// Evaluate only the first `records` records, at least 1; records without a sentence do not
    /// count.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for 0.
    pub fn with_limit(mut self, records: u64) -> Result<Self> {
        if records == 0 {
            return Err(Error::InvalidOption {
                option: "limit",
                value: records.to_string(),
                allowed: "1 or more".into(),
            });
        }
        self.limit = Some(records);
        Ok(self)
    }

    /// Save progress to this file, and resume from it if it exists.
    ///
    /// The file is removed at the end. A file that was saved with another model, variant, text,
    /// limit, execution provider, matmul kernel or version of this crate is refused: its figures
    /// must not be mixed with new ones.
    #[must_use]
    pub fn with_state(mut self, path: impl Into<PathBuf>) -> Self {
        self.state = Some(path.into());
        self
    }

    /// How often the state file is written; by default every 10 seconds.
    #[must_use]
    pub fn with_state_interval(mut self, interval: Duration) -> Self {
        self.state_interval = interval;
        self
    }

    /// Keep the state file at the end, so that the same evaluation returns its result at once.
    #[must_use]
    pub fn with_keep_state(mut self, keep: bool) -> Self {
        self.keep_state = keep;
        self
    }
}
