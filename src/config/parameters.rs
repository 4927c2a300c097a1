//! Sizes that follow from a configuration.

use serde::Serialize;

use super::{ModelConfig, ModelKind};

/// Bytes of a number in a KV cache.
const CACHE_NUMBER_BYTES: usize = size_of::<f32>();
/// Rows that OPT's position table has beyond its positions.
const POSITION_OFFSET: usize = 2;

/// Numbers of parameters, as in a checkpoint of the original (an exported graph has fewer: the
/// query and key of an attention to one vector have no effect).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Parameters {
    /// The sentence encoder.
    pub encoder: usize,
    /// The backbone with its positions and the stop head; in kind `opt` all but the embeddings.
    pub backbone: usize,
    /// The sentence decoder with the output projection; in kind `opt` the token embeddings.
    pub decoder: usize,
    /// All.
    pub total: usize,
}

impl ModelConfig {
    /// Numbers of parameters of the model's parts.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        let d = self.hidden_size;
        let norm = 2 * d;
        let attention = 4 * (d * d + d);
        let ffn = |size: usize| 2 * d * size + size + d;
        let embedding = |size: usize| self.vocab_size * size + if size == d { 0 } else { size * d };
        let (encoder, decoder) = self.svae.as_ref().map_or((0, 0), |svae| {
            let layer = attention + ffn(svae.ffn_size) + 2 * norm;
            let learnable_add = if svae.learnable_add { d + 1 } else { 0 };
            let output = self.vocab_size * (d + 1);
            (
                embedding(svae.word_embed_size) + svae.layers * layer + learnable_add + norm,
                embedding(svae.word_embed_size) + svae.layers * (layer + attention + norm) + output,
            )
        });
        let backbone = self.backbone.as_ref().map_or(0, |backbone| {
            let layer = attention + ffn(backbone.ffn_size) + 2 * norm;
            let positions = (backbone.max_positions + POSITION_OFFSET) * d;
            let head = match (self.kind, backbone.word_embed_size) {
                (ModelKind::Sllm, _) => 2 * (d + 1),
                (_, Some(size)) if size != d => size * d,
                _ => 0,
            };
            let final_norm = match self.kind {
                ModelKind::Opt if backbone.norm_first => norm,
                _ => 0,
            };
            backbone.layers * layer + positions + head + final_norm
        });
        let decoder = match self.backbone.as_ref().and_then(|b| b.word_embed_size) {
            Some(size) if self.kind == ModelKind::Opt => embedding(size),
            _ => decoder,
        };
        Parameters {
            encoder,
            backbone,
            decoder,
            total: encoder + backbone + decoder,
        }
    }

    /// Bytes that the backbone's KV cache takes for each sentence (in kind `opt` for each token);
    /// `None` without a backbone.
    #[must_use]
    pub fn kv_bytes_per_sentence(&self) -> Option<usize> {
        let layers = self.backbone.as_ref()?.layers;
        Some(2 * layers * self.hidden_size * CACHE_NUMBER_BYTES)
    }

    /// Bytes that the decoder's KV cache takes for each token of the sentence that is decoded;
    /// `None` without a decoder.
    #[must_use]
    pub fn kv_bytes_per_token(&self) -> Option<usize> {
        let layers = self.svae.as_ref()?.layers;
        Some(2 * layers * self.hidden_size * CACHE_NUMBER_BYTES)
    }
}
