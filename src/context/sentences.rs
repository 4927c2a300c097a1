//! A context of sentences with the backbone's KV cache.

use std::sync::Arc;

use ndarray::{ArrayView2, s};
use tracing::{debug, debug_span};

use super::{Appended, CachedContext, NextRun, PREFILL_SENTENCES, at_once, runs::in_runs};
use crate::{
    error::{Error, Result},
    graphs::{CachedGraph, Prediction},
    model::SentenceModel,
    runtime::KvCache,
    text::TextSentence,
};

/// A full context loses 1/DROPPED_PART of its sentences.
const DROPPED_PART: usize = 4;

/// A sentence of the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContextSentence {
    pub text: String,
    /// Its tokens, without bos and eos.
    pub ids: Vec<u32>,
}

/// A context of a sentence-level model.
///
/// A backbone that attends both ways within a run gives other caches for other runs, so the context
/// records how many sentences each run appended.
#[derive(Debug)]
pub(crate) struct SentenceContext {
    model: Arc<SentenceModel>,
    sentences: Vec<ContextSentence>,
    /// Sentence vectors `[sentences, hidden]`.
    vectors: Vec<f32>,
    runs: Vec<usize>,
    /// Sentences that were dropped at the beginning.
    dropped: usize,
    /// `None` if the context is empty, or its cache is lent to a batch.
    cache: Option<KvCache>,
    /// After the last sentence; `None` if the context is empty.
    prediction: Option<Prediction>,
}

/// All that a context holds, to be saved and restored.
pub(super) struct SentenceParts {
    pub sentences: Vec<ContextSentence>,
    pub vectors: Vec<f32>,
    pub runs: Vec<usize>,
    pub dropped: usize,
    pub cache: Option<KvCache>,
    pub prediction: Option<Prediction>,
}

impl SentenceContext {
    pub fn new(model: Arc<SentenceModel>) -> Self {
        Self {
            model,
            sentences: Vec::new(),
            vectors: Vec::new(),
            runs: Vec::new(),
            dropped: 0,
            cache: None,
            prediction: None,
        }
    }

    /// A context of these parts, which fit the model.
    pub(super) fn from_parts(model: Arc<SentenceModel>, parts: SentenceParts) -> Self {
        Self {
            model,
            sentences: parts.sentences,
            vectors: parts.vectors,
            runs: parts.runs,
            dropped: parts.dropped,
            cache: parts.cache,
            prediction: parts.prediction,
        }
    }

    pub fn model(&self) -> &Arc<SentenceModel> {
        &self.model
    }

    pub fn sentences(&self) -> &[ContextSentence] {
        &self.sentences
    }

    pub(super) fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    pub(super) fn runs(&self) -> &[usize] {
        &self.runs
    }

    pub(super) fn dropped(&self) -> usize {
        self.dropped
    }

    pub fn len(&self) -> usize {
        self.sentences.len()
    }

    /// The number of the next sentence, counted from the first one that the context ever had.
    pub fn position(&self) -> usize {
        self.dropped + self.sentences.len()
    }

    /// How many sentences fit yet.
    pub fn remaining(&self) -> usize {
        self.model.max_sentences.saturating_sub(self.len())
    }

    /// Tokens of all sentences, bos included.
    pub fn tokens(&self) -> usize {
        let tokens = |sentence: &ContextSentence| sentence.ids.len() + 1;
        self.sentences.iter().map(tokens).sum()
    }

    pub fn prediction(&self) -> Option<&Prediction> {
        self.prediction.as_ref()
    }

    pub fn append(&mut self, text: &str, next_run: NextRun<'_>) -> Result<Appended> {
        let mut pieces = self.model.shared().pipeline.sentences(text)?;
        let (mut sentences, mut appended) = (Vec::new(), Appended::default());
        for piece in pieces.by_ref() {
            let piece = piece?;
            appended.truncated += usize::from(piece.truncated);
            sentences.push(ContextSentence {
                text: piece.text.to_owned(),
                ids: piece.ids,
            });
            if sentences.len() > self.remaining() {
                return Err(self.context_full());
            }
        }
        pieces.dropped().clone_into(&mut appended.dropped);
        appended.sentences = sentences.len();
        self.append_sentences(sentences, next_run)?;
        Ok(appended)
    }

    pub fn append_text_sentences(&mut self, sentences: &[TextSentence<'_>]) -> Result<()> {
        let sentence = |sentence: &TextSentence<'_>| ContextSentence {
            text: sentence.text.to_owned(),
            ids: sentence.ids.clone(),
        };
        self.append_sentences(sentences.iter().map(sentence).collect(), &mut at_once)
    }

    /// Append sentences of a text, in one run or, where the model is causal, in runs of at most
    /// [`PREFILL_SENTENCES`].
    pub fn append_sentences(
        &mut self,
        sentences: Vec<ContextSentence>,
        next_run: NextRun<'_>,
    ) -> Result<()> {
        let prompt_ids = |s: &ContextSentence| self.model.shared().prompt_ids(s.ids.clone());
        let encoder_ids = sentences.iter().map(prompt_ids).collect();
        self.append_encoded(sentences, encoder_ids, next_run)
    }

    /// Append sentences that the encoder sees as `encoder_ids`.
    pub(super) fn append_encoded(
        &mut self,
        sentences: Vec<ContextSentence>,
        encoder_ids: Vec<Vec<u32>>,
        next_run: NextRun<'_>,
    ) -> Result<()> {
        if sentences.is_empty() {
            return Ok(());
        }
        if sentences.len() > self.remaining() {
            return Err(self.context_full());
        }
        let _span = debug_span!(
            "append",
            held = self.len(),
            sentences = sentences.len(),
            tokens = encoder_ids.iter().map(Vec::len).sum::<usize>(),
        )
        .entered();
        self.prepare()?;
        let model = self.model.clone();
        let mut cache = match self.cache.take() {
            Some(cache) => cache,
            None => self.graph().cache(1)?,
        };
        let appended = self.run_all(&mut cache, &encoder_ids, next_run);
        if appended.is_err()
            && model
                .backbone
                .cached()
                .truncate(&mut cache, self.len())
                .is_err()
        {
            // It is recomputed when it is used.
            return appended.map(|_| ());
        }
        self.cache = Some(cache).filter(|_| appended.is_ok() || !self.sentences.is_empty());
        let (vectors, prediction) = appended?;
        self.vectors.extend(vectors);
        self.prediction = prediction;
        self.runs.push(sentences.len());
        self.sentences.extend(sentences);
        Ok(())
    }

    /// Encode sentences and append them to `cache`; returns their vectors and the prediction after
    /// the last.
    fn run_all(
        &self,
        cache: &mut KvCache,
        encoder_ids: &[Vec<u32>],
        next_run: NextRun<'_>,
    ) -> Result<(Vec<f32>, Option<Prediction>)> {
        let (mut vectors, mut prediction) = (Vec::new(), None);
        let lengths = match self.model.backbone.is_causal() {
            true => 1..=PREFILL_SENTENCES,
            false => encoder_ids.len()..=encoder_ids.len(),
        };
        in_runs(encoder_ids, lengths, next_run, |ids| {
            let new = self.model.autoencoder.encoder.encode(ids)?;
            prediction = Some(self.model.backbone.append(cache, new.view())?);
            vectors.extend(new.iter());
            Ok(())
        })?;
        Ok((vectors, prediction))
    }

    /// Take a generated sentence that the cache holds already.
    pub fn push_generated(
        &mut self,
        sentence: ContextSentence,
        vector: &[f32],
        prediction: Prediction,
    ) {
        if let Some(last) = self.sentences.last_mut() {
            self.model.shared().pipeline.separate(&mut last.text);
        }
        self.sentences.push(sentence);
        self.vectors.extend_from_slice(vector);
        self.runs.push(1);
        self.prediction = Some(prediction);
    }

    /// A context of its own with the same sentences.
    pub fn fork(&self) -> Result<Self> {
        let cache = self.copy_cache()?;
        Ok(Self {
            model: self.model.clone(),
            sentences: self.sentences.clone(),
            vectors: self.vectors.clone(),
            runs: self.runs.clone(),
            dropped: self.dropped,
            cache,
            prediction: self.prediction.clone(),
        })
    }

    /// Forget all but the first `kept` sentences, of which there are more.
    ///
    /// The last sentence that stays is run again, with those of its run that it may have seen.
    pub fn truncate(&mut self, kept: usize) -> Result<()> {
        self.prepare()?;
        let (mut runs, mut start) = (Vec::new(), 0);
        for &run in &self.runs {
            if start + run >= kept {
                break;
            }
            runs.push(run);
            start += run;
        }
        if self.model.backbone.is_causal() && start + 1 < kept {
            runs.push(kept - 1 - start);
            start = kept - 1;
        }
        runs.push(kept - start);
        let Some(cache) = &self.cache else {
            return Ok(());
        };
        let mut cache = self.copy_rows(&[cache.row(0).prefix(start)])?;
        let again = self.vector_rows(start, kept)?;
        self.prediction = Some(self.model.backbone.append(&mut cache, again)?);
        self.cache = Some(cache);
        self.runs = runs;
        self.sentences.truncate(kept);
        self.vectors.truncate(kept * self.hidden_size());
        Ok(())
    }

    /// This context without its first `sentences`. Nothing is encoded again; the backbone runs over
    /// the others, since their positions change.
    pub fn without_first(&self, sentences: usize) -> Result<Self> {
        let kept = self.len() - sentences;
        let mut context = Self {
            model: self.model.clone(),
            sentences: self.sentences[sentences..].to_vec(),
            vectors: self.vectors[sentences * self.hidden_size()..].to_vec(),
            runs: vec![kept],
            dropped: self.dropped + sentences,
            cache: None,
            prediction: None,
        };
        context.prepare()?;
        Ok(context)
    }

    /// What is left of a full context.
    pub fn without_oldest(&self) -> Result<Self> {
        let dropped = self.len().div_ceil(DROPPED_PART);
        debug!(
            sentences = dropped,
            "the oldest sentences leave the full context"
        );
        self.without_first(dropped)
    }

    pub fn context_full(&self) -> Error {
        let held = self.len();
        Error::ContextFull {
            unit: "sentences",
            held,
            limit: held + self.remaining(),
        }
    }

    fn hidden_size(&self) -> usize {
        self.model.shared().bundle.config.hidden_size
    }

    /// The vectors of sentences `start..end`.
    fn vector_rows(&self, start: usize, end: usize) -> Result<ArrayView2<'_, f32>> {
        let all = ArrayView2::from_shape((self.len(), self.hidden_size()), &self.vectors);
        // A context has a vector for each sentence.
        let all = all.map_err(|_| Error::EmptyContext)?;
        Ok(all.slice_move(s![start..end, ..]))
    }
}

impl CachedContext for SentenceContext {
    fn prepare(&mut self) -> Result<()> {
        if self.cache.is_some() || self.sentences.is_empty() {
            return Ok(());
        }
        let runs: Vec<usize> = match self.model.backbone.is_causal() {
            true => (0..self.len())
                .step_by(PREFILL_SENTENCES)
                .map(|start| PREFILL_SENTENCES.min(self.len() - start))
                .collect(),
            false => self.runs.clone(),
        };
        let mut cache = self.graph().cache(1)?;
        let (mut start, mut prediction) = (0, None);
        for run in runs {
            let vectors = self.vector_rows(start, start + run)?;
            prediction = Some(self.model.backbone.append(&mut cache, vectors)?);
            start += run;
        }
        self.cache = Some(cache);
        self.prediction = prediction;
        Ok(())
    }

    fn graph(&self) -> &CachedGraph {
        self.model.backbone.cached()
    }

    fn slot(&self) -> &Option<KvCache> {
        &self.cache
    }

    fn slot_mut(&mut self) -> &mut Option<KvCache> {
        &mut self.cache
    }
}
