//! A context that grows: a prompt and generated sentences.

use std::{fmt, ops::ControlFlow, path::Path};

use tracing::{field, info_span};

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
/// It can be sent to another thread, but not be used by two at once. After an error, and after a
/// panic in a callback, it holds the sentences that it held before, and can be used.
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

    /// Number of tokens of the context, bos included: of each sentence, in kind `opt` of the whole.
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
    /// The end of the text is the end of a sentence. A text that comes in pieces goes through
    /// [`Appender`], which gives the context of the whole text.
    ///
    /// # Errors
    /// [`Error::ContextFull`] if they do not fit, those of
    /// [`TextPipeline::sentences`](crate::text::TextPipeline::sentences), [`Error::Graph`]. The
    /// context is then as it was before.
    pub fn append(&mut self, text: &str) -> Result<Appended> {
        self.append_in_runs(text, &mut at_once)
    }

    /// The same, until the handle is cancelled: looked at every 256 sentences (in kind `opt` 4,096
    /// tokens), and in a model with bidirectional prefill only before.
    ///
    /// # Errors
    /// As [`append`](Self::append); [`Error::Cancelled`].
    pub fn append_cancellable(&mut self, text: &str, cancel: &CancelHandle) -> Result<Appended> {
        self.append_with(text, |_| match cancel.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(usize::MAX),
        })
    }

    /// The same, with a callback before each run: to do something else in between, or to end it.
    ///
    /// `next_run` returns the most sentences (in kind `opt` tokens) that the run takes: 1 to 256
    /// (4,096 tokens). A model with bidirectional prefill takes all in one run. The context does not
    /// depend on the runs, but for rounding.
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

    /// Append a text that comes in pieces.
    pub fn appender(&mut self) -> Appender<'_> {
        Appender {
            session: self,
            text: String::new(),
            appended: Appended::default(),
        }
    }

    /// A session of its own with the same context.
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

    /// Forget the last `sentences` sentences, all of them where there are fewer.
    ///
    /// Where a model sees the sentences of a prompt together, those that stay are run again.
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

    /// Forget the first `sentences` sentences, all of them where there are fewer.
    ///
    /// The backbone runs over the others again; nothing is encoded again. In kind `opt` the graph
    /// runs over the others' tokens again; only an appended text that is cut is tokenized again.
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

    /// Write a snapshot of the context to a file, whole or not at all: text, vectors and KV cache
    /// (safetensors). [`load`](Self::load) restores it without running a graph.
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
    /// A snapshot of another variant of the model has its caches recomputed, and so have session
    /// files of version 0.1.
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

/// Appends a text that comes in pieces to a [`Session`]: the context is that of the whole text.
///
/// What may continue is held back until more comes, or [`finish`](Self::finish) is called. Text that
/// is held back is lost if the appender is dropped.
#[derive(Debug)]
#[must_use = "text is held back until `finish` is called"]
pub struct Appender<'s> {
    session: &'s mut Session,
    /// What is held back.
    text: String,
    appended: Appended,
}

impl Appender<'_> {
    /// Take a piece of the text.
    ///
    /// # Errors
    /// As [`Session::append`]; the piece is then held back.
    pub fn push(&mut self, piece: &str) -> Result<()> {
        self.text.push_str(piece);
        // In kind `opt` a token may reach over the end of a sentence.
        let Context::Sentences(context) = &mut self.session.context else {
            return Ok(());
        };
        let pipeline = self.session.model.text_pipeline();
        let [_, incomplete] = pipeline.pieces(&self.text).incomplete_bytes();
        let complete = self.text.len() - incomplete;
        if complete == 0 {
            return Ok(());
        }
        let mut pieces = pipeline.sentences(&self.text)?;
        let mut sentences = Vec::new();
        while self.text.len() - pieces.remaining_bytes() < complete
            && let Some(sentence) = pieces.next()
        {
            sentences.push(sentence?);
        }
        context.append_text_sentences(&sentences)?;
        self.appended.sentences += sentences.len();
        let truncated = sentences.iter().filter(|sentence| sentence.truncated);
        self.appended.truncated += truncated.count();
        self.text.drain(..complete);
        Ok(())
    }

    /// Append what is held back; returns what was appended in all.
    ///
    /// # Errors
    /// As [`Session::append`].
    pub fn finish(mut self) -> Result<Appended> {
        let appended = self.session.append(&self.text)?;
        self.appended.sentences += appended.sentences;
        self.appended.truncated += appended.truncated;
        self.appended.dropped = appended.dropped;
        Ok(self.appended)
    }
}
