//! `/v1/sentences/...`: sentences and their vectors.

mod vectors;

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sllm_ort::{Model, Reconstruction, text::TextSentence};
use utoipa::ToSchema;

use super::{
    app::App,
    body::{Body, Fields},
    error::ApiError,
    refusals::Refusals,
};
pub use vectors::*;

/// Most sentences to reconstruct.
const MAX_RECONSTRUCTED: usize = 1024;
/// Sentences that are worked on together.
const TOGETHER: usize = 64;

/// A text.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TextRequest {
    /// May be left out where one model is served.
    model: Option<String>,
    text: String,
}

impl Fields for TextRequest {
    const FIELDS: &'static [&'static str] = &["model", "text"];
    type Part = ();
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Segments {
    model: String,
    sentences: Vec<Segment>,
    /// The end of the text that the model drops; mostly empty.
    dropped: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Segment {
    text: String,
    /// Its tokens, without bos and eos.
    token_ids: Vec<u32>,
    /// Whether the tokens are only its beginning.
    truncated: bool,
}

/// Cut a text into sentences
#[utoipa::path(
    post,
    path = "/v1/sentences/segment",
    tag = "Sentences",
    request_body = TextRequest,
    responses(
        (status = 200, body = Segments, description = "The sentences"),
        Refusals,
    )
)]
pub async fn segment(
    State(app): State<Arc<App>>,
    Body(request): Body<TextRequest>,
) -> Result<Json<Segments>, ApiError> {
    let served = app.model(request.model.as_deref())?;
    app.check_bytes("text", &[&request.text])?;
    let name = served.name().to_owned();
    let work = move |model: &Model| {
        let refused = |error| ApiError::of_library(&error, "text");
        let pipeline = model.text_pipeline();
        let mut pieces = pipeline.sentences(&request.text).map_err(refused)?;
        let mut sentences = Vec::new();
        for piece in pieces.by_ref() {
            let piece = piece.map_err(refused)?;
            sentences.push(Segment {
                text: piece.text.to_owned(),
                token_ids: piece.ids,
                truncated: piece.truncated,
            });
        }
        let dropped = pieces.dropped().to_owned();
        Ok((sentences, dropped))
    };
    let (sentences, dropped) = app.run(served, work).await?;
    Ok(Json(Segments {
        model: name,
        sentences,
        dropped,
    }))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Reconstructions {
    model: String,
    sentences: Vec<Reconstructed>,
    /// How many are exact.
    exact: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Reconstructed {
    input: String,
    /// Tokens of the sentence, without bos and eos.
    input_ids: Vec<u32>,
    output: String,
    /// Output tokens: without bos, with eos if it was generated.
    output_ids: Vec<u32>,
    exact: bool,
}

impl From<Reconstruction> for Reconstructed {
    fn from(found: Reconstruction) -> Self {
        Self {
            input: found.input,
            input_ids: found.input_ids,
            output: found.output,
            output_ids: found.output_ids,
            exact: found.exact,
        }
    }
}

/// Encode the sentences of a text and decode each again
#[utoipa::path(
    post,
    path = "/v1/sentences/reconstruct",
    tag = "Sentences",
    request_body = TextRequest,
    responses(
        (status = 200, body = Reconstructions, description = "The reconstructed sentences"),
        Refusals,
    )
)]
pub async fn reconstruct(
    State(app): State<Arc<App>>,
    Body(request): Body<TextRequest>,
) -> Result<Json<Reconstructions>, ApiError> {
    let served = app.model(request.model.as_deref())?;
    app.check_bytes("text", &[&request.text])?;
    let work = move |model: &Model| {
        let refused = |error| ApiError::of_library(&error, "text");
        let sentences = model.text_pipeline().sentences(&request.text);
        let sentences = sentences.map_err(refused)?.take(MAX_RECONSTRUCTED + 1);
        let sentences: Vec<TextSentence<'_>> =
            sentences.collect::<Result<_, _>>().map_err(refused)?;
        if sentences.len() > MAX_RECONSTRUCTED {
            return Err(ApiError::invalid(
                "text",
                format!("the text has more than {MAX_RECONSTRUCTED} sentences: send it in parts"),
            ));
        }
        let mut found = Vec::with_capacity(sentences.len());
        for sentences in sentences.chunks(TOGETHER) {
            found.extend(model.reconstruct(sentences).map_err(refused)?);
        }
        Ok(found)
    };
    let found = app.run(served, work).await?;
    Ok(Json(Reconstructions {
        model: served.name().to_owned(),
        exact: found.iter().filter(|sentence| sentence.exact).count(),
        sentences: found.into_iter().map(Reconstructed::from).collect(),
    }))
}
