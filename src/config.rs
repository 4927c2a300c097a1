//! Model configuration: `configs/*.json`, and the `model` part of a bundle's manifest.

mod file;
mod flops;
mod memory;
mod parameters;
mod validate;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Problems, Result},
    fs::read_text,
    json,
};

pub use crate::kind::ModelKind;
pub(crate) use file::ConfigFile;
pub use flops::{Flops, FlopsAssumptions};
pub use memory::KvBytes;
pub use parameters::Parameters;
pub use validate::*;

/// Which sentences a sentence of the prompt attends to during prefill. Generated sentences always
/// attend only to the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PrefillAttention {
    /// All sentences of the prompt, later ones included. Checkpoints of the original were trained
    /// this way.
    Bidirectional,
    /// The sentence itself and those before it.
    Causal,
}

/// Ids of the special tokens, each below `vocab_size`. OPT uses one id as bos and as eos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SpecialTokens {
    /// Beginning of a sentence.
    pub bos: u32,
    /// End of a sentence.
    pub eos: u32,
    /// Padding in a batch.
    pub pad: u32,
}

impl SpecialTokens {
    /// Output tokens without the eos that may end them.
    pub(crate) fn without_eos<'i>(&self, ids: &'i [u32]) -> &'i [u32] {
        ids.strip_suffix(&[self.eos]).unwrap_or(ids)
    }
}

/// The sentence encoder and decoder (arXiv 2408.00655, section 3.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SvaeConfig {
    /// Transformer layers of the encoder.
    pub layers: usize,
    /// Transformer layers of the decoder, if their number differs from `layers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder_layers: Option<usize>,
    /// Attention heads; they divide `hidden_size`.
    pub heads: usize,
    /// Width of the feed-forward network.
    pub ffn_size: usize,
    /// Width of the token embeddings; projected to `hidden_size` where it differs.
    pub word_embed_size: usize,
    /// Whether the encoder weights each token by a learned scalar before summing.
    pub learnable_add: bool,
    /// Whether layer norms come before attention and feed-forward, with one more after the last
    /// layer. In the paper they come after.
    #[serde(default, skip_serializing_if = "is_false")]
    pub norm_first: bool,
    /// Slots of the sentence vector. With 1, as in the paper, the encoder sums token states and the
    /// decoder attends to the whole vector. With more, attention pools the token states into that
    /// many parts of the vector, and the decoder attends to the whole and to each part.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub slots: usize,
    /// Channels of the context bias, 0 if there is none, as in the paper. With it, the logits of
    /// tokens that the context has gain what the decoder's state says of them, and a constant.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub context_bias_size: usize,
}

impl SvaeConfig {
    /// Transformer layers of the decoder.
    #[must_use]
    pub fn decoder_layers(&self) -> usize {
        self.decoder_layers.unwrap_or(self.layers)
    }
}

fn one() -> usize {
    1
}

// The signatures are those that serde asks for.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &usize) -> bool {
    *value == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_one(value: &usize) -> bool {
    *value == 1
}

/// The OPT layers: over sentences in a model of kind `sllm`, over tokens in one of kind `opt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackboneConfig {
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads; they divide `hidden_size`.
    pub heads: usize,
    /// Width of the feed-forward network.
    pub ffn_size: usize,
    /// Whether layer norms come before (OPT-125M, -1.3B) or after (OPT-350M) attention and
    /// feed-forward.
    pub norm_first: bool,
    /// Number of learned positions.
    pub max_positions: usize,
    /// Attention while the prompt is prefilled; always causal in a model of kind `opt`.
    pub prefill_attention: PrefillAttention,
    /// Width of OPT's token embeddings; only in a model of kind `opt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word_embed_size: Option<usize>,
}

/// The shape and the settings of a model. Serializes to the JSON that it is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModelConfig {
    /// Name of the model, such as `sllm-125m-h4`; on one line.
    pub name: String,
    /// What the model consists of.
    pub kind: ModelKind,
    /// Rows of the token embeddings, at least the size of the tokenizer's vocabulary.
    pub vocab_size: usize,
    /// Width of a sentence vector and of the backbone.
    pub hidden_size: usize,
    /// Longest sentence in tokens, bos included; absent in a model of kind `opt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sentence_tokens: Option<usize>,
    /// Most sentences of a context, prompt included; present in a model of kind `sllm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sentences: Option<usize>,
    /// Ids of the special tokens.
    pub tokens: SpecialTokens,
    /// Sentence encoder and decoder; absent in a model of kind `opt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub svae: Option<SvaeConfig>,
    /// Backbone; absent in a model of kind `svae`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneConfig>,
    /// How a generated sentence is encoded again. `true`: bos and its tokens, as in training.
    /// `false`, the default: the output tokens (no bos, with eos), as in the original. Only kind
    /// `sllm` uses it.
    pub reencode_bos: bool,
    /// Whether a generated sentence is encoded again with an attention mask. The original passes
    /// none, and its encoder then sets all positions to 0: each generated sentence gets the vector
    /// of an empty one, whatever its text. Defaults to `reencode_bos`.
    pub reencode_mask: bool,
}

impl ModelConfig {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::FileTooLarge`], [`Error::Text`], and those of
    /// [`ModelConfig::from_json_str`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = read_text(path, MAX_CONFIG_BYTES)?;
        Self::from_json_str(&text, &path.display().to_string())
    }

    /// Reads and checks a configuration; `origin`, such as a file's name, names the text in errors.
    ///
    /// # Errors
    /// [`Error::Json`] for a text that is not JSON, [`LfsPointer`](crate::error::BundleError) for one
    /// that Git LFS put in place of the file, [`Error::Schema`] for a wrong configuration. A
    /// wrong type, a missing or an unknown key is reported alone, values out of range all at once.
    pub fn from_json_str(text: &str, origin: &str) -> Result<Self> {
        let file: ConfigFile = json::from_value(&json::parse(text, origin)?, origin)?;
        let mut problems = Problems::default();
        let config = file.check(&mut problems);
        problems.into_result(origin)?;
        Ok(config)
    }

    /// The configuration of sentence encoder and decoder.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `opt`.
    pub fn require_svae(&self) -> Result<&SvaeConfig> {
        self.svae
            .as_ref()
            .ok_or_else(|| self.wrong_kind("sentence encoder and decoder", "svae or sllm"))
    }

    /// The configuration of the backbone.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `svae`.
    pub fn require_backbone(&self) -> Result<&BackboneConfig> {
        self.backbone
            .as_ref()
            .ok_or_else(|| self.wrong_kind("backbone", "sllm or opt"))
    }

    /// The longest sentence in tokens, bos included.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `opt`.
    pub fn require_max_sentence_tokens(&self) -> Result<usize> {
        match (self.kind, self.max_sentence_tokens) {
            (ModelKind::Svae | ModelKind::Sllm, Some(n)) => Ok(n),
            _ => Err(self.wrong_kind("sentences", "svae or sllm")),
        }
    }

    /// The most sentences of a context, prompt included.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model that is not of kind `sllm`.
    pub fn require_max_sentences(&self) -> Result<usize> {
        match (self.kind, self.max_sentences) {
            (ModelKind::Sllm, Some(n)) => Ok(n),
            _ => Err(self.wrong_kind("context of sentences", "sllm")),
        }
    }

    /// The longest sentence in tokens, bos included; in kind `opt`, which has no such limit, the
    /// longest context.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a configuration that is not valid.
    pub fn longest_sentence(&self) -> Result<usize> {
        match self.kind {
            ModelKind::Opt => Ok(self.require_backbone()?.max_positions),
            _ => self.require_max_sentence_tokens(),
        }
    }

    pub(crate) fn wrong_kind(&self, part: &'static str, usable: &'static str) -> Error {
        Error::WrongKind {
            model: self.name.clone(),
            kind: self.kind,
            part,
            usable,
        }
    }

    /// Channels of one attention head of the sentence encoder and decoder; `None` for kind `opt`.
    pub fn svae_head_size(&self) -> Option<usize> {
        self.svae
            .as_ref()
            .and_then(|svae| self.hidden_size.checked_div(svae.heads))
    }

    /// Channels of one attention head of the backbone; `None` for kind `svae`.
    pub fn backbone_head_size(&self) -> Option<usize> {
        self.backbone
            .as_ref()
            .and_then(|backbone| self.hidden_size.checked_div(backbone.heads))
    }
}
