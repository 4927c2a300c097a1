//! A context of sentences, with the backbone's sentence cache and the decoder's token cache.

use tracing::{debug, debug_span};

use super::Appended;
use crate::{
    backbone::Prediction,
    candidates::Candidates,
    config::SpecialTokens,
    error::{Error, Result},
    generation::SentenceModel,
    model::{Model, Parts},
    runtime::KvCache,
    text::{Detokenizer, TextSentence},
};

/// A full context loses one of so many sentences.
const DROPPED_PART: usize = 4;

/// A sentence of the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContextSentence {
    pub text: String,
    /// What the encoder sees of it; empty where it is not given a mask of it.
    pub ids: Vec<u32>,
}

impl ContextSentence {
    /// A sentence that was generated; `token_ids` as the decoder emitted them.
    pub fn generated(parts: &Parts, token_ids: &[u32], text: &str) -> Self {
        let config = &parts.bundle.config;
        let eos = parts.special_tokens().eos;
        let spoken = token_ids.strip_suffix(&[eos]).unwrap_or(token_ids);
        let ids = match (config.reencode_mask, config.reencode_bos) {
            (true, true) => parts.prompt_ids(spoken.to_vec()),
            (true, false) => token_ids.to_vec(),
            (false, _) => Vec::new(),
        };
        Self {
            text: text.to_owned(),
            ids,
        }
    }
}

/// See that there is white space between the last sentence and those that are generated after it.
pub(super) fn separate(parts: &Parts, sentences: &mut [ContextSentence]) {
    if let Some(last) = sentences.last_mut() {
        parts.pipeline.separate(&mut last.text);
    }
}

/// The context of a model of kind `sllm`.
#[derive(Debug)]
pub(crate) struct SentenceContext {
    pub model: Model,
    pub sentences: Vec<ContextSentence>,
    /// How many sentences each run of the backbone appended: sentences of one run may have seen
    /// each other, so a context is only made again by the same runs.
    pub runs: Vec<usize>,
    pub(super) sentence_cache: KvCache,
    token_cache: KvCache,
    pub(super) prediction: Option<Prediction>,
    /// What may follow in the sentence that is being decoded.
    candidates: Candidates,
}

impl SentenceContext {
    pub fn new(model: Model) -> Result<Self> {
        let sentence_cache = model.parts().backbone()?.cache()?;
        let token_cache = model.parts().sentence_graphs()?.decoder.cache(1)?;
        Ok(Self {
            model,
            sentences: Vec::new(),
            runs: Vec::new(),
            sentence_cache,
            token_cache,
            prediction: None,
            candidates: Candidates::default(),
        })
    }

    pub fn memory_bytes(&self) -> usize {
        self.sentence_cache.memory_bytes() + self.token_cache.memory_bytes()
    }

    pub fn append(&mut self, text: &str) -> Result<Appended> {
        let room = self.room();
        let parts = self.model.parts();
        let mut pieces = parts.pipeline.sentences(text)?;
        let (mut sentences, mut appended) = (Vec::new(), Appended::default());
        for piece in pieces.by_ref() {
            let piece = piece?;
            appended.truncated += usize::from(piece.truncated);
            let ids = parts.prompt_ids(piece.ids);
            sentences.push(ContextSentence {
                text: piece.text.to_owned(),
                ids,
            });
            if sentences.len() > room {
                return Err(self.context_full());
            }
        }
        pieces.dropped().clone_into(&mut appended.dropped);
        appended.sentences = sentences.len();
        self.append_run(sentences)?;
        Ok(appended)
    }

    pub fn append_sentences(&mut self, sentences: &[TextSentence<'_>]) -> Result<()> {
        let parts = self.model.parts();
        let sentence = |sentence: &TextSentence<'_>| ContextSentence {
            text: sentence.text.to_owned(),
            ids: parts.prompt_ids(sentence.ids.clone()),
        };
        self.append_run(sentences.iter().map(sentence).collect())
    }

    pub fn append_run(&mut self, sentences: Vec<ContextSentence>) -> Result<()> {
        if sentences.is_empty() {
            return Ok(());
        }
        if sentences.len() > self.room() {
            return Err(self.context_full());
        }
        let ids: Vec<_> = sentences
            .iter()
            .map(|sentence| sentence.ids.clone())
            .collect();
        let _span = debug_span!(
            "append",
            held = self.sentences.len(),
            sentences = ids.len(),
            tokens = ids.iter().map(Vec::len).sum::<usize>(),
        )
        .entered();
        let vectors = self.model.parts().sentence_graphs()?.encoder.encode(&ids)?;
        let backbone = self.model.parts().backbone()?;
        self.prediction = Some(backbone.append(&mut self.sentence_cache, vectors.view())?);
        self.runs.push(sentences.len());
        self.sentences.extend(sentences);
        Ok(())
    }

    pub fn clear(&mut self) -> Result<()> {
        self.model
            .parts()
            .backbone()?
            .clear(&mut self.sentence_cache)?;
        self.sentences.clear();
        self.runs.clear();
        self.prediction = None;
        Ok(())
    }

    /// A context of its own with the same sentences.
    pub fn fork(&self) -> Result<Self> {
        let backbone = self.model.parts().backbone()?;
        Ok(Self {
            sentence_cache: backbone.join(&[(&self.sentence_cache, 0)])?,
            sentences: self.sentences.clone(),
            runs: self.runs.clone(),
            prediction: self.prediction.clone(),
            ..Self::new(self.model.clone())?
        })
    }

    /// Forget all but the first `kept` sentences, of which there are more. The last sentence that
    /// stays is computed again, with those of its run that it may have seen.
    pub fn truncate(&mut self, kept: usize) -> Result<()> {
        let (mut runs, mut start) = (Vec::new(), 0);
        for &run in &self.runs {
            if start + run >= kept {
                break;
            }
            runs.push(run);
            start += run;
        }
        if self.is_causal()? && start + 1 < kept {
            runs.push(kept - 1 - start);
            start = kept - 1;
        }
        let backbone = self.model.parts().backbone()?;
        let mut rest = Self {
            sentence_cache: backbone.prefix(&self.sentence_cache, start)?,
            sentences: self.sentences[..start].to_vec(),
            runs,
            ..Self::new(self.model.clone())?
        };
        rest.append_run(self.sentences[start..kept].to_vec())?;
        *self = rest;
        Ok(())
    }

    /// This context without its first `sentences`, the others computed anew in one run.
    pub fn without_first(&self, sentences: usize) -> Result<Self> {
        let mut kept = Self::new(self.model.clone())?;
        kept.append_run(self.sentences[sentences..].to_vec())?;
        Ok(kept)
    }

    /// What is left of a full context.
    pub fn without_oldest(&self) -> Result<Self> {
        let dropped = self.sentences.len().div_ceil(DROPPED_PART);
        debug!(sentences = dropped, "the oldest leave the full context");
        self.without_first(dropped)
    }

    /// Whether the context is the same however its sentences were split into runs.
    pub fn is_causal(&self) -> Result<bool> {
        Ok(self.model.parts().backbone()?.is_causal())
    }

    fn context_full(&self) -> Error {
        let held = self.sentences.len();
        Error::ContextFull {
            unit: "sentences",
            held,
            limit: held + self.room(),
        }
    }
}

impl SentenceModel for SentenceContext {
    fn special_tokens(&self) -> SpecialTokens {
        self.model.parts().special_tokens()
    }

    fn max_sentence_tokens(&self) -> usize {
        self.model.parts().longest_sentence
    }

    fn room(&self) -> usize {
        self.model
            .config()
            .max_sentences
            .unwrap_or(0)
            .saturating_sub(self.sentences.len())
    }

    fn prediction(&self) -> Option<&Prediction> {
        self.prediction.as_ref()
    }

    fn detokenizer(&self) -> Detokenizer {
        self.model.parts().pipeline.detokenizer()
    }

    fn begin_sentence(&mut self) -> Result<()> {
        self.model
            .parts()
            .sentence_graphs()?
            .decoder
            .clear(&mut self.token_cache)
    }

    fn candidates_after(&mut self, id: u32) -> Result<&mut Candidates> {
        let prediction = self.prediction.as_ref().ok_or(Error::EmptyContext)?;
        self.model.parts().sentence_graphs()?.decoder.append(
            &mut self.token_cache,
            &prediction.hidden,
            &[i64::from(id)],
            std::slice::from_mut(&mut self.candidates),
        )?;
        Ok(&mut self.candidates)
    }

    fn decode_attempts(
        &mut self,
        count: usize,
        next: &mut dyn FnMut(usize, &mut Candidates) -> Result<Option<u32>>,
    ) -> Result<()> {
        let prediction = self.prediction.as_ref().ok_or(Error::EmptyContext)?;
        let parts = self.model.parts();
        let decoder = &parts.sentence_graphs()?.decoder;
        let bos = parts.special_tokens().bos;
        decoder.decode_together(bos, prediction.hidden.repeat(count), next)
    }

    fn sentences(&self) -> impl Iterator<Item = (&[u32], &str)> {
        let sentences = self.sentences.iter();
        sentences.map(|sentence| (&*sentence.ids, &*sentence.text))
    }

    fn append_generated(&mut self, token_ids: &[u32], text: &str) -> Result<()> {
        let sentence = vec![ContextSentence::generated(
            self.model.parts(),
            token_ids,
            text,
        )];
        if self.room() > 0 {
            self.append_run(sentence)?;
        } else {
            let mut kept = self.without_oldest()?;
            kept.append_run(sentence)?;
            *self = kept;
        }
        let (_, before) = self.sentences.split_last_mut().ok_or(Error::EmptyContext)?;
        separate(self.model.parts(), before);
        Ok(())
    }
}
