//! Memory of KV caches, counted from a configuration.

use serde::Serialize;

use super::{ModelConfig, ModelKind, parameters::CACHE_NUMBER_BYTES};
use crate::error::Result;

/// Bytes of the KV caches of one context. Caches that a kind of model lacks are absent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct KvBytes {
    /// The backbone's cache, for each sentence of the context. Kind `sllm` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_bytes_per_sentence: Option<usize>,
    /// The decoder's cache, for each token of the one sentence that is being decoded. Absent for
    /// kind `opt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_bytes_per_token_of_a_sentence: Option<usize>,
    /// What each token of the text adds to the context: `kv_bytes_per_sentence` shared among the
    /// tokens of a sentence. Absent for kind `svae`, which has no context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_bytes_per_token_of_text: Option<f64>,
    /// All caches when they are full.
    pub kv_bytes_full_context: usize,
    /// The length of sentence that `kv_bytes_per_token_of_text` holds for, bos and eos not counted.
    /// Absent for kind `opt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentence_tokens: Option<usize>,
}

impl KvBytes {
    /// The cache of a sentence of the context, in kind `opt` of a token.
    pub(crate) fn of_a_context_entry(&self, kind: ModelKind) -> Option<f64> {
        match kind {
            ModelKind::Svae => None,
            ModelKind::Sllm => self.kv_bytes_per_sentence.map(|bytes| bytes as f64),
            ModelKind::Opt => self.kv_bytes_per_token_of_text,
        }
    }
}

impl ModelConfig {
    /// Count the bytes of the KV caches in float32, for sentences of `sentence_tokens` tokens.
    ///
    /// bos and eos are not counted. `None` stands for 16 tokens, or for the longest sentence that
    /// the model takes if that is shorter.
    ///
    /// [`Model::kv_bytes`](crate::Model::kv_bytes) has the caches of a loaded variant.
    ///
    /// # Errors
    /// As [`flops`](Self::flops).
    pub fn kv_bytes(&self, sentence_tokens: Option<usize>) -> Result<KvBytes> {
        self.kv_bytes_of(sentence_tokens, CACHE_NUMBER_BYTES)
    }

    /// The same for numbers of `number_bytes` bytes.
    pub(crate) fn kv_bytes_of(
        &self,
        sentence_tokens: Option<usize>,
        number_bytes: usize,
    ) -> Result<KvBytes> {
        let sentence_tokens = self.sentence_tokens(sentence_tokens)?;
        let scaled = |bytes: usize| bytes / CACHE_NUMBER_BYTES * number_bytes;
        let entry = self.kv_bytes_per_sentence().map(scaled);
        let token = self.kv_bytes_per_token().map(scaled);
        let token_cache = match token {
            Some(bytes) => bytes * self.require_max_sentence_tokens()?,
            None => 0,
        };
        let (entries, entry_tokens) = match self.kind {
            ModelKind::Svae => (0, None),
            ModelKind::Sllm => (self.require_max_sentences()?, sentence_tokens),
            ModelKind::Opt => (self.require_backbone()?.max_positions, Some(1)),
        };
        let per_token = |(bytes, tokens): (usize, usize)| bytes as f64 / tokens as f64;
        Ok(KvBytes {
            kv_bytes_per_sentence: entry.filter(|_| self.kind == ModelKind::Sllm),
            kv_bytes_per_token_of_a_sentence: token,
            kv_bytes_per_token_of_text: entry.zip(entry_tokens).map(per_token),
            kv_bytes_full_context: entry.unwrap_or(0) * entries + token_cache,
            sentence_tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind() {
        let kv_bytes = |name: &str| {
            let config = ModelConfig::from_file(format!("configs/{name}.json")).unwrap();
            config.kv_bytes(None).unwrap()
        };
        // Keys and values of 768 channels of 4 bytes: 6144 bytes for each layer.
        let svae = kv_bytes("svae-768-h2");
        assert_eq!(svae.kv_bytes_per_token_of_a_sentence, Some(2 * 6144));
        assert_eq!(svae.kv_bytes_per_token_of_text, None);
        assert_eq!(svae.kv_bytes_full_context, 64 * 2 * 6144);

        let sllm = kv_bytes("sllm-125m-h2");
        assert_eq!(sllm.kv_bytes_per_sentence, Some(12 * 6144));
        assert_eq!(sllm.kv_bytes_per_token_of_text, Some(4608.0));
        assert_eq!(sllm.kv_bytes_full_context, 64 * 12 * 6144 + 64 * 2 * 6144);
        assert_eq!(sllm.sentence_tokens, Some(16));

        let opt = kv_bytes("opt-125m");
        assert_eq!(opt.kv_bytes_per_sentence, None);
        assert_eq!(opt.kv_bytes_per_token_of_text, Some(73_728.0));
        assert_eq!(opt.kv_bytes_full_context, 2048 * 12 * 6144);
    }
}
