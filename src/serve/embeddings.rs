//! `POST /v1/embeddings`.

use std::sync::Arc;

use axum::{Json, extract::State};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sllm_ort::{Model, ndarray::Array1, text::TextSentence};
use utoipa::ToSchema;

use super::{
    app::App,
    body::{Body, Fields, Neutral},
    error::ApiError,
    prompts::{Prompts, Texts},
    refusals::Refusals,
};

/// Most texts of a request, as in OpenAI's API.
const MAX_INPUTS: usize = 2048;
/// Sentences that are encoded in one run, which may hold up a step of the scheduler.
const TOGETHER: usize = 64;

/// Texts whose vectors are asked for.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EmbeddingRequest {
    /// May be left out where one model is served.
    model: Option<String>,
    /// One text or several; token ids are refused.
    input: Prompts,
    encoding_format: Option<Encoding>,
    /// How to treat a text of several sentences: refuse it, or return the mean of their vectors.
    pooling: Option<Pooling>,
    /// Not used.
    #[allow(dead_code)]
    user: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Lists of numbers.
    #[default]
    Float,
    /// Little-endian 32-bit floating-point numbers in base64.
    Base64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Each text is one sentence.
    #[default]
    None,
    /// The mean of the vectors of the sentences.
    Mean,
}

impl Fields for EmbeddingRequest {
    const FIELDS: &'static [&'static str] =
        &["model", "input", "encoding_format", "pooling", "user"];
    const UNSUPPORTED: &'static [(&'static str, Neutral)] = &[("dimensions", Neutral::Null)];
    type Part = ();
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Embeddings {
    /// `list`
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: EmbeddingUsage,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Embedding {
    /// `embedding`
    object: &'static str,
    index: usize,
    embedding: Vector,
}

/// A sentence vector, as numbers or in base64.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EmbeddingUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// Encode texts to sentence vectors
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "OpenAI",
    request_body = EmbeddingRequest,
    responses(
        (status = 200, body = Embeddings, description = "One vector per text"),
        Refusals,
    )
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Body(request): Body<EmbeddingRequest>,
) -> Result<Json<Embeddings>, ApiError> {
    let served = app.model(request.model.as_deref())?;
    let texts = request.input.only_texts("input")?;
    let count = texts.all.len();
    if !(1..=MAX_INPUTS).contains(&count) {
        return Err(ApiError::invalid(
            "input",
            format!("{count} texts, allowed are 1 to {MAX_INPUTS}"),
        ));
    }
    app.check_bytes("input", &texts.all)?;
    let pooling = request.pooling.unwrap_or_default();
    let work = move |model: &Model| encode(model, &texts, pooling);
    let (vectors, tokens) = app.run(served, work).await?;
    let encoding = request.encoding_format.unwrap_or_default();
    let data = vectors.into_iter().enumerate();
    let data = data.map(|(index, vector)| Embedding {
        object: "embedding",
        index,
        embedding: Vector::new(&vector, encoding),
    });
    Ok(Json(Embeddings {
        object: "list",
        data: data.collect(),
        model: served.name().to_owned(),
        usage: EmbeddingUsage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    }))
}

impl Vector {
    fn new(vector: &Array1<f32>, encoding: Encoding) -> Self {
        match encoding {
            Encoding::Float => Self::Numbers(vector.to_vec()),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector
                    .iter()
                    .flat_map(|number| number.to_le_bytes())
                    .collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

/// The vectors of texts, and the number of their tokens.
fn encode(
    model: &Model,
    texts: &Texts,
    pooling: Pooling,
) -> Result<(Vec<Array1<f32>>, usize), ApiError> {
    // Each sentence with the number of its text.
    let (mut sentences, mut counts) = (Vec::new(), Vec::with_capacity(texts.all.len()));
    for (number, text) in texts.all.iter().enumerate() {
        let name = texts.name(number);
        let refused = |error| ApiError::of_library(&error, &name);
        let found = model.text_pipeline().sentences(text).map_err(refused)?;
        let before = sentences.len();
        for sentence in found {
            sentences.push((number, sentence.map_err(refused)?));
        }
        let count = sentences.len() - before;
        check_count(&name, count, pooling)?;
        counts.push(count as f32);
    }
    let tokens = sentences.iter().map(|(_, sentence)| sentence.ids.len());
    let tokens = tokens.sum();
    // Little padding.
    sentences.sort_by_key(|(_, sentence)| sentence.ids.len());
    let (numbers, sentences): (Vec<usize>, Vec<TextSentence<'_>>) = sentences.into_iter().unzip();
    let mut vectors = vec![Array1::zeros(model.config().hidden_size); texts.all.len()];
    for (numbers, sentences) in numbers.chunks(TOGETHER).zip(sentences.chunks(TOGETHER)) {
        let encoded = model.encode_sentences(sentences);
        let encoded = encoded.map_err(|error| ApiError::of_library(&error, texts.param()))?;
        for (&number, vector) in numbers.iter().zip(encoded.outer_iter()) {
            vectors[number] += &vector;
        }
    }
    for (vector, count) in vectors.iter_mut().zip(counts) {
        *vector /= count;
    }
    Ok((vectors, tokens))
}

/// Whether a text may have so many sentences.
fn check_count(name: &str, sentences: usize, pooling: Pooling) -> Result<(), ApiError> {
    match (sentences, pooling) {
        (0, _) => Err(ApiError::no_sentence(name)),
        (1, _) | (_, Pooling::Mean) => Ok(()),
        (count, Pooling::None) => Err(ApiError::invalid(
            name,
            format!(
                "{name} has {count} sentences: send them one by one, or set `pooling` to \"mean\""
            ),
        )),
    }
}
