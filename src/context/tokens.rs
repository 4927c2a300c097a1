//! A context of tokens with the KV cache of a token-level model.

use std::sync::Arc;

use super::Appended;
use crate::{
    error::{Error, Result},
    generate::{CachedContext, CancelHandle},
    graphs::TokenLm,
    logits::Logits,
    model::TokenModel,
    runtime::{CacheRow, KvCache},
    text::WhiteSpace,
};

/// Tokens that are appended in one run.
const PREFILL_TOKENS: usize = 4096;

/// Where a sentence of the context ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentenceEnd {
    /// Bytes of the text up to here.
    pub bytes: usize,
    /// Tokens that lie within these bytes, bos included.
    pub tokens: usize,
    /// Bytes that these tokens cover.
    pub covered: usize,
}

/// A context of a token-level model.
#[derive(Debug)]
pub(crate) struct TokenContext {
    model: Arc<TokenModel>,
    text: String,
    /// All that the model sees, from bos on.
    ids: Vec<u32>,
    ends: Vec<SentenceEnd>,
    /// `None` if the context is empty, or its cache is lent to a batch. It may hold tokens after
    /// those of the context: those of a sentence that was not finished.
    cache: Option<KvCache>,
    /// After the last cached token.
    logits: Logits,
}

/// All that a context holds, to be saved and restored.
pub(super) struct TokenParts {
    pub text: String,
    pub ids: Vec<u32>,
    pub ends: Vec<SentenceEnd>,
    pub cache: Option<KvCache>,
    pub logits: Logits,
}

impl TokenContext {
    pub fn new(model: Arc<TokenModel>) -> Self {
        Self {
            model,
            text: String::new(),
            ids: Vec::new(),
            ends: Vec::new(),
            cache: None,
            logits: Logits::default(),
        }
    }

    /// A context of these parts, which fit the model.
    pub(super) fn from_parts(model: Arc<TokenModel>, parts: TokenParts) -> Self {
        Self {
            model,
            text: parts.text,
            ids: parts.ids,
            ends: parts.ends,
            cache: parts.cache,
            logits: parts.logits,
        }
    }

    pub fn model(&self) -> &TokenModel {
        &self.model
    }

    pub(super) fn shared_model(&self) -> &Arc<TokenModel> {
        &self.model
    }

    pub fn graph(&self) -> &TokenLm {
        &self.model.graph
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub(super) fn ends(&self) -> &[SentenceEnd] {
        &self.ends
    }

    /// Number of sentences.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The texts of the sentences.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| end.bytes));
        let ends = self.ends.iter().map(|end| end.bytes);
        let text = |(start, end)| self.text.get(start..end).unwrap_or_default();
        starts.zip(ends).map(text)
    }

    /// How many tokens fit yet.
    pub fn remaining(&self) -> usize {
        let limit = self.model.graph.max_positions();
        limit.saturating_sub(self.ids.len())
    }

    pub fn memory_bytes(&self) -> usize {
        self.cache.as_ref().map_or(0, KvCache::memory_bytes)
    }

    /// The logits after the last cached token; empty if the context is.
    pub fn logits(&self) -> &Logits {
        &self.logits
    }

    /// The cache, if it is not lent, and the logits, to be set by a run.
    pub fn cache_and_logits(&mut self) -> (Option<&mut KvCache>, &mut Logits) {
        (self.cache.as_mut(), &mut self.logits)
    }

    /// Append a text. Its tokens do not depend on those of the context.
    pub fn append(&mut self, text: &str, cancel: Option<&CancelHandle>) -> Result<Appended> {
        let pipeline = &self.model.shared.pipeline;
        // A text that is far too long is not tokenized at all.
        if pipeline.tokenizer().min_tokens(text.len()) > self.remaining() {
            return Err(self.context_full());
        }
        let mut ids = pipeline.encode(text)?;
        let mut ends = self.ends_in(text, &ids)?;
        if ids.is_empty() {
            return Ok(Appended::default());
        }
        let bos = usize::from(self.ids.is_empty());
        if bos > 0 {
            ids = self.model.shared.prompt_ids(ids);
        }
        for end in &mut ends {
            end.bytes += self.text.len();
            end.covered += self.text.len();
            end.tokens += self.ids.len() + bos;
        }
        self.append_ids(&ids, cancel)?;
        self.text.push_str(text);
        let appended = Appended {
            sentences: ends.len(),
            ..Appended::default()
        };
        self.ends.append(&mut ends);
        Ok(appended)
    }

    /// Where the sentences of `text` end, whose tokens are `ids`.
    fn ends_in(&self, text: &str, ids: &[u32]) -> Result<Vec<SentenceEnd>> {
        let shared = &self.model.shared;
        let mut ends = Vec::new();
        let mut bytes = 0;
        if shared.bundle.segmentation.white_space == WhiteSpace::Canonical {
            // Each sentence has tokens of its own.
            let mut tokens = 0;
            let mut pieces = shared.pipeline.pieces(text);
            while let Some(piece) = pieces.next() {
                let last = pieces.remainder().is_empty();
                tokens += shared.pipeline.piece_ids(piece, last)?.len();
                bytes += piece.len();
                ends.push(SentenceEnd {
                    bytes,
                    tokens,
                    covered: bytes,
                });
            }
            return Ok(ends);
        }
        // Bytes that are covered after each token.
        let mut stream = shared.pipeline.tokenizer().stream();
        let mut covered = vec![0];
        for &id in ids {
            let new = stream.push(id)?.map_or(0, str::len);
            covered.push(covered[covered.len() - 1] + new);
        }
        for piece in shared.pipeline.pieces(text) {
            bytes += piece.len();
            let tokens = covered.partition_point(|&covered| covered <= bytes) - 1;
            ends.push(SentenceEnd {
                bytes,
                tokens,
                covered: covered[tokens].min(bytes),
            });
        }
        if let Some(last) = ends.last_mut() {
            // A tokenizer that changes the text has no other place for the rest of its tokens.
            last.tokens = ids.len();
            last.covered = last.bytes;
        }
        Ok(ends)
    }

    pub fn context_full(&self) -> Error {
        Error::ContextFull {
            unit: "tokens",
            held: self.ids.len(),
            limit: self.ids.len() + self.remaining(),
        }
    }

    /// Append tokens without text.
    pub fn append_ids(&mut self, ids: &[u32], cancel: Option<&CancelHandle>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        if ids.len() > self.remaining() {
            return Err(self.context_full());
        }
        self.prepare()?;
        let model = self.model.clone();
        if self.cache.is_none() {
            self.cache = Some(model.graph.cache()?);
        }
        let (Some(cache), logits) = self.cache_and_logits() else {
            return Ok(());
        };
        // After an error the context is prepared when it is used again.
        for ids in ids.chunks(PREFILL_TOKENS) {
            if cancel.is_some_and(CancelHandle::is_cancelled) {
                return Err(Error::Cancelled);
            }
            model.graph.append(cache, ids, logits)?;
        }
        self.ids.extend_from_slice(ids);
        Ok(())
    }

    /// Append tokens, from bos on, of a text that were saved.
    pub(super) fn append_stored(&mut self, ids: &[u32], text: &str) -> Result<()> {
        let bos = self.model.shared.special_tokens().bos;
        let of_text = ids.strip_prefix(&[bos]).unwrap_or(ids);
        let mut ends = self.ends_in(text, of_text)?;
        for end in &mut ends {
            end.tokens += ids.len() - of_text.len();
        }
        self.append_ids(ids, None)?;
        self.text.push_str(text);
        self.ends.append(&mut ends);
        Ok(())
    }

    /// Append a sentence of tokens, for the benchmark.
    pub fn append_sentence_ids(&mut self, ids: &[u32]) -> Result<()> {
        self.append_ids(ids, None)?;
        self.push_generated(&[], "");
        Ok(())
    }

    /// Take a generated sentence that the cache holds already.
    pub fn push_generated(&mut self, ids: &[u32], text: &str) {
        self.ids.extend_from_slice(ids);
        self.text.push_str(text);
        self.ends.push(SentenceEnd {
            bytes: self.text.len(),
            tokens: self.ids.len(),
            covered: self.text.len(),
        });
    }

    /// A context of its own with the same tokens.
    pub fn fork(&self) -> Result<Self> {
        let cache = match &self.cache {
            Some(cache) => Some(self.model.graph.copy_rows(&[cache.row(0)])?),
            None => None,
        };
        Ok(Self {
            model: self.model.clone(),
            text: self.text.clone(),
            ids: self.ids.clone(),
            ends: self.ends.clone(),
            cache,
            logits: self.logits.clone(),
        })
    }

    /// Forget all but the first `kept` sentences, at least one, of which there are more. Their
    /// tokens stay as they are.
    pub fn truncate(&mut self, kept: usize) -> Result<()> {
        let end = self.ends[kept - 1];
        // White space at the end may be part of a token that is forgotten.
        let uncovered = self.text.get(end.covered..end.bytes).unwrap_or_default();
        let rest = match uncovered {
            "" => Vec::new(),
            text => self.model.shared.pipeline.encode(text)?,
        };
        let mut shorter = self.fork()?;
        shorter.ids.truncate(end.tokens);
        shorter.text.truncate(end.bytes);
        shorter.ends.truncate(kept);
        shorter.prepare()?;
        shorter.append_ids(&rest, None)?;
        if let Some(last) = shorter.ends.last_mut() {
            last.tokens = shorter.ids.len();
            last.covered = last.bytes;
        }
        *self = shorter;
        Ok(())
    }

    /// This context without its first sentences. The text of the others is tokenized again.
    pub fn without_first(&self, sentences: usize) -> Result<Self> {
        let start = self.ends[sentences - 1].bytes;
        let mut context = Self::new(self.model.clone());
        context.append(self.text.get(start..).unwrap_or_default(), None)?;
        Ok(context)
    }
}

impl CachedContext for TokenContext {
    fn prepare(&mut self) -> Result<()> {
        let model = self.model.clone();
        let cached = match &mut self.cache {
            Some(cache) if !self.logits.is_empty() && cache.len() == self.ids.len() => {
                return Ok(());
            }
            _ if self.ids.is_empty() => {
                self.cache = None;
                self.logits.clear();
                return Ok(());
            }
            // The last token is run again, for its logits.
            Some(cache) => {
                let kept = cache.len().min(self.ids.len() - 1);
                model.graph.truncate(cache, kept)?;
                kept
            }
            None => {
                self.cache = Some(model.graph.cache()?);
                0
            }
        };
        if let Some(cache) = &mut self.cache {
            for ids in self.ids[cached..].chunks(PREFILL_TOKENS) {
                model.graph.append(cache, ids, &mut self.logits)?;
            }
        }
        Ok(())
    }

    fn cache(&self) -> Option<&KvCache> {
        self.cache.as_ref()
    }

    fn cache_mut(&mut self) -> Option<&mut KvCache> {
        self.cache.as_mut()
    }

    fn set_cache(&mut self, cache: Option<KvCache>) {
        self.cache = cache;
    }

    fn copy_rows(&self, rows: &[CacheRow<'_>]) -> Result<KvCache> {
        self.model.graph.copy_rows(rows)
    }
}
