//! Limits and relations of the values of a configuration.

use std::fmt::Display;

use serde::Deserializer;

use super::{BackboneConfig, ModelConfig, ModelKind, PrefillAttention, SvaeConfig};
use crate::error::{Problems, Result};
use crate::json::StringVisitor;

/// Largest configuration file, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Longest name of a model or of a variant, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Largest vocabulary, about four times the largest in use.
pub const MAX_VOCAB_SIZE: usize = 1 << 20;
/// Largest width of a hidden state or of an embedding.
pub const MAX_HIDDEN_SIZE: usize = 1 << 16;
/// Largest width of a feed-forward network.
pub const MAX_FFN_SIZE: usize = 1 << 18;
/// Most layers of a stack.
pub const MAX_LAYERS: usize = 1024;
/// Most slots of a sentence vector.
pub const MAX_SLOTS: usize = 1024;
/// Shortest allowed `max_sentence_tokens`: bos and one token.
pub const MIN_SENTENCE_TOKENS: usize = 2;
/// Longest allowed `max_sentence_tokens`.
pub const MAX_SENTENCE_TOKENS: usize = 1 << 16;
/// Most positions of a backbone.
pub const MAX_POSITIONS: usize = 1 << 20;

/// What `svae` and `backbone` are.
const PART: &str = "an object with layers, heads, ...";

impl ModelConfig {
    /// Checks every value, and how values fit together; `origin` names the configuration in errors.
    ///
    /// What [`from_json_str`](Self::from_json_str) returns has passed this; call it again after
    /// changing a field.
    ///
    /// # Errors
    /// [`Error::Schema`](crate::Error::Schema) with every value that is not allowed, every missing
    /// part that the kind of model needs, and every part that it must not have.
    pub fn validate(&self, origin: &str) -> Result<()> {
        let mut problems = Problems::default();
        self.check(&mut problems);
        problems.into_result(origin)
    }

    /// Adds all that is wrong to `problems`.
    pub(crate) fn check(&self, problems: &mut Problems) {
        require_label(problems, "name", &self.name);
        problems.require_range("vocab_size", self.vocab_size, 1, MAX_VOCAB_SIZE);
        problems.require_range("hidden_size", self.hidden_size, 1, MAX_HIDDEN_SIZE);
        // What is itself out of range makes nothing else wrong.
        let limit = match self.vocab_size {
            size @ 1..=MAX_VOCAB_SIZE => size,
            _ => MAX_VOCAB_SIZE,
        };
        for (key, id) in [
            ("tokens.bos", self.tokens.bos),
            ("tokens.eos", self.tokens.eos),
            ("tokens.pad", self.tokens.pad),
        ] {
            let below = usize::try_from(id).is_ok_and(|id| id < limit);
            problems.require(
                below,
                key,
                id,
                format_args!("an id below vocab_size ({limit})"),
            );
        }
        problems.require(
            !self.reencode_bos || self.reencode_mask,
            "reencode_mask",
            self.reencode_mask,
            "true where reencode_bos is true: without a mask nothing is encoded",
        );
        match self.kind {
            ModelKind::Opt => problems.refuse_key(&self.svae, "svae", self.kind),
            _ => {
                problems.require_key(&self.svae, "svae", PART);
                let (key, allowed) = ("max_sentence_tokens", "2 or more");
                problems.require_key(&self.max_sentence_tokens, key, allowed);
            }
        }
        match self.kind {
            ModelKind::Svae => problems.refuse_key(&self.backbone, "backbone", self.kind),
            _ => problems.require_key(&self.backbone, "backbone", PART),
        }
        if self.kind == ModelKind::Sllm {
            problems.require_key(&self.max_sentences, "max_sentences", "1 or more");
        }
        if let Some(n) = self.max_sentence_tokens {
            let key = "max_sentence_tokens";
            problems.require_range(key, n, MIN_SENTENCE_TOKENS, MAX_SENTENCE_TOKENS);
        }
        if let Some(svae) = &self.svae {
            self.check_svae(svae, problems);
        }
        if let Some(backbone) = &self.backbone {
            self.check_backbone(backbone, problems);
        }
        if let Some(n) = self.max_sentences {
            let positions = self
                .backbone
                .as_ref()
                .map(|backbone| backbone.max_positions);
            let most = positions.unwrap_or(MAX_POSITIONS).clamp(1, MAX_POSITIONS);
            let source = positions.map_or("", |_| ", the backbone's max_positions");
            let allowed = format_args!("1 to {most}{source}");
            problems.require((1..=most).contains(&n), "max_sentences", n, allowed);
        }
    }

    fn check_svae(&self, svae: &SvaeConfig, problems: &mut Problems) {
        problems.require_range("svae.layers", svae.layers, 1, MAX_LAYERS);
        if let Some(layers) = svae.decoder_layers {
            problems.require_range("svae.decoder_layers", layers, 1, MAX_LAYERS);
        }
        self.check_divisor("svae.heads", svae.heads, problems);
        match svae.slots <= MAX_SLOTS {
            true => self.check_divisor("svae.slots", svae.slots, problems),
            false => problems.require_range("svae.slots", svae.slots, 1, MAX_SLOTS),
        }
        problems.require(
            svae.slots == 1 || !svae.learnable_add,
            "svae.learnable_add",
            true,
            "false where svae.slots is above 1",
        );
        let (key, size) = ("svae.context_bias_size", svae.context_bias_size);
        problems.require_range(key, size, 0, MAX_HIDDEN_SIZE);
        problems.require_range("svae.ffn_size", svae.ffn_size, 1, MAX_FFN_SIZE);
        let key = "svae.word_embed_size";
        problems.require_range(key, svae.word_embed_size, 1, MAX_HIDDEN_SIZE);
    }

    fn check_backbone(&self, backbone: &BackboneConfig, problems: &mut Problems) {
        problems.require_range("backbone.layers", backbone.layers, 1, MAX_LAYERS);
        self.check_divisor("backbone.heads", backbone.heads, problems);
        problems.require_range("backbone.ffn_size", backbone.ffn_size, 1, MAX_FFN_SIZE);
        let key = "backbone.max_positions";
        problems.require_range(key, backbone.max_positions, 1, MAX_POSITIONS);
        let (key, size) = ("backbone.word_embed_size", backbone.word_embed_size);
        if self.kind != ModelKind::Opt {
            problems.refuse_key(&size, key, self.kind);
            return;
        }
        problems.require_key(&size, key, "1 or more");
        if let Some(size) = size {
            problems.require_range(key, size, 1, MAX_HIDDEN_SIZE);
        }
        problems.require(
            backbone.prefill_attention == PrefillAttention::Causal,
            "backbone.prefill_attention",
            backbone.prefill_attention,
            "\"causal\" in a model of kind opt",
        );
    }

    /// Adds a problem unless `value` divides the hidden size; with a hidden size that is itself out
    /// of range, only if it is 0.
    fn check_divisor(&self, key: &str, value: usize, problems: &mut Problems) {
        let size = self.hidden_size;
        if !(1..=MAX_HIDDEN_SIZE).contains(&size) {
            problems.require(value > 0, key, value, "a divisor of hidden_size");
            return;
        }
        let allowed = format_args!("a divisor of hidden_size ({size})");
        problems.require(size.is_multiple_of(value), key, value, allowed);
    }
}

/// What a name may be.
const LABEL: &str = "a string of 1 to 128 bytes without control characters";

/// Reads a string that [`require_label`] checks.
pub(crate) fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_string(StringVisitor(LABEL))
}

/// Adds a problem unless `value` can be shown as a name: not empty, not too long, and on one line.
pub(crate) fn require_label(problems: &mut Problems, key: impl Display, value: &str) {
    let fits = (1..=MAX_NAME_BYTES).contains(&value.len()) && !value.chars().any(char::is_control);
    problems.require(fits, key, value, LABEL);
}
