//! Batches: contexts of one model that are continued in the same graph runs.

use std::fmt;

use tracing::{field, info_span};

use crate::{
    context::{Context, SentenceContext, TokenContext},
    error::{Error, Result},
    generate::{
        Continuation, FinishReason, GenerateOptions, RowEvent, RowLoop, Sentence, SentenceRows,
        TokenRows,
    },
    model::{Model, Network},
    session::Session,
};

/// Sessions of one model that are continued together. They join and leave between steps.
///
/// ```no_run
/// use sllm_ort::{Batch, BatchEvent, GenerateOptions, LoadOptions, Model};
///
/// let model = Model::load("models/sllm-stories", LoadOptions::default())?;
/// let mut batch = Batch::new(&model)?;
/// for prompt in ["Once there was a fox. ", "It was a rainy day. "] {
///     let mut session = model.session()?;
///     session.append(prompt)?;
///     batch.join(session, GenerateOptions::default()).map_err(|refused| refused.error)?;
/// }
/// while !batch.is_empty() {
///     batch.step(|row, event| match event {
///         BatchEvent::Sentence(sentence) => println!("{row}: {}", sentence.text),
///         BatchEvent::Ended { result, .. } => println!("{row}: {result:?}"),
///         _ => {}
///     });
/// }
/// # Ok::<(), sllm_ort::Error>(())
/// ```
pub struct Batch {
    model: Model,
    rows: Rows,
    next_id: usize,
}

enum Rows {
    Sentences(Box<SentenceRows<Box<SentenceContext>>>),
    Tokens(Box<TokenRows<Box<TokenContext>>>),
}

/// What happens to a row of a [`Batch`] in a step.
#[derive(Debug)]
#[non_exhaustive]
pub enum BatchEvent<'e> {
    /// The next piece of text of its sentence, in whole characters.
    Text(&'e str),
    /// A whole sentence, which is part of the session's context now.
    Sentence(Sentence),
    /// The row has left the batch.
    Ended {
        /// The session, with all sentences that were given out.
        session: Session,
        /// Why the continuation ended, or the error of the sentence that failed.
        result: Result<FinishReason>,
    },
}

/// A session that could not join a [`Batch`].
#[derive(Debug)]
#[non_exhaustive]
pub struct JoinError {
    /// The session, as it was.
    pub session: Session,
    /// Why it could not join.
    pub error: Error,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<JoinError> for Error {
    fn from(refused: JoinError) -> Self {
        refused.error
    }
}

impl Batch {
    /// An empty batch.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `svae`.
    pub fn new(model: &Model) -> Result<Self> {
        let rows = match model.network() {
            Network::Sentences(network) => {
                Rows::Sentences(Box::new(SentenceRows::new(network.clone())))
            }
            Network::Tokens(network) => Rows::Tokens(Box::new(TokenRows::new(network.clone()))),
            Network::Autoencoder(_) => return Err(model.wrong_kind("backbone", "sllm or opt")),
        };
        Ok(Self {
            model: model.clone(),
            rows,
            next_id: 0,
        })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Sentences(rows) => rows.len(),
            Rows::Tokens(rows) => rows.len(),
        }
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Add a session, which takes part from the next step on. Returns the id of its row; ids are
    /// never reused.
    ///
    /// # Errors
    /// [`Error::EmptyContext`], [`Error::MixedModels`], [`Error::InvalidOption`] for an option that
    /// the model's kind does not have, [`Error::Graph`]. [`JoinError`] gives the session back.
    #[expect(clippy::result_large_err, reason = "the session is given back")]
    pub fn join(
        &mut self,
        session: Session,
        options: GenerateOptions,
    ) -> std::result::Result<usize, JoinError> {
        let (model, context) = session.into_parts();
        let refused = |context, error| JoinError {
            session: Session::from_parts(model.clone(), context),
            error,
        };
        if !self.model.is(&model) {
            return Err(refused(context, Error::MixedModels));
        }
        let options = options.resolved(&model);
        let id = self.next_id;
        match (&mut self.rows, context) {
            (Rows::Sentences(rows), Context::Sentences(context)) => rows
                .join(id, context, options)
                .map_err(|(context, error)| refused(Context::Sentences(context), error)),
            (Rows::Tokens(rows), Context::Tokens(context)) => rows
                .join(id, context, options)
                .map_err(|(context, error)| refused(Context::Tokens(context), error)),
            // The same model is of the same kind.
            (_, context) => Err(refused(context, Error::MixedModels)),
        }?;
        self.next_id += 1;
        Ok(id)
    }

    /// Generate one sentence for each row; in kind `opt`, run until a row has completed one.
    ///
    /// `on_event` receives each event with the id of its row.
    pub fn step(&mut self, mut on_event: impl FnMut(usize, BatchEvent<'_>)) {
        let model = &self.model;
        match &mut self.rows {
            Rows::Sentences(rows) => rows.step(&mut |id, event| {
                on_event(id, batch_event(event, model, Context::Sentences));
            }),
            Rows::Tokens(rows) => rows.step(&mut |id, event| {
                on_event(id, batch_event(event, model, Context::Tokens));
            }),
        }
    }

    /// Remove a row between steps; `None` if there is none with this id. The session holds all
    /// sentences that were given out.
    pub fn leave(&mut self, id: usize) -> Option<Session> {
        let context = match &mut self.rows {
            Rows::Sentences(rows) => Context::Sentences(rows.leave(id)?),
            Rows::Tokens(rows) => Context::Tokens(rows.leave(id)?),
        };
        Some(Session::from_parts(self.model.clone(), context))
    }

    /// Continue borrowed sessions to their ends; see [`Session::generate_batch`].
    pub(crate) fn run(
        batch: Vec<(&mut Session, GenerateOptions)>,
        mut on_sentence: impl FnMut(usize, Sentence),
    ) -> Result<Vec<FinishReason>> {
        let Some((first, _)) = batch.first() else {
            return Ok(Vec::new());
        };
        let model = first.model().clone();
        if batch.iter().any(|(session, _)| !model.is(session.model())) {
            return Err(Error::MixedModels);
        }
        if batch.iter().any(|(session, _)| session.is_empty()) {
            return Err(Error::EmptyContext);
        }
        let span = info_span!(
            "batch",
            model = model.config().name,
            variant = model.variant(),
            provider = model.provider().name(),
            contexts = batch.len(),
            sentences = field::Empty,
            tokens = field::Empty,
        )
        .entered();
        let (mut sentences, mut tokens) = (0, 0);
        let mut results: Vec<Option<Result<FinishReason>>> = batch.iter().map(|_| None).collect();
        let mut on_event = |row: usize, event: Outcome| match event {
            Outcome::Sentence(sentence) => {
                sentences += 1;
                tokens += sentence.token_ids.len();
                on_sentence(row, sentence);
            }
            Outcome::Ended(result) => results[row] = Some(result),
        };
        match model.network() {
            Network::Sentences(network) => {
                let contexts = batch.into_iter().filter_map(|(session, options)| {
                    match session.context_mut() {
                        Context::Sentences(context) => Some((context.as_mut(), options)),
                        Context::Tokens(_) => None,
                    }
                });
                let mut rows = SentenceRows::new(network.clone());
                run_to_end(&mut rows, contexts, &model, &mut on_event);
            }
            Network::Tokens(network) => {
                let contexts = batch.into_iter().filter_map(|(session, options)| {
                    match session.context_mut() {
                        Context::Tokens(context) => Some((context.as_mut(), options)),
                        Context::Sentences(_) => None,
                    }
                });
                let mut rows = TokenRows::new(network.clone());
                run_to_end(&mut rows, contexts, &model, &mut on_event);
            }
            // There is no session of such a model.
            Network::Autoencoder(_) => {}
        }
        span.record("sentences", sentences);
        span.record("tokens", tokens);
        let named = |(row, result): (usize, Option<Result<FinishReason>>)| {
            let result = result.unwrap_or(Err(Error::EmptyContext));
            result.map_err(|source| Error::BatchRow {
                row,
                source: Box::new(source),
            })
        };
        results.into_iter().enumerate().map(named).collect()
    }
}

impl Session {
    /// Continue several contexts of one model in the same runs. Returns why each ended, in order.
    ///
    /// `on_sentence` gets each sentence with the index of its context. In `portable` (float32) the
    /// token ids are identical to those of [`generate`](Self::generate). In other variants rounding
    /// depends on the batch size, so that outputs may differ. [`Batch`] lets contexts join and leave,
    /// and gives a result for each.
    ///
    /// # Errors
    /// [`Error::MixedModels`], [`Error::EmptyContext`] if nothing was appended to a session;
    /// [`Error::BatchRow`] for the first context that failed. It holds what it held before the
    /// sentence that failed; the others are continued to their ends.
    pub fn generate_batch<'s>(
        batch: impl IntoIterator<Item = (&'s mut Self, GenerateOptions)>,
        on_sentence: impl FnMut(usize, Sentence),
    ) -> Result<Vec<FinishReason>> {
        Batch::run(batch.into_iter().collect(), on_sentence)
    }
}

impl Model {
    /// Continue several prompts together; see [`Session::generate_batch`].
    ///
    /// When sampling, the first prompt uses the seed of `options` and each later one the next
    /// number, so that equal prompts give different texts.
    ///
    /// # Errors
    /// Those of [`Session::append`] for a prompt, and of [`Session::generate_batch`].
    pub fn generate_batch<T: AsRef<str>>(
        &self,
        prompts: &[T],
        options: &GenerateOptions,
    ) -> Result<Vec<Continuation>> {
        let session = |prompt: &T| {
            let mut session = self.session()?;
            session.append(prompt.as_ref()).map(|_| session)
        };
        let mut sessions = prompts.iter().map(session).collect::<Result<Vec<_>>>()?;
        let batch = sessions.iter_mut().zip(0..).map(|(session, row)| {
            let options = options.clone().resolved(self);
            (session, options.with_seed_of_row(row))
        });
        let mut sentences = vec![Vec::new(); prompts.len()];
        let reasons =
            Session::generate_batch(batch, |prompt, sentence| sentences[prompt].push(sentence))?;
        let continuation = |(sentences, finish_reason)| Continuation {
            sentences,
            finish_reason,
        };
        let continuations = sentences.into_iter().zip(reasons);
        Ok(continuations.map(continuation).collect())
    }
}

/// What is kept of an event where contexts are borrowed.
enum Outcome {
    Sentence(Sentence),
    Ended(Result<FinishReason>),
}

/// Continue contexts, all of the model's kind, to their ends.
fn run_to_end<C>(
    rows: &mut impl RowLoop<C>,
    contexts: impl Iterator<Item = (C, GenerateOptions)>,
    model: &Model,
    on_event: &mut impl FnMut(usize, Outcome),
) {
    for (row, (context, options)) in contexts.enumerate() {
        if let Err((_, error)) = rows.join(row, context, options.resolved(model)) {
            on_event(row, Outcome::Ended(Err(error)));
        }
    }
    while rows.len() > 0 {
        rows.step(&mut |row, event| match event {
            RowEvent::Text(_) => {}
            RowEvent::Sentence(sentence) => on_event(row, Outcome::Sentence(sentence)),
            RowEvent::Ended(_, result) => on_event(row, Outcome::Ended(result)),
        });
    }
}

fn batch_event<'e, C>(
    event: RowEvent<'e, C>,
    model: &Model,
    context: impl FnOnce(C) -> Context,
) -> BatchEvent<'e> {
    match event {
        RowEvent::Text(text) => BatchEvent::Text(text),
        RowEvent::Sentence(sentence) => BatchEvent::Sentence(sentence),
        RowEvent::Ended(row, result) => BatchEvent::Ended {
            session: Session::from_parts(model.clone(), context(row)),
            result,
        },
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("model", &self.model.config().name)
            .field("rows", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
