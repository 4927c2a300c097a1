//! Floating-point operations of a model, counted from its configuration.

use serde::Serialize;

use super::{BackboneConfig, ModelConfig, ModelKind, SvaeConfig};
use crate::error::{Error, Result};

/// Length of a sentence for which figures are stated where none is asked for, in tokens.
const USUAL_SENTENCE_TOKENS: usize = 16;
const COUNTED: &str = "one multiply-add is 2 FLOPs; matrix products and attention, \
without norms and element-wise work";

/// Floating-point operations of a model's parts, at one sentence length and one fill level of the
/// backbone's KV cache. Parts that a kind of model lacks are absent.
///
/// One multiply-add counts as 2. Matrix products and attention (scores, and the weighted sum of the
/// values) are counted; norms, activations, softmax and other element-wise work are not, nor are
/// embeddings, which are looked up. Attention counts visible positions, not masked ones. The
/// projections of the sentence vector in the decoder's cross-attention are folded and counted once
/// per sentence; a graph that is run token by token repeats them in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Flops {
    /// Encoding a sentence: its tokens and bos (or eos, without
    /// [`reencode_bos`](ModelConfig::reencode_bos)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_per_sentence: Option<u64>,
    /// One step of the backbone, stop head included. Absent for kinds `svae` and `opt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone_per_sentence: Option<u64>,
    /// Decoding a token, eos included: the mean over the sentence, rounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder_per_token: Option<u64>,
    /// All parts together, per generated token, eos included, rounded. In kind `svae`, per
    /// reconstructed token.
    pub per_token: u64,
    /// The assumptions behind these figures.
    pub assumptions: FlopsAssumptions,
}

/// The assumptions behind the figures of [`Flops`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FlopsAssumptions {
    /// Tokens of a sentence, bos and eos not counted. Absent for kind `opt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentence_tokens: Option<usize>,
    /// Sentences in the backbone's KV cache: half of a full context, about the mean while it fills. Kind
    /// `sllm` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_sentences: Option<usize>,
    /// Tokens in the KV cache, half of a full context. Kind `opt` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<usize>,
    /// The counting rule, in words.
    pub counted: &'static str,
}

impl ModelConfig {
    /// Count the floating-point operations of the parts, for sentences of `sentence_tokens` tokens.
    ///
    /// bos and eos are not counted. `None` stands for 16 tokens, or for the longest sentence that
    /// the model takes if that is shorter.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a length that the model does not take, [`Error::WrongKind`] for
    /// any length in kind `opt`.
    pub fn flops(&self, sentence_tokens: Option<usize>) -> Result<Flops> {
        let sentence_tokens = self.sentence_tokens(sentence_tokens)?;
        let mut flops = Flops {
            encoder_per_sentence: None,
            backbone_per_sentence: None,
            decoder_per_token: None,
            per_token: 0,
            assumptions: FlopsAssumptions {
                sentence_tokens,
                cached_sentences: None,
                cached_tokens: None,
                counted: COUNTED,
            },
        };
        let assumptions = &mut flops.assumptions;
        if self.kind == ModelKind::Opt {
            let backbone = self.require_backbone()?;
            let cached = backbone.max_positions / 2;
            assumptions.cached_tokens = Some(cached);
            flops.per_token = self.opt_token(backbone, cached);
            return Ok(flops);
        }
        // With bos in front, or with eos behind: as many for the encoder as steps for the decoder.
        let positions = sentence_tokens.map_or(1, |tokens| tokens + 1) as u64;
        let svae = self.require_svae()?;
        let encoder = self.encoder_sentence(svae, positions);
        let decoder = self.decoder_sentence(svae, positions);
        let mut whole = encoder + decoder;
        if self.kind == ModelKind::Sllm {
            let cached = self.require_max_sentences()? / 2;
            assumptions.cached_sentences = Some(cached);
            let step = self.backbone_sentence(self.require_backbone()?, cached);
            flops.backbone_per_sentence = Some(step);
            whole += step;
        }
        flops.encoder_per_sentence = Some(encoder);
        flops.decoder_per_token = Some(rounded(decoder, positions));
        flops.per_token = rounded(whole, positions);
        Ok(flops)
    }

    /// The length of sentence to state figures for, checked; `None` where text has no sentences.
    pub(super) fn sentence_tokens(&self, asked: Option<usize>) -> Result<Option<usize>> {
        let longest = match (self.kind, asked) {
            (ModelKind::Opt, None) => return Ok(None),
            _ => self.require_max_sentence_tokens()?.saturating_sub(1),
        };
        let tokens = asked.unwrap_or_else(|| longest.min(USUAL_SENTENCE_TOKENS));
        if (1..=longest).contains(&tokens) {
            return Ok(Some(tokens));
        }
        Err(Error::InvalidOption {
            option: "sentence-tokens",
            value: tokens.to_string(),
            allowed: format!("1 to {longest}, what a sentence of this model may have without bos"),
        })
    }

    fn encoder_sentence(&self, svae: &SvaeConfig, positions: u64) -> u64 {
        let d = self.hidden_size as u64;
        let attention = self.attention(positions * positions);
        let learnable_add = if svae.learnable_add { 2 * d } else { 0 };
        let inputs = self.projection(svae.word_embed_size) + learnable_add;
        let layer = positions * self.layer(svae.ffn_size) + attention;
        // Scores of each slot, with the query folded into the keys; values; their weighted sum.
        let pooling = match svae.slots {
            1 => 0,
            slots => 2 * (d * slots as u64 + d * d + d),
        };
        positions * (inputs + pooling) + svae.layers as u64 * layer
    }

    fn backbone_sentence(&self, backbone: &BackboneConfig, cached: usize) -> u64 {
        let stop_head = 2 * 2 * self.hidden_size as u64;
        self.backbone_step(backbone, cached) + stop_head
    }

    fn decoder_sentence(&self, svae: &SvaeConfig, positions: u64) -> u64 {
        let d = self.hidden_size as u64;
        // Each token sees itself and those before it.
        let attention = self.attention(positions * (positions + 1) / 2);
        let cross_attention = match svae.slots {
            1 => 2 * d * d,
            // Keys and values of the whole and of each slot, once; then query and output, scores
            // and weighted values for each token.
            slots => 8 * d * d + positions * (4 * d * d + self.attention(slots as u64 + 1)),
        };
        let layer = positions * self.layer(svae.ffn_size) + attention + cross_attention;
        let channels = svae.context_bias_size as u64;
        let output = 2 * (d + channels) * self.vocab_size as u64 + 2 * d * channels;
        let inputs_and_outputs = self.projection(svae.word_embed_size) + output;
        positions * inputs_and_outputs + svae.decoder_layers() as u64 * layer
    }

    fn opt_token(&self, backbone: &BackboneConfig, cached: usize) -> u64 {
        let embed = backbone.word_embed_size.unwrap_or(self.hidden_size);
        let output = 2 * embed as u64 * self.vocab_size as u64;
        // Into the layers and out of them.
        let projections = 2 * self.projection(embed);
        self.backbone_step(backbone, cached) + projections + output
    }

    fn backbone_step(&self, backbone: &BackboneConfig, cached: usize) -> u64 {
        let layer = self.layer(backbone.ffn_size) + self.attention(cached as u64 + 1);
        backbone.layers as u64 * layer
    }

    /// A layer for one position, without what depends on how many positions it sees: the four
    /// projections of attention, and the two of the feed-forward network.
    fn layer(&self, ffn_size: usize) -> u64 {
        let d = self.hidden_size as u64;
        2 * (4 * d * d + 2 * d * ffn_size as u64)
    }

    /// Scores and weighted values, for pairs of a position and one that it sees.
    fn attention(&self, pairs: u64) -> u64 {
        2 * 2 * self.hidden_size as u64 * pairs
    }

    /// From the width of the token embeddings to the hidden size, or back.
    fn projection(&self, embed: usize) -> u64 {
        match embed == self.hidden_size {
            true => 0,
            false => 2 * embed as u64 * self.hidden_size as u64,
        }
    }
}

fn rounded(total: u64, count: u64) -> u64 {
    (total + count / 2) / count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str) -> ModelConfig {
        ModelConfig::from_file(format!("configs/{name}.json")).unwrap()
    }

    /// The figures, worked out by hand with D = 768, F = 1536 or 3072, V = 50272.
    #[test]
    fn of_each_kind() {
        // 16 positions. Encoder: 16 (8 D D + 4 D F) + 4 D 16 16. Decoder: 16 (8 D D + 4 D F + 2 D V)
        // + 4 D 136 + 2 D D.
        let (encoder, decoder) = (151_781_376, 1_388_077_056);
        let svae = config("svae-768-h1").flops(Some(15)).unwrap();
        assert_eq!(svae.encoder_per_sentence, Some(encoder));
        assert_eq!(svae.decoder_per_token, Some(decoder / 16));
        assert_eq!(svae.backbone_per_sentence, None);
        assert_eq!(svae.per_token, (encoder + decoder) / 16);
        assert_eq!(svae.assumptions.sentence_tokens, Some(15));

        // 12 (8 D D + 4 D F + 4 D 33) + 4 D.
        let backbone = 171_088_896;
        let sllm = config("sllm-125m-h1").flops(Some(15)).unwrap();
        assert_eq!(sllm.encoder_per_sentence, Some(encoder));
        assert_eq!(sllm.backbone_per_sentence, Some(backbone));
        assert_eq!(sllm.decoder_per_token, Some(decoder / 16));
        assert_eq!(sllm.per_token, (encoder + backbone + decoder) / 16);
        assert_eq!(sllm.assumptions.cached_sentences, Some(32));

        // 12 (8 D D + 4 D F + 4 D 1025) + 2 D V.
        let opt = config("opt-125m").flops(None).unwrap();
        assert_eq!(opt.per_token, 284_872_704);
        assert_eq!(opt.assumptions.cached_tokens, Some(1024));
        assert_eq!(opt.decoder_per_token, None);
    }

    /// D = 1024 with embeddings of 512, which are projected.
    #[test]
    fn projections_count() {
        let projection = 2 * 512 * 1024;
        let mut narrow = config("sllm-350m-h1");
        let found = narrow.flops(None).unwrap();
        narrow.svae.as_mut().unwrap().word_embed_size = 1024;
        let wide = narrow.flops(None).unwrap();
        let encoder = |flops: Flops| flops.encoder_per_sentence.unwrap();
        assert_eq!(encoder(found) - encoder(wide), 17 * projection);
        assert_eq!(found.per_token - wide.per_token, 2 * projection);
        // 24 (8 D D + 4 D F + 4 D 1025) + 2 512 1024 2 + 2 512 V.
        assert_eq!(
            config("opt-350m").flops(None).unwrap().per_token,
            758_317_056
        );
    }

    #[test]
    fn lengths_that_a_model_does_not_take() {
        for tokens in [0, 64] {
            let found = config("sllm-125m-h1").flops(Some(tokens));
            assert!(matches!(found, Err(Error::InvalidOption { .. })));
        }
        let found = config("opt-125m").flops(Some(16));
        assert!(matches!(found, Err(Error::WrongKind { .. })));
    }
}
