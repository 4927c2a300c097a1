//! The loop that continues a context sentence by sentence.

mod batch;
mod cancel;
mod options;
mod progress;
mod stop_text;
mod tokens;

use std::time::{Duration, Instant};

use tracing::{Span, debug_span, field, info_span};

use crate::{
    backbone::Prediction,
    candidates::Candidates,
    config::SpecialTokens,
    error::{Error, Result},
    session::{Context, SentenceContext, TokenContext},
    text::Detokenizer,
};
pub(crate) use batch::generate_batch;
pub use cancel::CancelHandle;
pub use options::{GenerateOptions, GenerationDefaults, WhenFull};
pub(crate) use progress::Emitted;
use progress::{Decoded, Limits, Progress};
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

/// A whole continuation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Continuation {
    /// Its sentences.
    pub sentences: Vec<Sentence>,
    /// Why it ended.
    pub finish_reason: FinishReason,
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
    /// Its [`CancelHandle`] was cancelled.
    Cancelled,
    /// Its time is over.
    TimeLimit,
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
            Self::Cancelled => "cancelled",
            Self::TimeLimit => "time_limit",
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
    /// What may follow `id`, the last token of the sentence so far; it may be changed.
    fn candidates_after(&mut self, id: u32) -> Result<&mut Candidates>;
    /// Decode the predicted sentence so many times, together; see
    /// [`Decoder::decode_together`](crate::decoder::Decoder::decode_together).
    fn decode_attempts(
        &mut self,
        count: usize,
        next: &mut dyn FnMut(usize, &mut Candidates) -> Result<Option<u32>>,
    ) -> Result<()>;
    /// Ids and texts of the sentences of the context.
    fn sentences(&self) -> impl Iterator<Item = (&[u32], &str)>;
    /// Append a decoded sentence to the context, which loses its oldest ones if it is full; `token_ids` as in [`Sentence`].
    fn append_generated(&mut self, token_ids: &[u32], text: &str) -> Result<()>;
}

/// The loop over any model; [`Generation`] is the one over a session.
pub(crate) struct Loop<'m, M> {
    model: &'m mut M,
    progress: Progress,
    failed: bool,
}

impl<'m, M: SentenceModel> Loop<'m, M> {
    pub fn new(model: &'m mut M, options: GenerateOptions) -> Self {
        let progress = Progress::new(options, model.special_tokens(), model.sentences());
        Self {
            model,
            progress,
            failed: false,
        }
    }

    pub fn next_with(&mut self, on_text: &mut dyn FnMut(&str)) -> Option<Result<Sentence>> {
        if self.progress.finished.is_some() || self.failed {
            return None;
        }
        let sentence = self.advance(on_text).transpose();
        self.failed = matches!(sentence, Some(Err(_)));
        sentence
    }

    fn advance(&mut self, on_text: &mut dyn FnMut(&str)) -> Result<Option<Sentence>> {
        let prediction = self.model.prediction().ok_or(Error::EmptyContext)?;
        if !self.progress.goes_on(prediction, self.model.room()) {
            return Ok(None);
        }
        let span = sentence_span(self.progress.sentences);
        let _entered = span.enter();
        let stop_logits = prediction.stop_logits;
        let Some(decoded) = self.decode(on_text)? else {
            return Ok(None);
        };
        span.record("tokens", decoded.token_ids.len());
        self.model
            .append_generated(&decoded.token_ids, &decoded.text)?;
        Ok(Some(self.progress.count(decoded, stop_logits)))
    }

    fn decode(&mut self, on_text: &mut dyn FnMut(&str)) -> Result<Option<Decoded>> {
        let Self {
            model, progress, ..
        } = self;
        let tokens = model.special_tokens();
        let emitted = Emitted::new(tokens, model.max_sentence_tokens());
        let mut attempts = progress.begin(&emitted, || model.detokenizer());
        if let [attempt] = &mut attempts[..] {
            model.begin_sentence()?;
            let mut last = Some(tokens.bos);
            while let Some(id) = last {
                last = progress.step(attempt, model.candidates_after(id)?, on_text)?;
            }
        } else {
            model.decode_attempts(attempts.len(), &mut |number, candidates| {
                progress.step(&mut attempts[number], candidates, &mut |_| {})
            })?;
        }
        progress.finish(attempts, on_text)
    }
}

/// The generation of one sentence, which may come to nothing.
fn sentence_span(index: usize) -> Span {
    debug_span!("sentence", index, tokens = field::Empty)
}

/// A continuation under way: an iterator of sentences.
///
/// Each sentence is part of the session's context when it is given out. After an error the session
/// holds what it held before the sentence that failed, and the iterator is at its end.
pub struct Generation<'s> {
    inner: Inner<'s>,
    started: Instant,
    first_sentence: Option<Duration>,
    span: Span,
}

enum Inner<'s> {
    Sentences(Loop<'s, SentenceContext>),
    Tokens(TokenLoop<'s, TokenContext>),
}

impl<'s> Generation<'s> {
    pub(crate) fn new(context: &'s mut Context, options: GenerateOptions) -> Self {
        let model = context.model();
        let options = options.resolved(model.generation_defaults(), model.config().kind);
        let span = info_span!(
            "generate",
            model = model.config().name,
            variant = model.variant(),
            provider = model.provider().name(),
            sentences = field::Empty,
            tokens = field::Empty,
            finish_reason = field::Empty,
        );
        let inner = match context {
            Context::Sentences(context) => Inner::Sentences(Loop::new(context.as_mut(), options)),
            Context::Tokens(context) => Inner::Tokens(TokenLoop::new(context.as_mut(), options)),
        };
        Self {
            inner,
            started: Instant::now(),
            first_sentence: None,
            span,
        }
    }

    /// The next sentence; `on_text` gets its text as it is decoded, in whole characters.
    ///
    /// # Errors
    /// [`Error::EmptyContext`] if nothing was appended to the session, [`Error::GraphRun`],
    /// [`Error::NotFinite`], [`Error::Decode`].
    pub fn next_with(&mut self, mut on_text: impl FnMut(&str)) -> Option<Result<Sentence>> {
        let was_over = self.finish_reason().is_some();
        let sentence = self.span.in_scope(|| match &mut self.inner {
            Inner::Sentences(inner) => inner.next_with(&mut on_text),
            Inner::Tokens(inner) => inner.next_with(&mut on_text),
        });
        if let Some(reason) = self.finish_reason().filter(|_| !was_over) {
            self.span.record("sentences", self.sentences());
            self.span.record("tokens", self.tokens());
            self.span.record("finish_reason", reason.as_str());
        }
        if self.first_sentence.is_none() && matches!(sentence, Some(Ok(_))) {
            self.first_sentence = Some(self.started.elapsed());
        }
        sentence
    }

    /// Why it ended; `None` while it has not, or if it ended with an error.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        match &self.inner {
            Inner::Sentences(inner) => inner.progress.finished,
            Inner::Tokens(inner) => inner.finish_reason(),
        }
    }

    /// Sentences generated so far.
    #[must_use]
    pub fn sentences(&self) -> usize {
        match &self.inner {
            Inner::Sentences(inner) => inner.progress.sentences,
            Inner::Tokens(inner) => inner.sentences(),
        }
    }

    /// Tokens generated so far, ends of sentences included.
    #[must_use]
    pub fn tokens(&self) -> usize {
        match &self.inner {
            Inner::Sentences(inner) => inner.progress.tokens,
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
