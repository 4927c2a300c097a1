//! A context of tokens with the KV cache of a token-level model.

use std::sync::Arc;

use super::{Appended, CachedContext, NextRun, at_once, runs::in_runs};
use crate::{
    error::{Error, Result},
    graphs::CachedGraph,
    logits::Logits,
    model::TokenModel,
    runtime::KvCache,
};

/// Tokens that are appended in one run.
const PREFILL_TOKENS: usize = 4096;

/// Where a sentence of the context ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentenceEnd {
    /// Bytes of the text up to here.
    pub bytes: usize,
    /// Tokens up to here, bos included; `None` within an appended text, whose tokens may reach over
    /// the ends of its sentences.
    pub tokens: Option<usize>,
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

    pub fn model(&self) -> &Arc<TokenModel> {
        &self.model
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

    /// The logits after the last cached token; empty if the context is.
    pub fn logits(&self) -> &Logits {
        &self.logits
    }

    /// The cache, if it is not lent, and the logits, to be set by a run.
    pub fn cache_and_logits(&mut self) -> (Option<&mut KvCache>, &mut Logits) {
        (self.cache.as_mut(), &mut self.logits)
    }

    /// Append a text. Its tokens do not depend on those of the context.
    pub fn append(&mut self, text: &str, next_run: NextRun<'_>) -> Result<Appended> {
        let pipeline = &self.model.shared.pipeline;
        // A text that is far too long is not tokenized at all.
        if pipeline.min_tokens(text) > self.remaining() {
            return Err(self.context_full());
        }
        let mut ids = pipeline.encode(text)?;
        if ids.is_empty() {
            return Ok(Appended::default());
        }
        if self.ids.is_empty() {
            ids = self.model.shared.prompt_ids(ids);
        }
        self.append_ids(&ids, next_run)?;
        let sentences = self.push_text(text);
        Ok(Appended {
            sentences,
            ..Appended::default()
        })
    }

    /// Take the text of the last tokens; returns the number of its sentences.
    fn push_text(&mut self, text: &str) -> usize {
        let before = self.ends.len();
        for piece in self.model.shared.pipeline.pieces(text) {
            self.text.push_str(piece);
            self.ends.push(SentenceEnd {
                bytes: self.text.len(),
                tokens: None,
            });
        }
        if let Some(last) = self.ends[before..].last_mut() {
            last.tokens = Some(self.ids.len());
        }
        self.ends.len() - before
    }

    pub fn context_full(&self) -> Error {
        Error::ContextFull {
            unit: "tokens",
            held: self.ids.len(),
            limit: self.ids.len() + self.remaining(),
        }
    }

    /// Append tokens without text.
    pub fn append_ids(&mut self, ids: &[u32], next_run: NextRun<'_>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        if ids.len() > self.remaining() {
            return Err(self.context_full());
        }
        self.prepare()?;
        let model = self.model.clone();
        if self.cache.is_none() {
            self.cache = Some(self.graph().cache(1)?);
        }
        let (Some(cache), logits) = self.cache_and_logits() else {
            return Ok(());
        };
        // After an error the context is prepared when it is used again.
        in_runs(ids, 1..=PREFILL_TOKENS, next_run, |ids| {
            model.graph.append(cache, ids, logits)
        })?;
        self.ids.extend_from_slice(ids);
        Ok(())
    }

    /// Append tokens, from bos on, of a text that were saved.
    pub(super) fn append_stored(&mut self, ids: &[u32], text: &str) -> Result<()> {
        self.append_ids(ids, &mut at_once)?;
        self.push_text(text);
        Ok(())
    }

    /// Append a sentence of tokens, for the benchmark.
    pub fn append_sentence_ids(&mut self, ids: &[u32]) -> Result<()> {
        self.append_ids(ids, &mut at_once)?;
        self.push_generated(&[], "");
        Ok(())
    }

    /// Take a generated sentence that the cache holds already.
    pub fn push_generated(&mut self, ids: &[u32], text: &str) {
        self.ids.extend_from_slice(ids);
        self.text.push_str(text);
        self.ends.push(SentenceEnd {
            bytes: self.text.len(),
            tokens: Some(self.ids.len()),
        });
    }

    /// A context of its own with the same tokens.
    pub fn fork(&self) -> Result<Self> {
        let cache = self.copy_cache()?;
        Ok(Self {
            model: self.model.clone(),
            text: self.text.clone(),
            ids: self.ids.clone(),
            ends: self.ends.clone(),
            cache,
            logits: self.logits.clone(),
        })
    }

    /// Forget all but the first `kept` sentences, at least one, of which there are more.
    ///
    /// Their tokens stay as they are, but for a text that was appended and is cut: what stays of it
    /// is tokenized again.
    pub fn truncate(&mut self, kept: usize) -> Result<()> {
        let end = self.ends[kept - 1];
        let whole = self.ends[..kept]
            .iter()
            .rposition(|end| end.tokens.is_some());
        let whole = whole.map_or(0, |index| index + 1);
        let (bytes, tokens) = self.start(whole);
        let prefix = |cache: &KvCache| self.copy_rows(&[cache.row(0).prefix(tokens)]);
        let mut shorter = Self {
            model: self.model.clone(),
            text: self.text.get(..bytes).unwrap_or_default().to_owned(),
            ids: self.ids[..tokens].to_vec(),
            ends: self.ends[..whole].to_vec(),
            cache: self.cache().map(prefix).transpose()?,
            logits: Logits::default(),
        };
        shorter.prepare()?;
        shorter.append(
            self.text.get(bytes..end.bytes).unwrap_or_default(),
            &mut at_once,
        )?;
        *self = shorter;
        Ok(())
    }

    /// This context without its first sentences, at least one, of which there are more.
    ///
    /// The tokens of the others stay as they are, but for an appended text that is cut.
    pub fn without_first(&self, sentences: usize) -> Result<Self> {
        let mut context = Self::new(self.model.clone());
        let (start, _) = self.start(sentences);
        // The end of the text that is cut, if one is.
        let cut = self.ends[sentences - 1].tokens.is_none();
        let whole = match cut {
            true => self.ends[sentences..]
                .iter()
                .position(|end| end.tokens.is_some()),
            false => None,
        };
        let whole = whole.map_or(sentences, |index| sentences + index + 1);
        let (bytes, tokens) = self.start(whole);
        context.append(
            self.text.get(start..bytes).unwrap_or_default(),
            &mut at_once,
        )?;
        let bos = Some(self.model.shared.special_tokens().bos);
        let bos = bos.filter(|_| context.ids.is_empty());
        let rest = self.ids.get(tokens..).unwrap_or_default();
        let ids: Vec<u32> = bos.into_iter().chain(rest.iter().copied()).collect();
        if !rest.is_empty() {
            context.append_ids(&ids, &mut at_once)?;
        }
        let dropped = self.ids.len() - context.ids.len();
        context
            .text
            .push_str(self.text.get(bytes..).unwrap_or_default());
        context
            .ends
            .extend(self.ends[whole..].iter().map(|end| SentenceEnd {
                bytes: end.bytes - start,
                tokens: end.tokens.map(|tokens| tokens - dropped),
            }));
        Ok(context)
    }

    /// Bytes and tokens before the sentence with this index; no tokens, if it is not known.
    fn start(&self, sentence: usize) -> (usize, usize) {
        let before = sentence.checked_sub(1).map(|last| self.ends[last]);
        before.map_or((0, 0), |end| (end.bytes, end.tokens.unwrap_or(0)))
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
                model.graph.cached().truncate(cache, kept)?;
                kept
            }
            None => {
                self.cache = Some(self.graph().cache(1)?);
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

    fn graph(&self) -> &CachedGraph {
        self.model.graph.cached()
    }

    fn slot(&self) -> &Option<KvCache> {
        &self.cache
    }

    fn slot_mut(&mut self) -> &mut Option<KvCache> {
        &mut self.cache
    }
}
