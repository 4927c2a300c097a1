//! How far a continuation is, and the sentence that it is decoding: the same for one context and
//! for many together.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{CancelHandle, FinishReason, GenerateOptions, Sentence, WhenFull, stop_text::StopText};
use crate::{
    backbone::Prediction, candidates::Candidates, config::SpecialTokens, error::Result,
    sampling::Sampler, text::Detokenizer,
};

/// How often a part of a sentence may come where no sentence may come twice.
const MAX_PART_REPEATS: usize = 2;
/// Marks that end a sentence of grammar; the segmentation rule cuts at others too.
const WHOLE_MARKS: [char; 7] = ['.', '!', '?', '…', '。', '！', '？'];
/// What may stand between such a mark and the end.
const QUOTES: [char; 6] = ['"', '\'', '“', '”', '‘', '’'];

/// How far a continuation is.
pub(super) struct Progress {
    options: GenerateOptions,
    sampler: Sampler,
    limits: Limits,
    /// The sentences that are not to come again: tokens but the last, and what that may be.
    said: HashMap<Vec<u32>, Vec<u32>>,
    /// How often each part of a sentence was there.
    parts: HashMap<Vec<u32>, usize>,
    /// The text of the last sentence.
    last_text: String,
    tokens_of: SpecialTokens,
    /// Sentences of the context when it began.
    before: usize,
    pub sentences: usize,
    pub tokens: usize,
    pub finished: Option<FinishReason>,
}

/// What ends a continuation from outside.
pub(super) struct Limits {
    cancel: Option<CancelHandle>,
    started: Instant,
    time_limit: Option<Duration>,
}

impl Limits {
    /// The time counts from now.
    pub fn new(options: &GenerateOptions) -> Self {
        Self {
            cancel: options.cancel.clone(),
            started: Instant::now(),
            time_limit: options.time_limit,
        }
    }

    /// Why no further graph may be run.
    pub fn reached(&self) -> Option<FinishReason> {
        if self.cancel.as_ref().is_some_and(CancelHandle::is_cancelled) {
            return Some(FinishReason::Cancelled);
        }
        let late = |limit| self.started.elapsed() >= limit;
        self.time_limit
            .is_some_and(late)
            .then_some(FinishReason::TimeLimit)
    }
}

impl Progress {
    /// `context` are ids and texts of the sentences that are there.
    pub fn new<'i>(
        options: GenerateOptions,
        tokens_of: SpecialTokens,
        context: impl IntoIterator<Item = (&'i [u32], &'i str)>,
    ) -> Self {
        let mut progress = Self {
            sampler: Sampler::new(options.sampling(), tokens_of.eos),
            limits: Limits::new(&options),
            options,
            said: HashMap::new(),
            parts: HashMap::new(),
            last_text: String::new(),
            tokens_of,
            before: 0,
            sentences: 0,
            tokens: 0,
            finished: None,
        };
        let SpecialTokens { bos, .. } = tokens_of;
        for (ids, text) in context {
            progress.remember(ids, text);
            // OPT's bos is its eos too, which the sampler leaves out.
            let ids = ids.strip_prefix(&[bos]).unwrap_or(ids);
            progress.sampler.observe(ids.iter().copied());
            progress.before += 1;
        }
        progress
    }

    /// Forbid that a sentence comes again, if that is asked; a part of one may come twice.
    fn remember(&mut self, ids: &[u32], text: &str) {
        text.clone_into(&mut self.last_text);
        let closed = |mark: char| mark.is_whitespace() || QUOTES.contains(&mark);
        let is_whole = text.trim_end_matches(closed).ends_with(WHOLE_MARKS);
        if !self.options.avoids_repeats() {
            return;
        }
        let SpecialTokens { bos, eos, .. } = self.tokens_of;
        let ids = ids.strip_prefix(&[bos]).unwrap_or(ids);
        let ids = ids.strip_suffix(&[eos]).unwrap_or(ids);
        if !is_whole {
            let count = self.parts.entry(ids.to_vec()).or_default();
            *count += 1;
            if *count < MAX_PART_REPEATS {
                return;
            }
        }
        if let Some((last, before)) = ids.split_last() {
            self.said.entry(before.to_vec()).or_default().push(*last);
        }
    }

    /// Whether another sentence is to come after this prediction, where the context has room for so
    /// many.
    pub fn goes_on(&mut self, prediction: &Prediction, room: usize) -> bool {
        let [stop, go_on] = prediction.stop_logits;
        if self.finished.is_none() {
            self.finished = if self.sentences >= self.options.max_sentences {
                Some(FinishReason::MaxSentences)
            } else if room == 0 && self.options.when_full == WhenFull::Stop {
                Some(FinishReason::ContextFull)
            } else if stop >= go_on && !self.options.ignore_stop {
                Some(FinishReason::Stop)
            } else {
                self.limits.reached()
            };
        }
        self.finished.is_none()
    }

    /// The next sentence, as many times as it is to be tried.
    pub fn begin(
        &mut self,
        emitted: &Emitted,
        detokenizer: impl Fn() -> Detokenizer,
    ) -> Vec<Attempt> {
        let count = self.options.best_of;
        self.sampler.go_to(self.before + self.sentences, 0);
        let attempt = |number| Attempt {
            sampler: (count > 1).then(|| self.sampler.for_hypothesis(number)),
            log_probability: 0.0,
            choices: 0,
            emitted: emitted.clone(),
            detokenizer: detokenizer(),
            watch: StopText::new(&self.options.stop_texts, &self.last_text),
            text: String::new(),
        };
        (0..count).map(attempt).collect()
    }

    /// Choose the next token of an attempt; returns it if the sentence goes on after it. `on_text`
    /// gets the text that became complete by it.
    pub fn step(
        &mut self,
        attempt: &mut Attempt,
        candidates: &mut Candidates,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Option<u32>> {
        self.finished = self.finished.or_else(|| self.limits.reached());
        if self.finished.is_some() {
            return Ok(None);
        }
        let likely = (self.options.best_of > 1).then(|| candidates.clone());
        if let Some(lasts) = self.said.get(attempt.emitted.ids()) {
            for &last in lasts {
                candidates.forbid(last);
            }
        }
        let sampler = attempt.sampler.as_mut().unwrap_or(&mut self.sampler);
        let id = sampler.choose(candidates);
        if let Some(likely) = likely {
            attempt.log_probability += f64::from(likely.probability(id)).ln();
            attempt.choices += 1;
        }
        attempt.take(id, on_text)
    }

    /// The best of the attempts, and whether anything of it is to be given out; `None` if the
    /// continuation was ended meanwhile. `on_text` gets the text that was not given out yet.
    pub fn finish(
        &mut self,
        attempts: Vec<Attempt>,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Option<Decoded>> {
        if self.finished.is_some() {
            return Ok(None);
        }
        let streamed = attempts.len() == 1;
        // Of equal ones the first.
        let better = |best: Attempt, next: Attempt| {
            if next.score() > best.score() {
                next
            } else {
                best
            }
        };
        let Some(mut best) = attempts.into_iter().reduce(better) else {
            return Ok(None);
        };
        if let Some(sampler) = best.sampler.take() {
            self.sampler.adopt(sampler);
        }
        let decoded = match streamed {
            true => best.finish(on_text)?,
            false => {
                let decoded = best.finish(&mut |_| {})?;
                on_text(&decoded.text);
                decoded
            }
        };
        if decoded.stopped {
            self.finished = Some(FinishReason::StopText);
        }
        Ok(Some(decoded).filter(|decoded| !(decoded.stopped && decoded.text.is_empty())))
    }

    /// Count a sentence that is part of the context now; the stop logits are those before it.
    pub fn count(&mut self, decoded: Decoded, [stop, go_on]: [f32; 2]) -> Sentence {
        let index = self.sentences;
        self.sentences += 1;
        self.tokens += decoded.token_ids.len();
        self.remember(&decoded.token_ids, &decoded.text);
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

    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub fn into_ids(self) -> Vec<u32> {
        self.ids
    }
}

/// A sentence that is being decoded.
pub(super) struct Attempt {
    /// The attempt's own, where there are several.
    sampler: Option<Sampler>,
    /// The sum over the tokens chosen, where there are several attempts.
    log_probability: f64,
    choices: usize,
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

impl Attempt {
    /// Mean log-probability of the tokens.
    fn score(&self) -> f64 {
        self.log_probability / self.choices.max(1) as f64
    }

    fn take(&mut self, id: u32, on_text: &mut dyn FnMut(&str)) -> Result<Option<u32>> {
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

    fn finish(mut self, on_text: &mut dyn FnMut(&str)) -> Result<Decoded> {
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
