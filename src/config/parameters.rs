//! Sizes that follow from a configuration.

use serde::Serialize;

use super::{ModelConfig, ModelKind, SvaeConfig};

/// Bytes of a number in a KV cache.
pub(super) const CACHE_NUMBER_BYTES: usize = size_of::<f32>();
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
    /// All parameters.
    pub total: usize,
}

/// Parameters that a vector of several slots adds to the parts of a model.
#[derive(Default)]
struct SlotParameters {
    encoder: usize,
    decoder: usize,
    decoder_layer: usize,
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
            let last_norm = if svae.norm_first { norm } else { 0 };
            let slots = self.slot_parameters(svae);
            let encoder_layers = svae.layers * layer + last_norm;
            let decoder_layer = layer + attention + norm + slots.decoder_layer;
            let decoder_layers = svae.decoder_layers() * decoder_layer + last_norm;
            let embedding = embedding(svae.word_embed_size);
            let channels = svae.context_bias_size;
            let context_bias = match channels {
                0 => 0,
                _ => channels * d + self.vocab_size * (channels + 1),
            };
            (
                embedding + encoder_layers + learnable_add + slots.encoder + norm,
                embedding + decoder_layers + slots.decoder + output + context_bias,
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

    /// What a vector of several slots adds.
    fn slot_parameters(&self, svae: &SvaeConfig) -> SlotParameters {
        if svae.slots == 1 {
            return SlotParameters::default();
        }
        let (d, slots) = (self.hidden_size, svae.slots);
        let tokens = self.max_sentence_tokens.unwrap_or(0);
        SlotParameters {
            // The query, keys and values with their biases, the position bias.
            encoder: d + 2 * (d * d + d) + tokens * slots,
            // A norm, the maps of the whole and of a slot, the embeddings of the entries.
            decoder: 2 * d + d * d + d * (d / slots) + (slots + 1) * d,
            decoder_layer: tokens * (slots + 1),
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
        let layers = self.svae.as_ref()?.decoder_layers();
        Some(2 * layers * self.hidden_size * CACHE_NUMBER_BYTES)
    }
}
