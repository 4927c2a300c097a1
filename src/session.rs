//! A context that grows: prompt and generated sentences, with the KV caches of the model.

mod batch;
mod file;
mod sentences;
mod tokens;

use std::path::Path;

use tracing::{field, info_span};

use crate::{
    config::ModelKind,
    error::{Error, Result},
    generation::{FinishReason, GenerateOptions, Generation, Sentence, generate_batch},
    model::Model,
    text::TextSentence,
};
pub(crate) use batch::SentenceBatch;
pub(crate) use sentences::{ContextSentence, SentenceContext};
pub(crate) use tokens::TokenContext;

/// What [`Session::append`] took of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// Sentences that were added to the context.
    pub sentences: usize,
    /// How many of them were cut short, as the bundle's segmentation has it.
    pub truncated: usize,
    /// The end of the text that was dropped, as the bundle's segmentation has it; else empty.
    pub dropped: String,
}

/// A context of sentences over a [`Model`], and its continuations.
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
#[derive(Debug)]
pub struct Session {
    context: Context,
}

#[derive(Debug)]
pub(crate) enum Context {
    Sentences(Box<SentenceContext>),
    Tokens(Box<TokenContext>),
}

impl Context {
    pub fn new(model: Model) -> Result<Self> {
        Ok(match model.config().kind {
            ModelKind::Opt => Self::Tokens(Box::new(TokenContext::new(model)?)),
            _ => Self::Sentences(Box::new(SentenceContext::new(model)?)),
        })
    }

    pub fn model(&self) -> &Model {
        match self {
            Self::Sentences(context) => &context.model,
            Self::Tokens(context) => &context.model,
        }
    }

    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Sentences(context) => context.memory_bytes(),
            Self::Tokens(context) => context.memory_bytes(),
        }
    }

    /// Tokens that the model sees.
    fn tokens(&self) -> usize {
        match self {
            Self::Sentences(context) => context.sentences.iter().map(|s| s.ids.len()).sum(),
            Self::Tokens(context) => context.ids.len(),
        }
    }
}

impl Session {
    pub(crate) fn new(model: Model) -> Result<Self> {
        let context = Context::new(model)?;
        Ok(Self { context })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        self.context.model()
    }

    /// Number of sentences in the context.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.context {
            Context::Sentences(context) => context.sentences.len(),
            Context::Tokens(context) => context.sentences(),
        }
    }

    /// Whether the context is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text of the context: all that was appended and generated.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.context {
            Context::Sentences(context) => {
                let texts = context.sentences.iter().map(|sentence| &*sentence.text);
                texts.collect()
            }
            Context::Tokens(context) => context.text.clone(),
        }
    }

    /// Memory of the KV caches, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.context.memory_bytes()
    }

    /// Cut `text` into sentences and append them, all in one run of the backbone; in kind `opt` its
    /// tokens, all in one run.
    ///
    /// # Errors
    /// [`Error::ContextFull`] if they do not fit, those of
    /// [`TextPipeline::sentences`](crate::text::TextPipeline::sentences),
    /// [`Error::GraphRun`]. The context is as it was then.
    pub fn append(&mut self, text: &str) -> Result<Appended> {
        let span = info_span!(
            "prefill",
            model = self.model().config().name,
            sentences = field::Empty,
            tokens = field::Empty,
        )
        .entered();
        let held = (!span.is_disabled()).then(|| self.context.tokens());
        let appended = match &mut self.context {
            Context::Sentences(context) => context.append(text),
            Context::Tokens(context) => context.append(text),
        }?;
        if let Some(held) = held {
            span.record("sentences", appended.sentences);
            span.record("tokens", self.context.tokens() - held);
        }
        Ok(appended)
    }

    /// Append sentences from [`text_pipeline`](Model::text_pipeline), all in one run; in kind `opt`
    /// their text.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_sentences(&mut self, sentences: &[TextSentence<'_>]) -> Result<()> {
        match &mut self.context {
            Context::Sentences(context) => context.append_sentences(sentences),
            Context::Tokens(context) => {
                let texts = sentences.iter().map(|sentence| sentence.text);
                context.append(&texts.collect::<String>()).map(|_| ())
            }
        }
    }

    /// Continue the context.
    pub fn generate(&mut self, options: GenerateOptions) -> Generation<'_> {
        Generation::new(&mut self.context, options)
    }

    /// Continue many contexts of one model together, each as its options say: all in the same runs of
    /// the graphs, which a context leaves when it is finished. Returns why each ended, in their order.
    ///
    /// `on_sentence` gets each sentence with the number of its context. A context's sentences are
    /// those that [`generate`](Self::generate) would give, token by token in a variant that
    /// computes in float32; in the others graphs round differently for several contexts than for one,
    /// so that texts may part after a while. They are part of it when its continuation
    /// has ended. Meanwhile its cache is there twice, and in the batch it is as large as that of the
    /// longest context. After an error each context holds what it held before the sentence that failed.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `opt`, [`Error::MixedModels`],
    /// [`Error::EmptyContext`] if nothing was appended to a session, [`Error::GraphRun`],
    /// [`Error::NotFinite`], [`Error::Decode`].
    pub fn generate_batch<'s>(
        batch: impl IntoIterator<Item = (&'s mut Self, GenerateOptions)>,
        mut on_sentence: impl FnMut(usize, Sentence),
    ) -> Result<Vec<FinishReason>> {
        let (mut contexts, mut options) = (Vec::<&mut SentenceContext>::new(), Vec::new());
        for (session, session_options) in batch {
            let Context::Sentences(context) = &mut session.context else {
                let config = session.model().config();
                return Err(config.wrong_kind("sentence cache", "sllm"));
            };
            if !contexts
                .first()
                .is_none_or(|first| first.model.is(&context.model))
            {
                return Err(Error::MixedModels);
            }
            contexts.push(context);
            options.push(session_options);
        }
        generate_batch(&mut contexts, options, &mut on_sentence)
    }

    /// A session of its own with the same context: what is appended to one is not in the other.
    ///
    /// # Errors
    /// [`Error::GraphRun`] if ONNX Runtime has no memory left.
    pub fn fork(&self) -> Result<Self> {
        let context = match &self.context {
            Context::Sentences(context) => Context::Sentences(Box::new(context.fork()?)),
            Context::Tokens(context) => Context::Tokens(Box::new(context.fork()?)),
        };
        Ok(Self { context })
    }

    /// Forget the last `sentences` sentences, all of them where there are fewer.
    ///
    /// The context is as if it had never had them: where a model sees the sentences of a prompt
    /// together, those that stay are computed again.
    ///
    /// # Errors
    /// [`Error::GraphRun`], [`Error::NotFinite`]. The context is as it was then.
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

    /// Forget the first `sentences` sentences, all of them where there are fewer; the others are
    /// computed again, in one run.
    ///
    /// # Errors
    /// [`Error::GraphRun`], [`Error::NotFinite`]. The context is as it was then.
    pub fn drop_oldest(&mut self, sentences: usize) -> Result<()> {
        if sentences >= self.len() {
            return self.clear();
        }
        match &mut self.context {
            Context::Sentences(context) => **context = context.without_first(sentences)?,
            Context::Tokens(context) => **context = context.without_first(sentences)?,
        }
        Ok(())
    }

    /// Forget the context.
    ///
    /// # Errors
    /// [`Error::GraphRun`] if ONNX Runtime has no memory left.
    pub fn clear(&mut self) -> Result<()> {
        match &mut self.context {
            Context::Sentences(context) => context.clear(),
            Context::Tokens(context) => context.clear(),
        }
    }

    /// Write the context to one file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        file::save(self, path.as_ref())
    }

    /// Read a context that was saved with the same model, and compute its caches again: for all
    /// sentences in one run, so that what a variant with weights of few bits says next may differ,
    /// as in [`generate_batch`](Self::generate_batch).
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::FileTooLarge`], [`Error::NotText`], [`Error::SessionFile`] if it is no
    /// session, [`Error::SessionModel`] if it belongs to another model, [`Error::GraphRun`].
    pub fn load(model: &Model, path: impl AsRef<Path>) -> Result<Self> {
        file::load(model, path.as_ref())
    }
}
