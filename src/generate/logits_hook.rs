//! A hook that changes logits.

use std::{fmt, sync::Arc};

use crate::{
    error::{Error, Result},
    logits::Logits,
};

/// A function that changes the logits of the next token before it is chosen.
///
/// It gets the output tokens of the sentence so far. It may mask tokens with negative infinity and
/// change values, but not leave NaN or positive infinity, or mask all tokens.
///
/// It runs before the repetition penalty and the rules on repetition. Log-probabilities are those
/// before the hook. With [`best_of`](crate::GenerateOptions::with_best_of) it is called for each
/// hypothesis in turn. In variants that rank a large vocabulary it sees the best tokens only.
/// [`TextPipeline::decode`](crate::text::TextPipeline::decode) gives the text of ids.
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
        let refused = |value: String| Error::InvalidOption {
            option: "logits hook",
            value,
            allowed: "finite logits and negative infinity, not for all tokens".into(),
        };
        if let Some(value) = logits.values().iter().find(|value| !allowed(value)) {
            return Err(refused(value.to_string()));
        }
        match logits.values().iter().all(|value| value.is_infinite()) {
            true => Err(refused("a mask of all tokens".into())),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for LogitsHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogitsHook")
    }
}
