//! Windows of a text under a model of any kind.

mod sentences;
mod tokens;

use self::{sentences::SentenceMeasure, tokens::TokenMeasure};
use super::{sums::Sums, window_limit::WindowLimit, windows::Window};
use crate::{
    error::Result,
    model::{Model, Network},
};

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
        Ok(match model.network() {
            Network::Autoencoder(model) => Self::Sentences(SentenceMeasure::of_autoencoder(model)),
            Network::Sentences(model) => Self::Sentences(SentenceMeasure::new(model)?),
            Network::Tokens(model) => Self::Tokens(TokenMeasure::new(model)?),
        })
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
pub fn window_limit(model: &Model) -> WindowLimit {
    match model.network() {
        // One position is that of bos.
        Network::Tokens(model) => WindowLimit::Tokens(model.graph.max_positions() - 1),
        Network::Sentences(model) => WindowLimit::Sentences(model.max_sentences),
        Network::Autoencoder(_) => WindowLimit::Sentences(SVAE_WINDOW),
    }
}
