//! A prompt that the choices of a request share.

use std::sync::Arc;

/// A text to append.
pub struct Prompt {
    /// What it is in its request, for errors.
    pub param: Arc<str>,
    pub text: String,
}

impl Prompt {
    pub fn new(param: &str, text: String) -> Arc<Self> {
        let param = param.into();
        Arc::new(Self { param, text })
    }
}
