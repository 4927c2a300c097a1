//! The continuation of one context, as an iterator.

use std::time::{Duration, Instant};

use tracing::{Span, field, info_span};

use crate::{
    batch::{Batch, BatchEvent},
    context::{Context, SentenceContext, TokenContext},
    error::{Error, Result},
    generate::{
        FinishReason, GenerateOptions, RowEvent, RowLoop as _, Sentence, SentenceRows, TokenRows,
    },
    model::Model,
    session::Session,
};

impl Session {
    /// Continue the context.
    pub fn generate(&mut self, options: GenerateOptions) -> Generation<'_> {
        let model = self.model().clone();
        Generation::new(&model, self.context_mut(), options)
    }

    /// Continue the context in an iterator that owns the session.
    ///
    /// # Errors
    /// None today: errors of the continuation are items of the iterator.
    pub fn into_generation(self, options: GenerateOptions) -> Result<OwnedGeneration> {
        OwnedGeneration::new(self, options)
    }
}

/// A continuation in progress: an iterator over its sentences.
///
/// A sentence is part of the session's context when the iterator returns it. After an error the
/// session holds what it held before the sentence that failed, and the iterator ends. The same holds
/// if the iterator is dropped, or a callback panics, while a sentence is generated.
#[must_use = "an iterator generates nothing until it is used"]
pub struct Generation<'s> {
    rows: Rows<'s>,
    /// An error that is to be returned.
    failed: Option<Error>,
    finish_reason: Option<FinishReason>,
    sentences: usize,
    tokens: usize,
    started: Instant,
    first_sentence: Option<Duration>,
    span: Span,
}

/// The loop with a single row.
enum Rows<'s> {
    Sentences(Box<SentenceRows<&'s mut SentenceContext>>),
    Tokens(Box<TokenRows<&'s mut TokenContext>>),
}

impl<'s> Generation<'s> {
    pub(crate) fn new(model: &Model, context: &'s mut Context, options: GenerateOptions) -> Self {
        let options = options.resolved(model);
        let span = info_span!(
            "generate",
            model = model.config().name,
            variant = model.variant(),
            provider = model.provider().name(),
            sentences = field::Empty,
            tokens = field::Empty,
            finish_reason = field::Empty,
        );
        let (rows, joined) = match context {
            Context::Sentences(context) => {
                let mut rows = SentenceRows::new(context.model().clone());
                let joined = rows.join(0, context.as_mut(), options);
                (
                    Rows::Sentences(Box::new(rows)),
                    joined.map_err(|(_, error)| error),
                )
            }
            Context::Tokens(context) => {
                let mut rows = TokenRows::new(context.model().clone());
                let joined = rows.join(0, context.as_mut(), options);
                (
                    Rows::Tokens(Box::new(rows)),
                    joined.map_err(|(_, error)| error),
                )
            }
        };
        Self {
            rows,
            failed: joined.err(),
            finish_reason: None,
            sentences: 0,
            tokens: 0,
            started: Instant::now(),
            first_sentence: None,
            span,
        }
    }

    /// The next sentence; `on_text` gets its text as it is decoded, in whole characters.
    ///
    /// # Errors
    /// [`Error::EmptyContext`] if nothing was appended to the session, [`Error::Graph`],
    /// [`Error::Text`].
    pub fn next_with(&mut self, mut on_text: impl FnMut(&str)) -> Option<Result<Sentence>> {
        let _entered = self.span.enter();
        let was_over = self.finish_reason.is_some();
        let mut sentence = None;
        while sentence.is_none() && self.failed.is_none() && !self.rows.is_empty() {
            let mut ended = None;
            match &mut self.rows {
                Rows::Sentences(rows) => {
                    rows.step(&mut |_, event| {
                        receive(event, &mut sentence, &mut ended, &mut on_text)
                    });
                }
                Rows::Tokens(rows) => {
                    rows.step(&mut |_, event| {
                        receive(event, &mut sentence, &mut ended, &mut on_text)
                    });
                }
            }
            match ended {
                Some(Ok(reason)) => self.finish_reason = Some(reason),
                Some(Err(error)) => self.failed = Some(error),
                None => {}
            }
        }
        if let Some(sentence) = &sentence {
            self.sentences += 1;
            self.tokens += sentence.token_ids.len();
            self.first_sentence.get_or_insert(self.started.elapsed());
        }
        if let Some(reason) = self.finish_reason.filter(|_| !was_over) {
            self.span.record("sentences", self.sentences);
            self.span.record("tokens", self.tokens);
            self.span.record("finish_reason", reason.as_str());
        }
        sentence.map(Ok).or_else(|| self.failed.take().map(Err))
    }

    /// Why the continuation ended; `None` while it is running, or after an error.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }

    /// Sentences generated so far.
    #[must_use]
    pub fn sentences(&self) -> usize {
        self.sentences
    }

    /// Tokens generated so far, ends of sentences included.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Time from the start of the continuation to its first whole sentence.
    #[must_use]
    pub fn time_to_first_sentence(&self) -> Option<Duration> {
        self.first_sentence
    }
}

impl Rows<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Sentences(rows) => rows.len() == 0,
            Self::Tokens(rows) => rows.len() == 0,
        }
    }
}

fn receive<C>(
    event: RowEvent<'_, C>,
    sentence: &mut Option<Sentence>,
    ended: &mut Option<Result<FinishReason>>,
    on_text: &mut impl FnMut(&str),
) {
    match event {
        RowEvent::Text(text) => on_text(text),
        RowEvent::Sentence(new) => *sentence = Some(new),
        RowEvent::Ended(_, result) => *ended = Some(result),
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Sentence>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_with(|_| {})
    }
}

impl std::iter::FusedIterator for Generation<'_> {}

/// A continuation that owns its session: for streams, threads and other languages.
///
/// [`into_session`](Self::into_session) gives the session back, with all sentences that were
/// returned.
#[derive(Debug)]
#[must_use = "an iterator generates nothing until it is used"]
pub struct OwnedGeneration {
    batch: Batch,
    row: usize,
    /// The session, when the continuation has ended.
    session: Option<Session>,
    failed: Option<Error>,
    finish_reason: Option<FinishReason>,
}

impl OwnedGeneration {
    pub(crate) fn new(session: Session, options: GenerateOptions) -> Result<Self> {
        let mut batch = Batch::new(session.model())?;
        let (row, session, failed) = match batch.join(session, options) {
            Ok(row) => (row, None, None),
            Err(refused) => (0, Some(refused.session), Some(refused.error)),
        };
        Ok(Self {
            batch,
            row,
            session,
            failed,
            finish_reason: None,
        })
    }

    /// The next sentence; `on_text` gets its text as it is decoded.
    ///
    /// # Errors
    /// As [`Generation::next_with`].
    pub fn next_with(&mut self, mut on_text: impl FnMut(&str)) -> Option<Result<Sentence>> {
        let mut sentence = None;
        while sentence.is_none() && !self.batch.is_empty() {
            let mut ended = None;
            self.batch.step(|_, event| match event {
                BatchEvent::Text(text) => on_text(text),
                BatchEvent::Sentence(new) => sentence = Some(new),
                BatchEvent::Ended { session, result } => ended = Some((session, result)),
            });
            if let Some((session, result)) = ended {
                self.session = Some(session);
                match result {
                    Ok(reason) => self.finish_reason = Some(reason),
                    Err(error) => self.failed = Some(error),
                }
            }
        }
        sentence.map(Ok).or_else(|| self.failed.take().map(Err))
    }

    /// Why the continuation ended; `None` while it is running, or after an error.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }

    /// The session, with all sentences that were returned. A continuation in progress ends.
    ///
    /// `None` only if a panic has interrupted a step.
    #[must_use]
    pub fn into_session(mut self) -> Option<Session> {
        self.session.or_else(|| self.batch.leave(self.row))
    }
}

impl Iterator for OwnedGeneration {
    type Item = Result<Sentence>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_with(|_| {})
    }
}

impl std::iter::FusedIterator for OwnedGeneration {}
