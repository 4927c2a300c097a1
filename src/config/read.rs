//! The keys of a configuration, and which of them a kind of model has.

use serde_json::Value;

use super::fields::{At, Fields};
use super::{
    BackboneConfig, MAX_NAME_BYTES, ModelConfig, ModelKind, PrefillAttention, SpecialTokens,
    SvaeConfig,
};
use crate::error::Result;

const KINDS: [(&str, ModelKind); 3] = [
    ("svae", ModelKind::Svae),
    ("sllm", ModelKind::Sllm),
    ("opt", ModelKind::Opt),
];
const PREFILL: [(&str, PrefillAttention); 2] = [
    ("bidirectional", PrefillAttention::Bidirectional),
    ("causal", PrefillAttention::Causal),
];

impl ModelConfig {
    /// As [`from_json_str`](Self::from_json_str), for an object inside another one.
    pub(crate) fn from_value(value: Value, at: At<'_>) -> Result<Self> {
        let mut f = Fields::new(value, at)?;
        let kind = f.choice("kind", &KINDS)?;
        let sentences = kind != ModelKind::Opt;
        f.deny_unknown(match kind {
            ModelKind::Svae => &[
                "name",
                "kind",
                "vocab_size",
                "hidden_size",
                "max_sentence_tokens",
                "tokens",
                "svae",
                "max_sentences",
                "reencode_bos",
                "reencode_mask",
            ],
            ModelKind::Sllm => &[
                "name",
                "kind",
                "vocab_size",
                "hidden_size",
                "max_sentence_tokens",
                "max_sentences",
                "tokens",
                "svae",
                "backbone",
                "reencode_bos",
                "reencode_mask",
            ],
            ModelKind::Opt => &[
                "name",
                "kind",
                "vocab_size",
                "hidden_size",
                "tokens",
                "backbone",
                "max_sentence_tokens",
                "max_sentences",
                "reencode_bos",
                "reencode_mask",
            ],
        })?;
        let reencode_bos =
            (kind == ModelKind::Sllm || f.contains("reencode_bos")) && f.bool("reencode_bos")?;
        let config = Self {
            name: f.string("name", MAX_NAME_BYTES)?,
            kind,
            vocab_size: f.integer("vocab_size")?,
            hidden_size: f.integer("hidden_size")?,
            max_sentence_tokens: match sentences {
                true => Some(f.integer("max_sentence_tokens")?),
                false => f.optional_integer("max_sentence_tokens")?,
            },
            max_sentences: match kind {
                ModelKind::Sllm => Some(f.integer("max_sentences")?),
                _ => f.optional_integer("max_sentences")?,
            },
            tokens: {
                let key = f.child("tokens");
                let value = f.required("tokens", "an object with bos, eos, pad")?;
                read_tokens(Fields::new(value, At { key: &key, ..at })?)?
            },
            svae: match sentences {
                false => None,
                true => {
                    let key = f.child("svae");
                    let value = f.required("svae", "an object with layers, heads, ...")?;
                    Some(read_svae(Fields::new(value, At { key: &key, ..at })?)?)
                }
            },
            backbone: match kind {
                ModelKind::Svae => None,
                _ => {
                    let key = f.child("backbone");
                    let value = f.required("backbone", "an object with layers, heads, ...")?;
                    Some(read_backbone(
                        Fields::new(value, At { key: &key, ..at })?,
                        kind,
                    )?)
                }
            },
            reencode_bos,
            reencode_mask: match f.contains("reencode_mask") {
                true => f.bool("reencode_mask")?,
                false => reencode_bos,
            },
        };
        config.validate_at(at)?;
        Ok(config)
    }
}

fn read_tokens(mut f: Fields<'_>) -> Result<SpecialTokens> {
    f.deny_unknown(&["bos", "eos", "pad"])?;
    Ok(SpecialTokens {
        bos: f.integer("bos")?,
        eos: f.integer("eos")?,
        pad: f.integer("pad")?,
    })
}

fn read_svae(mut f: Fields<'_>) -> Result<SvaeConfig> {
    f.deny_unknown(&[
        "layers",
        "heads",
        "ffn_size",
        "word_embed_size",
        "learnable_add",
        "norm_first",
        "slots",
        "decoder_layers",
    ])?;
    Ok(SvaeConfig {
        layers: f.integer("layers")?,
        decoder_layers: f.optional_integer("decoder_layers")?,
        heads: f.integer("heads")?,
        ffn_size: f.integer("ffn_size")?,
        word_embed_size: f.integer("word_embed_size")?,
        learnable_add: f.bool("learnable_add")?,
        norm_first: f.contains("norm_first") && f.bool("norm_first")?,
        slots: f.optional_integer("slots")?.unwrap_or(1),
    })
}

fn read_backbone(mut f: Fields<'_>, kind: ModelKind) -> Result<BackboneConfig> {
    let opt = kind == ModelKind::Opt;
    f.deny_unknown(match opt {
        true => &[
            "layers",
            "heads",
            "ffn_size",
            "norm_first",
            "max_positions",
            "word_embed_size",
            "prefill_attention",
        ],
        false => &[
            "layers",
            "heads",
            "ffn_size",
            "norm_first",
            "max_positions",
            "prefill_attention",
        ],
    })?;
    Ok(BackboneConfig {
        layers: f.integer("layers")?,
        heads: f.integer("heads")?,
        ffn_size: f.integer("ffn_size")?,
        norm_first: f.bool("norm_first")?,
        max_positions: f.integer("max_positions")?,
        prefill_attention: match opt && !f.contains("prefill_attention") {
            true => PrefillAttention::Causal,
            false => f.choice(
                "prefill_attention",
                if opt { &PREFILL[1..] } else { &PREFILL },
            )?,
        },
        word_embed_size: if opt {
            Some(f.integer("word_embed_size")?)
        } else {
            None
        },
    })
}
