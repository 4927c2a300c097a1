//! The loop that continues a context sentence by sentence.

mod options;
mod stop_text;
mod tokens;

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use crate::{
    backbone::Prediction,
    candidates::Candidates,
    config::SpecialTokens,
    error::{Error, Result},
    sampling::Sampler,
    session::{Context, SentenceContext, TokenContext},
    text::Detokenizer,
};
pub use options::GenerateOptions;
use stop_text::StopText;
use tokens::TokenLoop;
pub(crate) use tokens::TokenModel;

/// A generated sentence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sentence {
    /// Its number within this continuation, from 0.
    pub index: usize,
    /// Its text, with the white space that ends it.
    pub text: String,
    /// What the decoder emitted: without bos, with eos if it was emitted.
    pub token_ids: Vec<u32>,
    /// The stop head's probability, asked before this sentence, that the text is over; in kind `opt`
    /// that of eos as its first token.
    pub stop_probability: f32,
}

/// Why a continuation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model's stop head said so; in kind `opt` the token eos.
    Stop,
    /// The number of sentences asked for is reached.
    MaxSentences,
    /// The context holds as many sentences (in kind `opt` tokens) as the model allows.
    ContextFull,
    /// The stop text was generated.
    StopText,
}

impl FinishReason {
    /// The reason as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::MaxSentences => "max_sentences",
            Self::ContextFull => "context_full",
            Self::StopText => "stop_text",
        }
    }
}

/// What the loop needs of a model with a context.
pub(crate) trait SentenceModel {
    fn special_tokens(&self) -> SpecialTokens;
    /// Longest sentence in tokens, bos included.
    fn max_sentence_tokens(&self) -> usize;
    /// How many sentences fit into the context yet.
    fn room(&self) -> usize;
    /// The prediction after the last sentence, `None` without any.
    fn prediction(&self) -> Option<&Prediction>;
    fn detokenizer(&self) -> Detokenizer;
    /// Begin to decode the predicted sentence.
    fn begin_sentence(&mut self) -> Result<()>;
    /// What may follow `id`, the last token of the sentence so far.
    fn candidates_after(&mut self, id: u32) -> Result<Candidates>;
    /// Append a decoded sentence to the context; `token_ids` as in [`Sentence`].
    fn append_generated(&mut self, token_ids: &[u32], text: &str) -> Result<()>;
}

/// Decode one sentence: from bos, to eos or the longest sentence that can be encoded again.
///
/// `on_token` sees each token but eos and may end the sentence. Returns what was emitted.
pub(crate) fn decode_tokens(
    tokens: SpecialTokens,
    max_sentence_tokens: usize,
    mut candidates_after: impl FnMut(u32) -> Result<Candidates>,
    mut choose: impl FnMut(&mut Candidates) -> u32,
    mut on_token: impl FnMut(u32) -> Result<ControlFlow<()>>,
) -> Result<Vec<u32>> {
    let mut emitted = Vec::new();
    let mut last = tokens.bos;
    loop {
        let id = choose(&mut candidates_after(last)?);
        if id == tokens.eos {
            emitted.push(id);
            return Ok(emitted);
        }
        if emitted.len() + 1 >= max_sentence_tokens {
            return Ok(emitted);
        }
        emitted.push(id);
        if on_token(id)?.is_break() {
            return Ok(emitted);
        }
        last = id;
    }
}

/// Probability of "stop" of the stop head's two logits.
fn stop_probability([stop, go_on]: [f32; 2]) -> f32 {
    1.0 / (1.0 + (go_on - stop).exp())
}

/// The loop over any model; [`Generation`] is the one over a session.
pub(crate) struct Loop<'m, M> {
    model: &'m mut M,
    options: GenerateOptions,
    sampler: Sampler,
    sentences: usize,
    tokens: usize,
    finished: Option<FinishReason>,
    failed: bool,
}

impl<'m, M: SentenceModel> Loop<'m, M> {
    pub fn new(model: &'m mut M, options: GenerateOptions) -> Self {
        let sampler = Sampler::new(options.sampling.clone(), model.special_tokens().eos);
        Self {
            model,
            options,
            sampler,
            sentences: 0,
            tokens: 0,
            finished: None,
            failed: false,
        }
    }

    pub fn next_with(&mut self, on_text: &mut dyn FnMut(&str)) -> Option<Result<Sentence>> {
        if self.finished.is_some() || self.failed {
            return None;
        }
        let sentence = self.advance(on_text).transpose();
        self.failed = matches!(sentence, Some(Err(_)));
        sentence
    }

    fn advance(&mut self, on_text: &mut dyn FnMut(&str)) -> Result<Option<Sentence>> {
        let stop_logits = self
            .model
            .prediction()
            .ok_or(Error::EmptyContext)?
            .stop_logits;
        let [stop, go_on] = stop_logits;
        self.finished = if self.sentences >= self.options.max_sentences {
            Some(FinishReason::MaxSentences)
        } else if self.model.room() == 0 {
            Some(FinishReason::ContextFull)
        } else if stop >= go_on && !self.options.ignore_stop {
            Some(FinishReason::Stop)
        } else {
            None
        };
        if self.finished.is_some() {
            return Ok(None);
        }
        let (token_ids, text, stopped) = self.decode(on_text)?;
        if stopped {
            self.finished = Some(FinishReason::StopText);
            if text.is_empty() {
                return Ok(None);
            }
        }
        self.model.append_generated(&token_ids, &text)?;
        let index = self.sentences;
        self.sentences += 1;
        self.tokens += token_ids.len();
        let stop_probability = stop_probability(stop_logits);
        Ok(Some(Sentence {
            index,
            text,
            token_ids,
            stop_probability,
        }))
    }

    /// The token ids and the text of the next sentence, and whether the stop text ended it: then
    /// the text ends before it, while the ids reach to its last token.
    fn decode(&mut self, on_text: &mut dyn FnMut(&str)) -> Result<(Vec<u32>, String, bool)> {
        self.model.begin_sentence()?;
        let (tokens, longest) = (
            self.model.special_tokens(),
            self.model.max_sentence_tokens(),
        );
        let mut detokenizer = self.model.detokenizer();
        let mut text = String::new();
        let mut watch = StopText::new(self.options.stop_text.as_deref());
        let mut emit = |new: &str| {
            on_text(new);
            text.push_str(new);
        };
        let token_ids = decode_tokens(
            tokens,
            longest,
            |id| self.model.candidates_after(id),
            |candidates| self.sampler.choose(candidates),
            |id| {
                Ok(match detokenizer.push(id)? {
                    Some(new) => watch.push(new, &mut emit),
                    None => ControlFlow::Continue(()),
                })
            },
        )?;
        if !watch.found() {
            let rest = detokenizer.finish()?.unwrap_or_default();
            if watch.push(rest, &mut emit).is_continue() {
                watch.finish(&mut emit);
            }
        }
        let stopped = watch.found();
        Ok((token_ids, text, stopped))
    }
}

/// A continuation under way: an iterator of sentences.
///
/// Each sentence is part of the session's context when it is given out. After an error the session
/// holds what it held before the sentence that failed, and the iterator is at its end.
pub struct Generation<'s> {
    inner: Inner<'s>,
    started: Instant,
    first_sentence: Option<Duration>,
}

enum Inner<'s> {
    Sentences(Loop<'s, SentenceContext>),
    Tokens(TokenLoop<'s, TokenContext>),
}

impl<'s> Generation<'s> {
    pub(crate) fn new(context: &'s mut Context, options: GenerateOptions) -> Self {
        let inner = match context {
            Context::Sentences(context) => Inner::Sentences(Loop::new(context.as_mut(), options)),
            Context::Tokens(context) => Inner::Tokens(TokenLoop::new(context.as_mut(), options)),
        };
        Self {
            inner,
            started: Instant::now(),
            first_sentence: None,
        }
    }

    /// The next sentence; `on_text` gets its text as it is decoded, in whole characters.
    ///
    /// # Errors
    /// [`Error::EmptyContext`] if nothing was appended to the session, [`Error::GraphRun`],
    /// [`Error::NotFinite`], [`Error::Decode`].
    pub fn next_with(&mut self, mut on_text: impl FnMut(&str)) -> Option<Result<Sentence>> {
        let sentence = match &mut self.inner {
            Inner::Sentences(inner) => inner.next_with(&mut on_text),
            Inner::Tokens(inner) => inner.next_with(&mut on_text),
        };
        if self.first_sentence.is_none() && matches!(sentence, Some(Ok(_))) {
            self.first_sentence = Some(self.started.elapsed());
        }
        sentence
    }

    /// Why it ended; `None` while it has not, or if it ended with an error.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        match &self.inner {
            Inner::Sentences(inner) => inner.finished,
            Inner::Tokens(inner) => inner.finish_reason(),
        }
    }

    /// Sentences generated so far.
    #[must_use]
    pub fn sentences(&self) -> usize {
        match &self.inner {
            Inner::Sentences(inner) => inner.sentences,
            Inner::Tokens(inner) => inner.sentences(),
        }
    }

    /// Tokens generated so far, ends of sentences included.
    #[must_use]
    pub fn tokens(&self) -> usize {
        match &self.inner {
            Inner::Sentences(inner) => inner.tokens,
            Inner::Tokens(inner) => inner.tokens(),
        }
    }

    /// Time from the start of the continuation to its first whole sentence.
    #[must_use]
    pub fn time_to_first_sentence(&self) -> Option<Duration> {
        self.first_sentence
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Sentence>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_with(|_| {})
    }
}

#[cfg(test)]
mod tests;
