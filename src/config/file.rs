//! The JSON of a configuration.

use serde::Deserialize;

use super::{
    BackboneConfig, ModelConfig, ModelKind, PrefillAttention, SpecialTokens, SvaeConfig, label,
};
use crate::error::Problems;

/// A configuration as it is written, with all keys that models of any kind have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigFile {
    #[serde(deserialize_with = "label")]
    name: String,
    kind: ModelKind,
    vocab_size: usize,
    hidden_size: usize,
    max_sentence_tokens: Option<usize>,
    max_sentences: Option<usize>,
    tokens: SpecialTokens,
    svae: Option<SvaeConfig>,
    backbone: Option<BackboneFile>,
    reencode_bos: Option<bool>,
    reencode_mask: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackboneFile {
    layers: usize,
    heads: usize,
    ffn_size: usize,
    norm_first: bool,
    max_positions: usize,
    prefill_attention: Option<PrefillAttention>,
    word_embed_size: Option<usize>,
}

impl ConfigFile {
    /// The configuration, with defaults for what is absent; adds all that is wrong to `problems`.
    pub fn check(self, problems: &mut Problems) -> ModelConfig {
        if self.kind == ModelKind::Sllm {
            problems.require_key(&self.reencode_bos, "reencode_bos", "true or false");
            if let Some(backbone) = &self.backbone {
                let choices = "\"bidirectional\", \"causal\"";
                let key = "backbone.prefill_attention";
                problems.require_key(&backbone.prefill_attention, key, choices);
            }
        }
        let reencode_bos = self.reencode_bos.unwrap_or(false);
        let config = ModelConfig {
            name: self.name,
            kind: self.kind,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            max_sentence_tokens: self.max_sentence_tokens,
            max_sentences: self.max_sentences,
            tokens: self.tokens,
            svae: self.svae,
            backbone: self.backbone.map(BackboneFile::config),
            reencode_bos,
            reencode_mask: self.reencode_mask.unwrap_or(reencode_bos),
        };
        config.check(problems);
        config
    }
}

impl BackboneFile {
    fn config(self) -> BackboneConfig {
        BackboneConfig {
            layers: self.layers,
            heads: self.heads,
            ffn_size: self.ffn_size,
            norm_first: self.norm_first,
            max_positions: self.max_positions,
            prefill_attention: self.prefill_attention.unwrap_or(PrefillAttention::Causal),
            word_embed_size: self.word_embed_size,
        }
    }
}
