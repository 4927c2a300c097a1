//! Texts of a request, as OpenAI's API takes them: as text or as token ids.

use serde::Deserialize;
use sllm_ort::Model;
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

impl Prompts {
    /// The texts; ids are decoded with the model's tokenizer.
    ///
    /// # Errors
    /// If an id is none of the model's.
    pub fn into_texts(self, param: &str, model: &Model) -> Result<Vec<String>, ApiError> {
        let lists = match self {
            Self::Text(text) => return Ok(vec![text]),
            Self::Texts(texts) => return Ok(texts),
            Self::Ids(ids) => vec![ids],
            Self::ListsOfIds(lists) => lists,
        };
        lists.iter().map(|ids| decode(param, ids, model)).collect()
    }

    /// The texts where ids are not taken.
    ///
    /// # Errors
    /// If there are ids.
    pub fn only_texts(self, param: &str) -> Result<Vec<String>, ApiError> {
        match self {
            Self::Text(text) => Ok(vec![text]),
            Self::Texts(texts) => Ok(texts),
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

/// The text of token ids. Bos and padding stand for nothing, eos for the end of a sentence.
fn decode(param: &str, ids: &[u32], model: &Model) -> Result<String, ApiError> {
    let pipeline = model.text_pipeline();
    let size = pipeline.tokenizer().vocab_size();
    if let Some(id) = ids.iter().find(|&&id| id as usize >= size) {
        let message = format!(
            "{param} has the token id {id}, the model has 0 to {}",
            size - 1
        );
        return Err(ApiError::invalid(param, message));
    }
    let eos = pipeline.tokenizer().special_tokens().eos;
    let sentences = ids.split(|&id| id == eos).map(|ids| pipeline.decode(ids));
    let text: sllm_ort::Result<String> = sentences.collect();
    text.map_err(|error| ApiError::of_library(&error, param))
}
