//! A context that grows: a prompt and generated sentences.

mod appender;

use std::{fmt, ops::ControlFlow, path::Path};

use tracing::{field, info_span};

pub use appender::Appender;

#[cfg(doc)]
use crate::error::Error;
use crate::{
    cancel::CancelHandle,
    context::{
        self, AppendProgress, Appended, CachedContext as _, Context, NextRun, SentenceContext,
        TokenContext, at_once,
    },
    error::Result,
    model::{Model, Network},
    text::TextSentence,
};

/// A context of sentences over a [`Model`], and its continuations.
///
/// It can be sent to another thread, but not used by two threads at once. After an error or a panic
/// in a callback, it holds the sentences that it held before, and can still be used.
///
/// ```no_run
/// use sllm_ort::{GenerateOptions, LoadOptions, Model};
///
/// let model = Model::load("models/sllm-stories", LoadOptions::default())?;
/// let mut session = model.session()?;
/// session.append("Once upon a time there was a little fox. ")?;
/// for sentence in session.generate(GenerateOptions::default()) {
///     print!("{}", sentence?.text);
/// }
/// # Ok::<(), sllm_ort::Error>(())
/// ```
pub struct Session {
    model: Model,
    context: Context,
}

impl Model {
    /// An empty context.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `svae`.
    pub fn session(&self) -> Result<Session> {
        let context = match self.network() {
            Network::Sentences(model) => {
                Context::Sentences(Box::new(SentenceContext::new(model.clone())))
            }
            Network::Tokens(model) => Context::Tokens(Box::new(TokenContext::new(model.clone()))),
            Network::Autoencoder(_) => return Err(self.wrong_kind("backbone", "sllm or opt")),
        };
        Ok(Session {
            model: self.clone(),
            context,
        })
    }
}

impl Session {
    pub(crate) fn from_parts(model: Model, context: Context) -> Self {
        Self { model, context }
    }

    pub(crate) fn into_parts(self) -> (Model, Context) {
        (self.model, self.context)
    }

    pub(crate) fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Number of sentences in the context.
    #[must_use]
    pub fn len(&self) -> usize {
        self.context.len()
    }

    /// Whether the context is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of tokens of the context, including the bos of each sentence (in kind `opt`, one
    /// bos).
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.context.tokens()
    }

    /// How many more sentences (in kind `opt` tokens) the context can hold.
    #[must_use]
    pub fn remaining(&self) -> usize {
        match &self.context {
            Context::Sentences(context) => context.remaining(),
            Context::Tokens(context) => context.remaining(),
        }
    }

    /// The texts of the sentences of the context.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        let (sentences, tokens) = match &self.context {
            Context::Sentences(context) => (Some(context.sentences().iter()), None),
            Context::Tokens(context) => (None, Some(context.sentences())),
        };
        let sentences = sentences.into_iter().flatten().map(|s| s.text.as_str());
        sentences.chain(tokens.into_iter().flatten())
    }

    /// The text of the context: all that was appended and generated.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.context {
            Context::Sentences(_) => self.sentences().collect(),
            Context::Tokens(context) => context.text().to_owned(),
        }
    }

    /// Memory of the KV cache, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.context {
            Context::Sentences(context) => context.memory_bytes(),
            Context::Tokens(context) => context.memory_bytes(),
        }
    }

    /// Cut `text` into sentences and append them; in kind `opt` its tokens.
    ///
    /// The end of the text ends a sentence. To append a text in pieces, use [`Appender`]: the
    /// context is then that of the whole text.
    ///
    /// # Errors
    /// [`Error::ContextFull`] if they do not fit, those of
    /// [`TextPipeline::sentences`](crate::text::TextPipeline::sentences), [`Error::Graph`]. The
    /// context is then as it was before.
    pub fn append(&mut self, text: &str) -> Result<Appended> {
        self.append_in_runs(text, &mut at_once)
    }

    /// Append a text as [`append`](Self::append) does, unless the handle is cancelled.
    ///
    /// The handle is checked every 256 sentences (in kind `opt` 4,096 tokens); with bidirectional
    /// prefill, only before the run.
    ///
    /// # Errors
    /// As [`append`](Self::append); [`Error::Cancelled`].
    pub fn append_cancellable(&mut self, text: &str, cancel: &CancelHandle) -> Result<Appended> {
        self.append_with(text, |_| match cancel.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(usize::MAX),
        })
    }

    /// Append a text with a callback before each run, to do other work in between or to stop.
    ///
    /// `next_run` returns the maximum number of sentences (in kind `opt` tokens) of the run: 1 to
    /// 256 (4,096 tokens). A model with bidirectional prefill takes all in one run. Apart from
    /// rounding, the context does not depend on the runs.
    ///
    /// # Errors
    /// As [`append`](Self::append); [`Error::Cancelled`] if `next_run` breaks.
    pub fn append_with(
        &mut self,
        text: &str,
        mut next_run: impl FnMut(AppendProgress) -> ControlFlow<(), usize>,
    ) -> Result<Appended> {
        self.append_in_runs(text, &mut next_run)
    }

    fn append_in_runs(&mut self, text: &str, next_run: NextRun<'_>) -> Result<Appended> {
        let span = info_span!(
            "prefill",
            model = self.model.config().name,
            sentences = field::Empty,
            tokens = field::Empty,
        )
        .entered();
        let held = (!span.is_disabled()).then(|| self.context.tokens());
        let appended = match &mut self.context {
            Context::Sentences(context) => context.append(text, next_run),
            Context::Tokens(context) => context.append(text, next_run),
        }?;
        if let Some(held) = held {
            span.record("sentences", appended.sentences);
            span.record("tokens", self.context.tokens() - held);
        }
        Ok(appended)
    }

    /// Append sentences from [`text_pipeline`](Model::text_pipeline); in kind `opt` their text.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_sentences(&mut self, sentences: &[TextSentence<'_>]) -> Result<()> {
        match &mut self.context {
            Context::Sentences(context) => context.append_text_sentences(sentences),
            Context::Tokens(context) => {
                let texts = sentences.iter().map(|sentence| sentence.text);
                let text: String = texts.collect();
                context.append(&text, &mut at_once).map(|_| ())
            }
        }
    }

    /// Append a text piece by piece.
    pub fn appender(&mut self) -> Appender<'_> {
        Appender::new(self)
    }

    /// Make a separate session with the same context.
    ///
    /// # Errors
    /// [`Error::Graph`] if ONNX Runtime has no memory left.
    pub fn fork(&self) -> Result<Self> {
        let context = match &self.context {
            Context::Sentences(context) => Context::Sentences(Box::new(context.fork()?)),
            Context::Tokens(context) => Context::Tokens(Box::new(context.fork()?)),
        };
        Ok(Self::from_parts(self.model.clone(), context))
    }

    /// Remove the last `sentences` sentences, or all if there are fewer.
    ///
    /// With bidirectional prefill, the remaining sentences of a prompt that is cut are run again.
    ///
    /// # Errors
    /// [`Error::Graph`]. The context is then as it was before.
    pub fn rewind(&mut self, sentences: usize) -> Result<()> {
        let kept = self.len().saturating_sub(sentences);
        if kept == 0 {
            return self.clear();
        }
        if sentences == 0 {
            return Ok(());
        }
        match &mut self.context {
            Context::Sentences(context) => context.truncate(kept),
            Context::Tokens(context) => context.truncate(kept),
        }
    }

    /// Remove the first `sentences` sentences, or all if there are fewer.
    ///
    /// The backbone runs over the remaining sentences again; nothing is encoded again. In kind
    /// `opt`, the graph runs over the remaining tokens again; only an appended text that is cut is
    /// tokenized again.
    ///
    /// # Errors
    /// [`Error::Graph`]. The context is then as it was before.
    pub fn drop_oldest(&mut self, sentences: usize) -> Result<()> {
        if sentences >= self.len() {
            return self.clear();
        }
        if sentences == 0 {
            return Ok(());
        }
        match &mut self.context {
            Context::Sentences(context) => **context = context.without_first(sentences)?,
            Context::Tokens(context) => **context = context.without_first(sentences)?,
        }
        Ok(())
    }

    /// Forget the context, and release its memory.
    ///
    /// # Errors
    /// None today.
    pub fn clear(&mut self) -> Result<()> {
        match &mut self.context {
            Context::Sentences(context) => {
                **context = SentenceContext::new(context.model().clone());
            }
            Context::Tokens(context) => **context = TokenContext::new(context.model().clone()),
        }
        Ok(())
    }

    /// Write a snapshot of the context to a file: text, vectors and KV cache (safetensors).
    ///
    /// The file is written whole or not at all. [`load`](Self::load) restores it without running a
    /// graph.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Graph`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        context::save(&self.model, &self.context, path.as_ref())
    }

    /// The snapshot as bytes.
    ///
    /// # Errors
    /// [`Error::Graph`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        context::to_bytes(&self.model, &self.context)
    }

    /// Restore a snapshot that was saved with the same model.
    ///
    /// Caches are recomputed for a snapshot of another variant of the model, and for session files
    /// of version 0.1.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::FileTooLarge`], [`Error::State`] if it is no session, or belongs
    /// to another model, [`Error::Graph`].
    pub fn load(model: &Model, path: impl AsRef<Path>) -> Result<Self> {
        let context = context::load(model, path.as_ref())?;
        Ok(Self::from_parts(model.clone(), context))
    }

    /// Restore a snapshot from bytes.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(model: &Model, bytes: &[u8]) -> Result<Self> {
        let context = context::from_bytes(model, bytes)?;
        Ok(Self::from_parts(model.clone(), context))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("model", &self.model.config().name)
            .field("variant", &self.model.variant())
            .field("sentences", &self.len())
            .field("tokens", &self.tokens())
            .field("memory_bytes", &self.memory_bytes())
            .finish()
    }
}
