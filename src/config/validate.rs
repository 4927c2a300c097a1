//! Limits and relations of the values of a configuration.

use serde_json::{Value, json};

use super::fields::{At, is_label, label_rule};
use super::{ModelConfig, ModelKind, PrefillAttention};
use crate::error::Result;

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

impl ModelConfig {
    /// Checks every value and how they fit together; `origin` is what an error calls the
    /// configuration.
    ///
    /// What [`from_json_str`](Self::from_json_str) returns has passed this; call it again after
    /// changing a field.
    ///
    /// # Errors
    /// [`Error::InvalidValue`](crate::Error::InvalidValue) for the first value that is not allowed,
    /// and [`Error::WrongKind`](crate::Error::WrongKind) for a part that the kind needs and that is
    /// absent.
    pub fn validate(&self, origin: &str) -> Result<()> {
        self.validate_at(At { origin, key: "" })
    }

    pub(crate) fn validate_at(&self, at: At<'_>) -> Result<()> {
        let check = Check { at };
        check.holds(is_label(&self.name, MAX_NAME_BYTES), "name", || {
            (json!(self.name), label_rule(MAX_NAME_BYTES))
        })?;
        check.range("vocab_size", self.vocab_size, 1, MAX_VOCAB_SIZE)?;
        check.range("hidden_size", self.hidden_size, 1, MAX_HIDDEN_SIZE)?;
        for (key, id) in [
            ("tokens.bos", self.tokens.bos),
            ("tokens.eos", self.tokens.eos),
            ("tokens.pad", self.tokens.pad),
        ] {
            let inside = usize::try_from(id).is_ok_and(|id| id < self.vocab_size);
            check.holds(inside, key, || {
                (
                    json!(id),
                    format!("an id below vocab_size ({})", self.vocab_size),
                )
            })?;
        }
        let usable = !self.reencode_bos || self.reencode_mask;
        check.holds(usable, "reencode_mask", || {
            let allowed = "true where reencode_bos is true: without a mask nothing is encoded";
            (json!(self.reencode_mask), allowed.to_owned())
        })?;
        if self.kind != ModelKind::Opt {
            self.require_svae()?;
            self.require_max_sentence_tokens()?;
        }
        if self.kind != ModelKind::Svae {
            self.require_backbone()?;
        }
        if self.kind == ModelKind::Sllm {
            self.require_max_sentences()?;
        }
        if let Some(n) = self.max_sentence_tokens {
            check.range(
                "max_sentence_tokens",
                n,
                MIN_SENTENCE_TOKENS,
                MAX_SENTENCE_TOKENS,
            )?;
        }
        if let Some(svae) = &self.svae {
            check.range("svae.layers", svae.layers, 1, MAX_LAYERS)?;
            check.range("svae.decoder_layers", svae.decoder_layers(), 1, MAX_LAYERS)?;
            check.divides("svae.heads", svae.heads, self.hidden_size)?;
            check.range("svae.slots", svae.slots, 1, MAX_SLOTS)?;
            check.divides("svae.slots", svae.slots, self.hidden_size)?;
            check.holds(
                svae.slots == 1 || !svae.learnable_add,
                "svae.learnable_add",
                || (json!(true), "false where svae.slots is above 1".to_owned()),
            )?;
            check.range("svae.ffn_size", svae.ffn_size, 1, MAX_FFN_SIZE)?;
            check.range(
                "svae.word_embed_size",
                svae.word_embed_size,
                1,
                MAX_HIDDEN_SIZE,
            )?;
        }
        let mut positions = MAX_POSITIONS;
        if let Some(backbone) = &self.backbone {
            check.range("backbone.layers", backbone.layers, 1, MAX_LAYERS)?;
            check.divides("backbone.heads", backbone.heads, self.hidden_size)?;
            check.range("backbone.ffn_size", backbone.ffn_size, 1, MAX_FFN_SIZE)?;
            check.range(
                "backbone.max_positions",
                backbone.max_positions,
                1,
                MAX_POSITIONS,
            )?;
            positions = backbone.max_positions;
            if let Some(n) = backbone.word_embed_size {
                check.range("backbone.word_embed_size", n, 1, MAX_HIDDEN_SIZE)?;
            }
            let causal = backbone.prefill_attention == PrefillAttention::Causal;
            check.holds(
                self.kind != ModelKind::Opt || causal,
                "backbone.prefill_attention",
                || {
                    (
                        json!(backbone.prefill_attention),
                        "\"causal\" in a model of kind opt".to_owned(),
                    )
                },
            )?;
        }
        if let Some(n) = self.max_sentences {
            check.holds((1..=positions).contains(&n), "max_sentences", || {
                (
                    json!(n),
                    format!("1 to {positions}, the backbone's max_positions"),
                )
            })?;
        }
        Ok(())
    }
}

struct Check<'a> {
    at: At<'a>,
}

impl Check<'_> {
    fn holds(&self, ok: bool, key: &str, why: impl FnOnce() -> (Value, String)) -> Result<()> {
        if ok {
            return Ok(());
        }
        let (value, allowed) = why();
        let key = match self.at.key {
            "" => key.to_owned(),
            prefix => format!("{prefix}.{key}"),
        };
        Err(At {
            key: &key,
            ..self.at
        }
        .invalid(&value, allowed))
    }

    fn range(&self, key: &str, value: usize, min: usize, max: usize) -> Result<()> {
        self.holds((min..=max).contains(&value), key, || {
            (json!(value), format!("{min} to {max}"))
        })
    }

    fn divides(&self, key: &str, value: usize, hidden_size: usize) -> Result<()> {
        // `is_multiple_of(0)` is false for every size but 0, which is refused before.
        self.holds(hidden_size.is_multiple_of(value), key, || {
            (
                json!(value),
                format!("a divisor of hidden_size ({hidden_size})"),
            )
        })
    }
}
