//! Windows of a text under a model of any kind.

mod sentences;
mod tokens;

use self::{sentences::SentenceMeasure, tokens::TokenMeasure};
use super::{sums::Sums, window_limit::WindowLimit, windows::Window};
use crate::{config::ModelKind, error::Result, model::Model};

/// Sentences of a window for a model without a context.
const SVAE_WINDOW: usize = 64;

/// Measures windows, one batch of them after the other.
#[derive(Debug)]
pub enum Measure<'m> {
    Sentences(SentenceMeasure<'m>),
    Tokens(TokenMeasure<'m>),
}

impl<'m> Measure<'m> {
    pub fn new(model: &'m Model) -> Result<Self> {
        match model.config().kind {
            ModelKind::Opt => Ok(Self::Tokens(TokenMeasure::new(model)?)),
            _ => Ok(Self::Sentences(SentenceMeasure::new(model)?)),
        }
    }

    /// Add what is found of `windows` to `sums`.
    pub fn add(&mut self, windows: &[Window], sums: &mut Sums) -> Result<()> {
        match self {
            Self::Sentences(measure) => measure.add(windows, sums),
            Self::Tokens(measure) => measure.add(windows, sums),
        }
    }
}

/// The context of a model.
pub fn window_limit(model: &Model) -> Result<WindowLimit> {
    let config = model.config();
    Ok(match config.kind {
        // One position is that of bos.
        ModelKind::Opt => WindowLimit::Tokens(config.longest_sentence()? - 1),
        ModelKind::Sllm => WindowLimit::Sentences(config.require_max_sentences()?),
        ModelKind::Svae => WindowLimit::Sentences(SVAE_WINDOW),
    })
}
