//! The tokenizer of a model.

use std::{fmt, sync::Arc};

use tokenizers::{AddedToken, DecoderWrapper, ModelWrapper, PostProcessorWrapper, Tokenizer};

use super::{
    Detokenizer, check_length,
    guard::{Parts, guarded},
    stream::Spacing,
    token_bytes::TokenBytes,
};
use crate::config::{ModelConfig, SpecialTokens};
use crate::error::{BoxedError, BundleError, Error, Result, TextError, one_line};
use crate::json::json_error;

/// Turns text into token ids and back. Cheap to clone, and shared between threads.
///
/// It adds no special tokens: the code that builds a model's input adds bos and eos. Text is never
/// read as a special token: `</s>` in a prompt is four characters, so that a text cannot end a
/// sentence or imitate a control token.
#[derive(Clone)]
pub struct SentenceTokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    tokenizer: Tokenizer,
    tokens: SpecialTokens,
    /// The number of ids, those without a token included.
    size: usize,
    /// The bytes of each token, if tokens are bytes.
    bytes: Option<TokenBytes>,
}

/// A text's tokens, each with the end of its text in bytes and the number of its word.
pub(super) struct Encoded {
    pub ids: Vec<u32>,
    pub ends: Vec<usize>,
    pub words: Vec<Option<u32>>,
}

impl SentenceTokenizer {
    /// Loads the content of a `tokenizer.json` for a model; `origin` names it in errors.
    ///
    /// # Errors
    /// [`Error::Json`] and [`BundleError::TokenizerLoad`] if it is no tokenizer;
    /// [`BundleError::TokenizerMismatch`] if it has ids beyond the model's `vocab_size` or lacks
    /// the model's special tokens.
    pub fn from_bytes(bytes: &[u8], config: &ModelConfig, origin: &str) -> Result<Self> {
        // The library panics where the JSON breaks off inside some of its objects.
        let parts: Parts =
            serde_json::from_slice(bytes).map_err(|source| json_error(source, bytes, origin))?;
        let load_error = |source: BoxedError| {
            Error::Bundle(BundleError::TokenizerLoad {
                origin: origin.to_owned(),
                source,
            })
        };
        let mismatch = |problem| {
            Error::Bundle(BundleError::TokenizerMismatch {
                origin: origin.to_owned(),
                problem,
            })
        };
        parts.check_growth().map_err(mismatch)?;
        let mut tokenizer = guarded(|| Tokenizer::from_bytes(bytes)).map_err(load_error)?;
        // What a file asks for in training: bos in front (OPT's does), a fixed length.
        tokenizer.with_post_processor(None::<PostProcessorWrapper>);
        tokenizer
            .with_padding(None)
            .with_truncation(None)
            .map_err(load_error)?;
        let size = check_size(&tokenizer, config).map_err(mismatch)?;
        guarded(|| Ok(protect_special_tokens(&mut tokenizer, config.tokens)))
            .map_err(load_error)?
            .map_err(mismatch)?;
        let byte_level = matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        let bytes = match byte_level {
            true => Some(TokenBytes::new(&tokenizer, size)),
            false => None,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                tokenizer,
                tokens: config.tokens,
                size,
                bytes,
            }),
        })
    }

    /// Token ids of `text`, without bos and eos.
    ///
    /// # Errors
    /// [`TextError::TooLarge`], [`TextError::UnknownCharacter`], [`TextError::Encode`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        check_length(text)?;
        self.check_lost(text)?;
        let encoding = guarded(|| self.inner.tokenizer.encode_fast(text, false))
            .map_err(|source| encode_error(text, source))?;
        Ok(encoding.get_ids().to_vec())
    }

    pub(super) fn encode_with_ends(&self, text: &str) -> Result<Encoded> {
        self.check_lost(text)?;
        let encoding = guarded(|| self.inner.tokenizer.encode(text, false))
            .map_err(|source| encode_error(text, source))?;
        Ok(Encoded {
            ids: encoding.get_ids().to_vec(),
            ends: encoding.get_offsets().iter().map(|&(_, end)| end).collect(),
            words: encoding.get_word_ids().to_vec(),
        })
    }

    fn check_lost(&self, text: &str) -> Result<()> {
        let lost = self
            .inner
            .bytes
            .as_ref()
            .and_then(|table| table.first_lost(text));
        lost.map_or(Ok(()), |character| {
            Err(Error::Text(TextError::UnknownCharacter { character }))
        })
    }

    /// The text of `ids`. Special tokens and ids without a token have none; bytes that are not
    /// UTF-8 become U+FFFD.
    ///
    /// For a byte-level tokenizer this gives back, byte for byte, the text that was encoded.
    ///
    /// # Errors
    /// [`TextError::Decode`], never for a byte-level tokenizer.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        match &self.inner.bytes {
            Some(table) => {
                let bytes: Vec<u8> = ids.iter().flat_map(|&id| table.get(id)).copied().collect();
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            None => {
                let failed = |source| {
                    Error::Text(TextError::Decode {
                        tokens: ids.len(),
                        source,
                    })
                };
                guarded(|| self.inner.tokenizer.decode(ids, true)).map_err(failed)
            }
        }
    }

    /// A decoder that takes one id at a time.
    pub fn stream(&self) -> Detokenizer {
        Detokenizer::new(self.clone(), Spacing::Kept)
    }

    /// The bytes of a token, none for a special token or an id without one; `None` if tokens are
    /// not bytes.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.inner.bytes.as_ref().map(|table| table.get(id))
    }

    /// The least number of tokens that a text of so many bytes can have, as far as that is known.
    pub(crate) fn min_tokens(&self, bytes: usize) -> usize {
        let longest = self.inner.bytes.as_ref().map_or(0, TokenBytes::longest);
        // What a normalizer leaves out has no tokens.
        match self.inner.tokenizer.get_normalizer() {
            None if longest > 0 => bytes.div_ceil(longest),
            _ => 0,
        }
    }

    /// The special tokens of the model.
    pub fn special_tokens(&self) -> SpecialTokens {
        self.inner.tokens
    }

    /// The largest id of a token, plus one; at most the model's `vocab_size`, which may be padded.
    pub fn vocab_size(&self) -> usize {
        self.inner.size
    }
}

impl fmt::Debug for SentenceTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentenceTokenizer")
            .field("vocab_size", &self.inner.size)
            .field("special_tokens", &self.inner.tokens)
            .field("byte_level", &self.inner.bytes.is_some())
            .finish()
    }
}

fn encode_error(text: &str, source: BoxedError) -> Error {
    Error::Text(TextError::Encode {
        bytes: text.len(),
        source,
    })
}

/// The number of ids, which must fit the model.
fn check_size(tokenizer: &Tokenizer, config: &ModelConfig) -> Result<usize, String> {
    if let ModelWrapper::BPE(bpe) = tokenizer.get_model()
        && let Some(dropout) = bpe.dropout.filter(|&dropout| dropout > 0.0)
    {
        return Err(format!(
            "it drops merges at random (dropout {dropout}), so that a text has no fixed tokens"
        ));
    }
    let last = tokenizer
        .get_vocab(true)
        .into_values()
        .max()
        .ok_or("it has no tokens")?;
    let size = usize::try_from(last)
        .ok()
        .and_then(|last| last.checked_add(1));
    size.filter(|&size| size <= config.vocab_size)
        .ok_or_else(|| {
            format!(
                "its largest token id is {last}, vocab_size of the model is {}",
                config.vocab_size
            )
        })
}

/// Makes sure that the model's special tokens exist, and that no text is turned into one.
fn protect_special_tokens(tokenizer: &mut Tokenizer, tokens: SpecialTokens) -> Result<(), String> {
    let roles = [
        ("bos", tokens.bos),
        ("eos", tokens.eos),
        ("pad", tokens.pad),
    ];
    tokenizer.set_encode_special_tokens(true);
    for (role, id) in roles {
        let token = tokenizer
            .id_to_token(id)
            .ok_or_else(|| format!("it has no token for {role} (id {id})"))?;
        // A file may hold them as common tokens, which are found in text and shown by decoding.
        if !tokenizer.get_added_vocabulary().is_special_token(&token) {
            tokenizer.add_special_tokens(&[AddedToken::from(token, true)]);
        }
    }
    for (role, id) in roles {
        let token = tokenizer.id_to_token(id).unwrap_or_default();
        let encoding = tokenizer.encode_fast(token.as_str(), false).map_err(|e| {
            format!(
                "it fails on {} ({})",
                one_line(&format!("{token:?}")),
                one_line(&e)
            )
        })?;
        if encoding.get_ids().contains(&id) {
            return Err(format!(
                "the text {} is turned into {role} (id {id})",
                one_line(&format!("{token:?}"))
            ));
        }
    }
    Ok(())
}
