//! How far a continuation is, and the sentence that it is decoding: the same for one context and
//! for many together.

use std::ops::ControlFlow;

use super::{FinishReason, GenerateOptions, Sentence, stop_text::StopText};
use crate::{
    backbone::Prediction, candidates::Candidates, config::SpecialTokens, error::Result,
    sampling::Sampler, text::Detokenizer,
};

/// How far a continuation is.
pub(super) struct Progress {
    options: GenerateOptions,
    sampler: Sampler,
    pub sentences: usize,
    pub tokens: usize,
    pub finished: Option<FinishReason>,
}

impl Progress {
    pub fn new(options: GenerateOptions, eos: u32) -> Self {
        Self {
            sampler: Sampler::new(options.sampling.clone(), eos),
            options,
            sentences: 0,
            tokens: 0,
            finished: None,
        }
    }

    /// Whether another sentence is to come after this prediction, where the context has room for so
    /// many.
    pub fn goes_on(&mut self, prediction: &Prediction, room: usize) -> bool {
        let [stop, go_on] = prediction.stop_logits;
        if self.finished.is_none() {
            self.finished = if self.sentences >= self.options.max_sentences {
                Some(FinishReason::MaxSentences)
            } else if room == 0 {
                Some(FinishReason::ContextFull)
            } else if stop >= go_on && !self.options.ignore_stop {
                Some(FinishReason::Stop)
            } else {
                None
            };
        }
        self.finished.is_none()
    }

    pub fn begin(&self, emitted: Emitted, detokenizer: Detokenizer) -> Decoding {
        Decoding {
            emitted,
            detokenizer,
            watch: StopText::new(self.options.stop_text.clone()),
            text: String::new(),
        }
    }

    pub fn choose(&mut self, candidates: &mut Candidates) -> u32 {
        self.sampler.choose(candidates)
    }

    /// Note what became of a sentence; whether there is anything of it to be given out.
    pub fn note(&mut self, decoded: &Decoded) -> bool {
        if decoded.stopped {
            self.finished = Some(FinishReason::StopText);
        }
        !(decoded.stopped && decoded.text.is_empty())
    }

    /// Count a sentence that is part of the context now; `prediction` is what it was decoded from.
    pub fn count(&mut self, decoded: Decoded, prediction: &Prediction) -> Sentence {
        let [stop, go_on] = prediction.stop_logits;
        let index = self.sentences;
        self.sentences += 1;
        self.tokens += decoded.token_ids.len();
        Sentence {
            index,
            text: decoded.text,
            token_ids: decoded.token_ids,
            stop_probability: 1.0 / (1.0 + (go_on - stop).exp()),
        }
    }
}

/// What was emitted of a sentence: without bos, with eos if it was emitted.
#[derive(Clone, Debug)]
pub(crate) struct Emitted {
    ids: Vec<u32>,
    eos: u32,
    longest: usize,
}

impl Emitted {
    /// Nothing yet; the longest sentence that can be encoded again has `longest` tokens, bos
    /// included.
    pub fn new(tokens: SpecialTokens, longest: usize) -> Self {
        Self {
            ids: Vec::with_capacity(longest),
            eos: tokens.eos,
            longest,
        }
    }

    /// Take the token that was chosen; returns it if the sentence goes on after it.
    pub fn take(&mut self, id: u32) -> Option<u32> {
        if id == self.eos {
            self.ids.push(id);
            return None;
        }
        if self.ids.len() + 1 >= self.longest {
            return None;
        }
        self.ids.push(id);
        Some(id)
    }

    pub fn into_ids(self) -> Vec<u32> {
        self.ids
    }
}

/// A sentence that is being decoded.
pub(super) struct Decoding {
    emitted: Emitted,
    detokenizer: Detokenizer,
    watch: StopText,
    text: String,
}

/// A sentence that was decoded.
pub(super) struct Decoded {
    /// Up to the last token of the stop text, if that ended it.
    pub token_ids: Vec<u32>,
    /// Without the stop text.
    pub text: String,
    /// Whether the stop text ended it.
    pub stopped: bool,
}

impl Decoding {
    /// Take the token that was chosen; returns it if the sentence goes on after it. `on_text` gets
    /// the text that became complete by it.
    pub fn take(&mut self, id: u32, on_text: &mut dyn FnMut(&str)) -> Result<Option<u32>> {
        let Some(id) = self.emitted.take(id) else {
            return Ok(None);
        };
        let mut emit = |new: &str| {
            on_text(new);
            self.text.push_str(new);
        };
        let flow = match self.detokenizer.push(id)? {
            Some(new) => self.watch.push(new, &mut emit),
            None => ControlFlow::Continue(()),
        };
        Ok(flow.is_continue().then_some(id))
    }

    pub fn finish(mut self, on_text: &mut dyn FnMut(&str)) -> Result<Decoded> {
        let mut emit = |new: &str| {
            on_text(new);
            self.text.push_str(new);
        };
        if !self.watch.found() {
            let rest = self.detokenizer.finish()?.unwrap_or_default();
            if self.watch.push(rest, &mut emit).is_continue() {
                self.watch.finish(&mut emit);
            }
        }
        Ok(Decoded {
            token_ids: self.emitted.into_ids(),
            stopped: self.watch.found(),
            text: self.text,
        })
    }
}
