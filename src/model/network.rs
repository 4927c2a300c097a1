//! A loaded model by its kind, which is decided here and nowhere else.

use std::sync::Arc;

use super::{Model, Shared, graphs::Graphs};
use crate::{
    error::{Error, Result},
    graphs::{Backbone, Decoder, Encoder, TokenLm},
};

/// The graphs of a model by its kind.
#[derive(Clone, Debug)]
pub(crate) enum Network {
    /// Kind `svae`.
    Autoencoder(Arc<Autoencoder>),
    /// Kind `sllm`.
    Sentences(Arc<SentenceModel>),
    /// Kind `opt`.
    Tokens(Arc<TokenModel>),
}

/// Sentence encoder and decoder.
#[derive(Debug)]
pub(crate) struct Autoencoder {
    pub shared: Arc<Shared>,
    pub encoder: Encoder,
    pub decoder: Decoder,
}

/// A sentence-level language model.
#[derive(Debug)]
pub(crate) struct SentenceModel {
    pub autoencoder: Autoencoder,
    pub backbone: Backbone,
    /// Most sentences of a context.
    pub max_sentences: usize,
}

/// A token-level language model.
#[derive(Debug)]
pub(crate) struct TokenModel {
    pub shared: Arc<Shared>,
    pub graph: TokenLm,
}

impl Network {
    pub(super) fn new(shared: &Arc<Shared>, graphs: Graphs) -> Result<Self> {
        let shared = shared.clone();
        Ok(match graphs {
            Graphs::Tokens(graph) => Self::Tokens(Arc::new(TokenModel { shared, graph })),
            Graphs::Autoencoder { encoder, decoder } => Self::Autoencoder(Arc::new(Autoencoder {
                shared,
                encoder,
                decoder,
            })),
            Graphs::Sentences {
                encoder,
                backbone,
                decoder,
            } => Self::Sentences(Arc::new(SentenceModel {
                backbone,
                max_sentences: shared.bundle.config.require_max_sentences()?,
                autoencoder: Autoencoder {
                    shared,
                    encoder,
                    decoder,
                },
            })),
        })
    }
}

impl Model {
    /// The sentence encoder and decoder.
    pub(crate) fn autoencoder(&self) -> Result<&Autoencoder> {
        match self.network() {
            Network::Autoencoder(autoencoder) => Ok(autoencoder),
            Network::Sentences(model) => Ok(&model.autoencoder),
            Network::Tokens(_) => {
                Err(self.wrong_kind("sentence encoder and decoder", "svae or sllm"))
            }
        }
    }

    pub(crate) fn wrong_kind(&self, part: &'static str, usable: &'static str) -> Error {
        self.config().wrong_kind(part, usable)
    }

    #[cfg(test)]
    pub(crate) fn sentence_model(&self) -> Option<&Arc<SentenceModel>> {
        match self.network() {
            Network::Sentences(model) => Some(model),
            _ => None,
        }
    }
}

impl SentenceModel {
    pub fn shared(&self) -> &Shared {
        &self.autoencoder.shared
    }

    /// What the encoder sees of a generated sentence; empty where all of it is masked.
    pub fn encoder_ids(&self, output: &[u32]) -> Vec<u32> {
        let shared = self.shared();
        let config = &shared.bundle.config;
        match (config.reencode_mask, config.reencode_bos) {
            (true, true) => {
                let spoken = shared.special_tokens().without_eos(output);
                shared.prompt_ids(spoken.to_vec())
            }
            (true, false) => output.to_vec(),
            (false, _) => Vec::new(),
        }
    }
}
