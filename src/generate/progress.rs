//! Progress of a sentence-level continuation, and the sentence that is being decoded.

use super::{
    FinishReason, GenerateOptions, OutputTokens, OverflowPolicy, Sentence, limits::Limits,
    repeats::Repeats, rows::RowProgress, stop_text::StopText,
};
use crate::{
    config::SpecialTokens, context::ContextSentence, error::Result, graphs::Prediction,
    logits::Logits, sampling::Sampler, text::Detokenizer,
};

/// How far a continuation is. It changes only when a sentence is committed.
pub(super) struct Progress {
    options: GenerateOptions,
    sampler: Sampler,
    limits: Limits,
    /// `None` if sentences may be repeated.
    repeats: Option<Repeats>,
    /// The search for stop texts at the end of the last sentence.
    stop_text: StopText,
    tokens_of: SpecialTokens,
    sentences: usize,
    tokens: usize,
}

/// A sentence that is being decoded: one of `best_of`.
pub(super) struct Hypothesis {
    sampler: Sampler,
    /// Of each chosen token, where there are several hypotheses or it is asked for.
    log_probabilities: Vec<f32>,
    /// Whether it was cut at the largest number of tokens.
    cut: bool,
    output: OutputTokens,
    detokenizer: Detokenizer,
    stop_text: StopText,
    text: String,
    /// Text, from the sentence before on, that was not passed on yet but can be.
    ready: String,
    /// Why it is not a sentence.
    ended: Option<Result<FinishReason>>,
}

/// A decoded sentence.
pub(super) struct Decoded {
    /// Up to the last token of the stop text, if that ended it.
    pub token_ids: Vec<u32>,
    /// Without the stop text.
    pub text: String,
    /// Why the continuation ends with it, if it does.
    pub reason: Option<FinishReason>,
    log_probabilities: Vec<f32>,
    sampler: Sampler,
}

impl Progress {
    /// A continuation of a context with these sentences.
    pub fn new(
        options: GenerateOptions,
        tokens_of: SpecialTokens,
        context: &[ContextSentence],
    ) -> Self {
        let before = context.last().map_or("", |sentence| &sentence.text);
        let mut progress = Self {
            stop_text: StopText::new(options.stop_texts(), before),
            sampler: Sampler::new(options.sampling(), tokens_of.eos),
            limits: Limits::new(&options),
            options,
            repeats: None,
            tokens_of,
            sentences: 0,
            tokens: 0,
        };
        progress.observe(context);
        progress
    }

    /// Take the sentences of the context as the history, in place of what it was before.
    pub fn observe(&mut self, context: &[ContextSentence]) {
        self.sampler.forget();
        self.repeats = self.options.avoids_repeats().then(Repeats::default);
        for sentence in context {
            self.sampler.observe(sentence.ids.iter().copied());
            self.remember(&sentence.ids, &sentence.text);
        }
    }

    fn remember(&mut self, ids: &[u32], text: &str) {
        if let Some(repeats) = &mut self.repeats {
            repeats.remember(ids, text);
        }
    }

    /// Why there is no next sentence after this prediction, where `remaining` sentences fit the
    /// context.
    pub fn finished(&self, prediction: &Prediction, remaining: usize) -> Option<FinishReason> {
        let [stop, proceed] = prediction.stop_logits;
        if self.sentences >= self.options.max_sentences {
            Some(FinishReason::MaxSentences)
        } else if self
            .options
            .max_tokens
            .is_some_and(|max| self.tokens >= max)
        {
            Some(FinishReason::MaxTokens)
        } else if remaining == 0 && self.options.overflow == OverflowPolicy::Stop {
            Some(FinishReason::ContextFull)
        } else if stop >= proceed && !self.options.ignore_eos {
            Some(FinishReason::Stop)
        } else {
            self.limits.reached()
        }
    }

    /// Sentences that were generated.
    pub fn sentences(&self) -> usize {
        self.sentences
    }

    /// How strongly its sentences are guided; 1 is not at all.
    pub fn guidance_scale(&self) -> f32 {
        self.sampler.options().guidance_scale
    }

    /// How many hypotheses of a sentence are decoded.
    pub fn hypotheses(&self) -> usize {
        self.options.best_of
    }

    /// Begin hypothesis `number` of the sentence with index `position` in the context.
    pub fn begin(
        &self,
        number: usize,
        position: usize,
        output: OutputTokens,
        detokenizer: Detokenizer,
    ) -> Hypothesis {
        Hypothesis {
            sampler: self.sampler.for_hypothesis(number, position),
            log_probabilities: Vec::new(),
            cut: false,
            output,
            detokenizer,
            stop_text: self.stop_text.clone(),
            text: String::new(),
            ready: String::new(),
            ended: None,
        }
    }

    /// Choose the next token; returns it if the sentence continues after it. `on_text` gets the text
    /// that is completed by it, if there is only one hypothesis.
    pub fn step(
        &self,
        hypothesis: &mut Hypothesis,
        logits: Result<&mut Logits>,
        on_text: &mut dyn FnMut(&str),
    ) -> Option<u32> {
        if let Some(reason) = self.limits.reached() {
            hypothesis.ended = Some(Ok(reason));
            return None;
        }
        let single = self.hypotheses() == 1;
        let chosen = logits.and_then(|logits| {
            let id = self.choose(hypothesis, logits)?;
            let next = hypothesis.push(id)?;
            if single {
                hypothesis.pass_on(on_text);
            }
            let tokens = self.tokens + hypothesis.output.ids().len();
            let full = self.options.max_tokens.is_some_and(|max| tokens >= max);
            hypothesis.cut = full && next.is_some();
            Ok(next.filter(|_| !full))
        });
        match chosen {
            Ok(next) => next,
            Err(error) => {
                hypothesis.ended = Some(Err(error));
                None
            }
        }
    }

    fn choose(&self, hypothesis: &mut Hypothesis, logits: &mut Logits) -> Result<u32> {
        let needed = self.hypotheses() > 1 || self.options.log_probabilities;
        let unmasked = needed.then(|| logits.clone());
        if let Some(hook) = &self.options.logits_hook {
            hook.call(hypothesis.output.ids(), logits)?;
        }
        if let Some(repeats) = &self.repeats {
            for &last in repeats.completions(hypothesis.output.ids()) {
                logits.mask(last);
            }
        }
        let length = self.options.fixed_sentence_tokens;
        if length.is_some() {
            logits.mask(self.tokens_of.eos);
        }
        let id = match length {
            // The last token stands for the end of the sentence.
            Some(length) if hypothesis.output.ids().len() + 1 >= length => self.tokens_of.eos,
            _ => hypothesis.sampler.choose(logits),
        };
        if let Some(unmasked) = unmasked {
            let log_probability = unmasked.log_probability(id);
            hypothesis.log_probabilities.push(log_probability);
        }
        Ok(id)
    }

    /// Finish a hypothesis; `on_text` gets the text that it did not get before.
    ///
    /// `Ok(Err(reason))` if the continuation ends instead of a sentence.
    pub fn finish(
        &mut self,
        mut hypothesis: Hypothesis,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<std::result::Result<Decoded, FinishReason>> {
        if let Some(ended) = hypothesis.ended.take() {
            return ended.map(Err);
        }
        hypothesis.complete()?;
        hypothesis.pass_on(on_text);
        self.stop_text = hypothesis.stop_text.clone();
        let decoded = hypothesis.decoded();
        Ok(match decoded.reason {
            Some(reason) if decoded.text.is_empty() => Err(reason),
            _ => Ok(decoded),
        })
    }

    /// Count a sentence that is part of the context now; the stop logits are those before it.
    pub fn commit(&mut self, decoded: Decoded, [stop, proceed]: [f32; 2]) -> Sentence {
        let index = self.sentences;
        self.sentences += 1;
        self.tokens += decoded.token_ids.len();
        self.sampler = decoded.sampler;
        let ids = self.tokens_of.without_eos(&decoded.token_ids);
        self.remember(ids, &decoded.text);
        Sentence {
            index,
            text: decoded.text,
            token_ids: decoded.token_ids,
            stop_probability: 1.0 / (1.0 + (proceed - stop).exp()),
            log_probabilities: self
                .options
                .log_probabilities
                .then_some(decoded.log_probabilities),
        }
    }
}

impl RowProgress for Progress {
    fn pass_on_held(&mut self, on_text: &mut dyn FnMut(&str)) {
        self.stop_text.finish(on_text);
    }
}

impl Hypothesis {
    /// The likelier of two, by the mean log-probability of their tokens. A hypothesis that ended
    /// early ends the sentence.
    pub fn better(self, other: Self) -> Self {
        if self.ended.is_some() {
            return self;
        }
        if other.ended.is_some() || other.score() > self.score() {
            return other;
        }
        self
    }

    fn score(&self) -> f64 {
        let sum: f64 = self.log_probabilities.iter().map(|&p| f64::from(p)).sum();
        sum / self.log_probabilities.len().max(1) as f64
    }

    fn push(&mut self, id: u32) -> Result<Option<u32>> {
        let Some(id) = self.output.push(id) else {
            return Ok(None);
        };
        let piece = self.detokenizer.push(id)?.unwrap_or_default();
        let pass = |text: &str| self.ready.push_str(text);
        let found = self.stop_text.push(piece, &mut self.text, pass);
        Ok((!found).then_some(id))
    }

    /// Add the text that its last tokens still owe.
    fn complete(&mut self) -> Result<()> {
        if !self.stop_text.found() {
            let rest = self.detokenizer.finish()?.unwrap_or_default();
            let pass = |text: &str| self.ready.push_str(text);
            self.stop_text.push(rest, &mut self.text, pass);
        }
        Ok(())
    }

    fn pass_on(&mut self, on_text: &mut dyn FnMut(&str)) {
        if !self.ready.is_empty() {
            on_text(&self.ready);
            self.ready.clear();
        }
    }

    fn decoded(mut self) -> Decoded {
        let reason = match () {
            () if self.stop_text.found() => Some(FinishReason::StopText),
            () if self.cut => Some(FinishReason::MaxTokens),
            () => None,
        };
        let token_ids = self.output.into_ids();
        // A token that did not fit the sentence was chosen and dropped.
        self.log_probabilities.truncate(token_ids.len());
        Decoded {
            token_ids,
            reason,
            text: self.text,
            log_probabilities: self.log_probabilities,
            sampler: self.sampler,
        }
    }
}

#[cfg(test)]
mod tests;
