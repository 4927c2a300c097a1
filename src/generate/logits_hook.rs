//! A caller's change of logits.

use std::{fmt, sync::Arc};

use crate::{
    error::{Error, Result},
    logits::Logits,
};

/// A function that changes the logits of the next token before it is chosen.
///
/// It gets the output tokens of the sentence so far. It may mask tokens with negative infinity and
/// change values, but not leave NaN or positive infinity.
#[derive(Clone)]
pub struct LogitsHook(Arc<Function>);

type Function = dyn Fn(&[u32], &mut Logits) + Send + Sync;

impl LogitsHook {
    /// A hook that calls `function`.
    pub fn new(function: impl Fn(&[u32], &mut Logits) + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    pub(super) fn call(&self, ids: &[u32], logits: &mut Logits) -> Result<()> {
        (self.0)(ids, logits);
        let allowed = |value: &f32| value.is_finite() || *value == f32::NEG_INFINITY;
        match logits.values().iter().find(|value| !allowed(value)) {
            None => Ok(()),
            Some(value) => Err(Error::InvalidOption {
                option: "logits hook",
                value: value.to_string(),
                allowed: "finite logits and negative infinity".into(),
            }),
        }
    }
}

impl fmt::Debug for LogitsHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogitsHook")
    }
}
