//! A context that grows: prompt and generated sentences, with the backbone's sentence cache.

mod file;

use std::path::Path;

use crate::{
    backbone::{Backbone, Prediction},
    config::SpecialTokens,
    error::{Error, Result},
    generation::{GenerateOptions, Generation, SentenceModel},
    model::Model,
    runtime::KvCache,
    text::Detokenizer,
};

/// A sentence of the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContextSentence {
    pub text: String,
    /// What the encoder sees of it.
    pub ids: Vec<u32>,
}

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
    model: Model,
    sentences: Vec<ContextSentence>,
    /// How many sentences each run of the backbone appended: sentences of one run may have seen
    /// each other, so a context is only made again by the same runs.
    runs: Vec<usize>,
    sentence_cache: KvCache,
    token_cache: KvCache,
    prediction: Option<Prediction>,
}

impl Session {
    pub(crate) fn new(model: Model) -> Result<Self> {
        let sentence_cache = backbone(&model)?.cache()?;
        let token_cache = model.parts().decoder.cache()?;
        Ok(Self {
            model,
            sentences: Vec::new(),
            runs: Vec::new(),
            sentence_cache,
            token_cache,
            prediction: None,
        })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Number of sentences in the context.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sentences.len()
    }

    /// Whether the context is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sentences.is_empty()
    }

    /// The text of the context: all that was appended and generated.
    #[must_use]
    pub fn text(&self) -> String {
        self.sentences
            .iter()
            .map(|sentence| sentence.text.as_str())
            .collect()
    }

    /// Memory of the KV caches, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.sentence_cache.memory_bytes() + self.token_cache.memory_bytes()
    }

    /// Cut `text` into sentences and append them, all in one run of the backbone.
    ///
    /// # Errors
    /// [`Error::ContextFull`] if they do not fit, those of
    /// [`TextPipeline::sentences`](crate::text::TextPipeline::sentences), [`Error::GraphRun`]. The
    /// context is as it was then.
    pub fn append(&mut self, text: &str) -> Result<Appended> {
        let room = self.room();
        let parts = self.model.parts();
        let mut pieces = parts.pipeline.sentences(text)?;
        let (mut sentences, mut appended) = (Vec::new(), Appended::default());
        for piece in pieces.by_ref() {
            let piece = piece?;
            appended.truncated += usize::from(piece.truncated);
            let ids = parts.prompt_ids(piece.ids);
            sentences.push(ContextSentence {
                text: piece.text.to_owned(),
                ids,
            });
            if sentences.len() > room {
                return Err(self.context_full());
            }
        }
        pieces.dropped().clone_into(&mut appended.dropped);
        appended.sentences = sentences.len();
        self.append_run(sentences)?;
        Ok(appended)
    }

    /// Continue the context.
    pub fn generate(&mut self, options: GenerateOptions) -> Generation<'_> {
        Generation::new(self, options)
    }

    /// Forget the context.
    ///
    /// # Errors
    /// [`Error::GraphRun`] if ONNX Runtime has no memory left.
    pub fn clear(&mut self) -> Result<()> {
        backbone(&self.model)?.clear(&mut self.sentence_cache)?;
        self.sentences.clear();
        self.runs.clear();
        self.prediction = None;
        Ok(())
    }

    /// Write the context to one file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        file::save(self, path.as_ref())
    }

    /// Read a context that was saved with the same model, and compute its caches again.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::FileTooLarge`], [`Error::Json`], [`Error::SessionFile`] if it is
    /// no session, [`Error::SessionModel`] if it belongs to another model, [`Error::GraphRun`].
    pub fn load(model: &Model, path: impl AsRef<Path>) -> Result<Self> {
        file::load(model, path.as_ref())
    }

    fn append_run(&mut self, sentences: Vec<ContextSentence>) -> Result<()> {
        if sentences.is_empty() {
            return Ok(());
        }
        if sentences.len() > self.room() {
            return Err(self.context_full());
        }
        let ids: Vec<_> = sentences
            .iter()
            .map(|sentence| sentence.ids.clone())
            .collect();
        let vectors = self.model.parts().encoder.encode(&ids)?;
        let backbone = backbone(&self.model)?;
        self.prediction = Some(backbone.append(&mut self.sentence_cache, vectors.view())?);
        self.runs.push(sentences.len());
        self.sentences.extend(sentences);
        Ok(())
    }

    fn context_full(&self) -> Error {
        Error::ContextFull {
            held: self.len(),
            limit: self.len() + self.room(),
        }
    }
}

fn backbone(model: &Model) -> Result<&Backbone> {
    model.config().require_backbone()?;
    // A model with a backbone in its configuration was loaded with one.
    model.parts().backbone.as_ref().ok_or(Error::EmptyContext)
}

impl SentenceModel for Session {
    fn special_tokens(&self) -> SpecialTokens {
        self.model.parts().special_tokens()
    }

    fn max_sentence_tokens(&self) -> usize {
        self.model.parts().max_sentence_tokens
    }

    fn room(&self) -> usize {
        self.model
            .config()
            .max_sentences
            .unwrap_or(0)
            .saturating_sub(self.sentences.len())
    }

    fn prediction(&self) -> Option<&Prediction> {
        self.prediction.as_ref()
    }

    fn detokenizer(&self) -> Detokenizer {
        self.model.parts().pipeline.tokenizer().stream()
    }

    fn begin_sentence(&mut self) -> Result<()> {
        self.model.parts().decoder.clear(&mut self.token_cache)
    }

    fn next_logits(&mut self, id: u32) -> Result<Vec<f32>> {
        let prediction = self.prediction.as_ref().ok_or(Error::EmptyContext)?;
        self.model
            .parts()
            .decoder
            .append(&mut self.token_cache, &prediction.hidden, &[id])
    }

    fn append_generated(&mut self, token_ids: &[u32], text: &str) -> Result<()> {
        let parts = self.model.parts();
        let ids = if parts.bundle.config.reencode_bos {
            let eos = parts.special_tokens().eos;
            let spoken = token_ids.strip_suffix(&[eos]).unwrap_or(token_ids);
            parts.prompt_ids(spoken.to_vec())
        } else {
            token_ids.to_vec()
        };
        self.append_run(vec![ContextSentence {
            text: text.to_owned(),
            ids,
        }])
    }
}
