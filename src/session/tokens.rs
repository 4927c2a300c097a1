//! A context of tokens, for a model of kind `opt`.

use super::Appended;
use crate::{
    candidates::Candidates,
    error::{Error, Result},
    generation::TokenModel,
    model::Model,
    runtime::KvCache,
    text::{Detokenizer, Segmentation, Segments, Tail},
};

/// The context of a model of kind `opt`.
#[derive(Debug)]
pub(crate) struct TokenContext {
    pub model: Model,
    pub text: String,
    /// All that the model sees, from bos on.
    pub ids: Vec<u32>,
    cache: KvCache,
    /// What may follow; empty without a token.
    candidates: Candidates,
}

/// A place in the context to go back to.
#[derive(Debug)]
pub(crate) struct Mark {
    text_bytes: usize,
    tokens: usize,
    candidates: Candidates,
}

impl TokenContext {
    pub fn new(model: Model) -> Result<Self> {
        let cache = model.parts().opt()?.cache()?;
        Ok(Self {
            model,
            text: String::new(),
            ids: Vec::new(),
            cache,
            candidates: Candidates::default(),
        })
    }

    pub fn sentences(&self) -> usize {
        self.pieces().count()
    }

    /// The sentences of the text.
    fn pieces(&self) -> Segments<'_> {
        self.model.parts().pipeline.pieces(&self.text)
    }

    pub fn memory_bytes(&self) -> usize {
        self.cache.memory_bytes()
    }

    /// Append a text; its tokens do not depend on what is there already.
    pub fn append(&mut self, text: &str) -> Result<Appended> {
        let parts = self.model.parts();
        // A text that is far too long is not even cut into tokens.
        if parts.pipeline.tokenizer().min_tokens(text.len()) > self.room() {
            return Err(self.context_full());
        }
        let mut ids = parts.pipeline.encode(text)?;
        if self.ids.is_empty() && !ids.is_empty() {
            ids = parts.prompt_ids(ids);
        }
        let sentences = parts.pipeline.pieces(text).count();
        self.append_ids(&ids, text)?;
        Ok(Appended {
            sentences,
            ..Appended::default()
        })
    }

    fn context_full(&self) -> Error {
        Error::ContextFull {
            unit: "tokens",
            held: self.ids.len(),
            limit: self.ids.len() + self.room(),
        }
    }

    /// Append the tokens of a text in one run.
    pub fn append_ids(&mut self, ids: &[u32], text: &str) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        if ids.len() > self.room() {
            return Err(self.context_full());
        }
        let opt = self.model.parts().opt()?;
        opt.append(&mut self.cache, ids, &mut self.candidates)?;
        self.ids.extend_from_slice(ids);
        self.text.push_str(text);
        Ok(())
    }

    /// A context of its own with the same tokens.
    pub fn fork(&self) -> Result<Self> {
        Ok(Self {
            model: self.model.clone(),
            text: self.text.clone(),
            ids: self.ids.clone(),
            cache: self
                .model
                .parts()
                .opt()?
                .prefix(&self.cache, self.ids.len())?,
            candidates: self.candidates.clone(),
        })
    }

    /// Forget all but the first `kept` sentences, of which there are more: their text is cut into
    /// tokens, and run, again.
    pub fn truncate(&mut self, kept: usize) -> Result<()> {
        let text: String = self.pieces().take(kept).collect();
        *self = self.anew(&text)?;
        Ok(())
    }

    /// This context without its first sentences; the others' text is cut into tokens again.
    pub fn without_first(&self, sentences: usize) -> Result<Self> {
        let text: String = self.pieces().skip(sentences).collect();
        self.anew(&text)
    }

    /// A context of this text alone.
    fn anew(&self, text: &str) -> Result<Self> {
        let mut context = Self::new(self.model.clone())?;
        context.append(text)?;
        Ok(context)
    }

    pub fn clear(&mut self) -> Result<()> {
        self.model.parts().opt()?.clear(&mut self.cache)?;
        self.text.clear();
        self.ids.clear();
        self.candidates.clear();
        Ok(())
    }
}

impl TokenModel for TokenContext {
    type Mark = Mark;

    fn eos(&self) -> u32 {
        self.model.parts().special_tokens().eos
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn ids(&self) -> &[u32] {
        &self.ids
    }

    fn segmentation(&self) -> Segmentation {
        self.model.parts().bundle.segmentation.with_tail(Tail::Keep)
    }

    fn room(&self) -> usize {
        let limit = self
            .model
            .parts()
            .opt()
            .map_or(0, |opt| opt.max_positions());
        limit.saturating_sub(self.ids.len())
    }

    fn candidates(&self) -> Option<&Candidates> {
        Some(&self.candidates).filter(|candidates| !candidates.is_empty())
    }

    fn detokenizer(&self) -> Detokenizer {
        self.model.parts().pipeline.text_detokenizer(&self.text)
    }

    fn append_token(&mut self, id: u32) -> Result<()> {
        self.append_ids(&[id], "")
    }

    fn append_text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn mark(&self) -> Mark {
        Mark {
            text_bytes: self.text.len(),
            tokens: self.ids.len(),
            candidates: self.candidates.clone(),
        }
    }

    fn go_back(&mut self, mark: Mark) -> Result<()> {
        let opt = self.model.parts().opt()?;
        opt.truncate(&mut self.cache, mark.tokens)?;
        self.text.truncate(mark.text_bytes);
        self.ids.truncate(mark.tokens);
        self.candidates = mark.candidates;
        Ok(())
    }
}
