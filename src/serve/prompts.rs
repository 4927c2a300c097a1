//! Texts of a request, as OpenAI's API takes them: as text or as token ids.

use std::ops::ControlFlow;

use serde::Deserialize;
use sllm_ort::{Error, Model};
use utoipa::ToSchema;

use super::error::ApiError;

/// A text, a list of texts, the token ids of a text, or a list of the token ids of texts.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "a text, a list of texts, a list of token ids or a list of such lists"
)]
pub enum Prompts {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    ListsOfIds(Vec<Vec<u32>>),
}

/// The texts of a request.
pub struct Texts {
    pub all: Vec<String>,
    param: &'static str,
    is_list: bool,
}

impl Texts {
    /// The field with one text.
    pub fn one(param: &'static str, text: String) -> Self {
        Self {
            all: vec![text],
            param,
            is_list: false,
        }
    }

    /// The field with a list of texts.
    pub fn list(param: &'static str, texts: Vec<String>) -> Self {
        Self {
            all: texts,
            param,
            is_list: true,
        }
    }

    /// The field.
    pub fn param(&self) -> &'static str {
        self.param
    }

    /// What a text is in the request: `prompt`, in a list `prompt[1]`.
    pub fn name(&self, index: usize) -> String {
        match self.is_list {
            true => format!("{}[{index}]", self.param),
            false => self.param.to_owned(),
        }
    }

    /// Refuse the first text that the model cannot continue, as far as that is known without a run.
    pub fn check(&self, model: &Model) -> Result<(), ApiError> {
        for (index, text) in self.all.iter().enumerate() {
            let refused = |error: &Error| ApiError::of_library(error, &self.name(index));
            let session = model.session();
            let mut session = session.map_err(|error| ApiError::of_library(&error, "model"))?;
            // Cancelled before its first run, if it comes to one.
            match session.append_with(text, |_| ControlFlow::Break(())) {
                Ok(_) if session.is_empty() => return Err(refused(&Error::EmptyContext)),
                Ok(_) | Err(Error::Cancelled) => {}
                Err(error) => return Err(refused(&error)),
            }
        }
        Ok(())
    }
}

impl Prompts {
    /// The texts; ids are decoded with the model's tokenizer.
    ///
    /// # Errors
    /// If an id is none of the model's.
    pub fn into_texts(self, param: &'static str, model: &Model) -> Result<Texts, ApiError> {
        match self {
            Self::Text(text) => Ok(Texts::one(param, text)),
            Self::Texts(texts) => Ok(Texts::list(param, texts)),
            Self::Ids(ids) => Ok(Texts::one(param, decode(param, &ids, model)?)),
            Self::ListsOfIds(lists) => {
                let mut texts = Texts::list(param, Vec::new());
                for (index, ids) in lists.iter().enumerate() {
                    texts.all.push(decode(&texts.name(index), ids, model)?);
                }
                Ok(texts)
            }
        }
    }

    /// The texts where ids are not taken.
    ///
    /// # Errors
    /// If there are ids.
    pub fn only_texts(self, param: &'static str) -> Result<Texts, ApiError> {
        match self {
            Self::Text(text) => Ok(Texts::one(param, text)),
            Self::Texts(texts) => Ok(Texts::list(param, texts)),
            Self::Ids(_) | Self::ListsOfIds(_) => Err(ApiError::invalid(
                param,
                format!(
                    "{param} has token ids, of which it is not known whose they are: send texts \
                     (LangChain: check_embedding_ctx_length=False)"
                ),
            )),
        }
    }
}

/// The text of token ids. Bos and padding stand for nothing, eos for the white space behind a
/// sentence.
fn decode(param: &str, ids: &[u32], model: &Model) -> Result<String, ApiError> {
    let pipeline = model.text_pipeline();
    let size = pipeline.tokenizer().vocab_size();
    if let Some(index) = ids.iter().position(|&id| id as usize >= size) {
        let message = format!(
            "{param}[{index}] is the token id {}, the model has 0 to {}",
            ids[index],
            size - 1
        );
        return Err(ApiError::invalid(&format!("{param}[{index}]"), message));
    }
    let eos = pipeline.tokenizer().special_tokens().eos;
    let sentences = ids.split(|&id| id == eos).map(|ids| pipeline.decode(ids));
    let text: sllm_ort::Result<String> = sentences.collect();
    text.map_err(|error| ApiError::of_library(&error, param))
}
