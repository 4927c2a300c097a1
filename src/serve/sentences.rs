//! `/v1/sentences/...`: what the library does with sentences and their vectors.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sllm_ort::{
    Model, Reconstruction, cosine_similarity,
    ndarray::{Array1, Array2},
    text::TextSentence,
};
use utoipa::ToSchema;

use super::{
    app::App,
    body::{Body, Fields},
    contract::Refusals,
    error::ApiError,
};

/// Most vectors to decode.
const MAX_VECTORS: usize = 256;
/// Most texts to compare, each with each.
const MAX_COMPARED: usize = 256;
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
        (status = 200, body = Reconstructions, description = "The sentences as they come back"),
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

/// Sentence vectors to be decoded.
#[derive(Debug, Deserialize, ToSchema)]
pub struct DecodeRequest {
    /// May be left out where one model is served.
    model: Option<String>,
    /// 1 to 256, each as long as the model's vectors are.
    vectors: Vec<Vec<f32>>,
}

impl Fields for DecodeRequest {
    const FIELDS: &'static [&'static str] = &["model", "vectors"];
    type Part = ();
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Decoded {
    model: String,
    sentences: Vec<DecodedSentence>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DecodedSentence {
    text: String,
    /// Output tokens: without bos, with eos if it was generated.
    token_ids: Vec<u32>,
}

/// Decode sentence vectors
#[utoipa::path(
    post,
    path = "/v1/sentences/decode",
    tag = "Sentences",
    request_body = DecodeRequest,
    responses(
        (status = 200, body = Decoded, description = "A sentence of each vector"),
        Refusals,
    )
)]
pub async fn decode(
    State(app): State<Arc<App>>,
    Body(request): Body<DecodeRequest>,
) -> Result<Json<Decoded>, ApiError> {
    let served = app.model(request.model.as_deref())?;
    let rows = request.vectors.len();
    if !(1..=MAX_VECTORS).contains(&rows) {
        return Err(ApiError::invalid(
            "vectors",
            format!("{rows} vectors, allowed are 1 to {MAX_VECTORS}"),
        ));
    }
    let width = request.vectors.first().map_or(0, Vec::len);
    let numbers = request.vectors.concat();
    let vectors = Array2::from_shape_vec((rows, width), numbers)
        .map_err(|_| ApiError::invalid("vectors", "the vectors have different lengths"))?;
    let work = move |model: &Model| {
        let decoded = model.decode_vectors(vectors.view());
        decoded.map_err(|error| ApiError::of_library(&error, "vectors"))
    };
    let decoded = app.run(served, work).await?.into_iter();
    let sentences = decoded.map(|(text, token_ids)| DecodedSentence { text, token_ids });
    Ok(Json(Decoded {
        model: served.name().to_owned(),
        sentences: sentences.collect(),
    }))
}

/// Two sentences with steps between them.
#[derive(Debug, Deserialize, ToSchema)]
pub struct InterpolateRequest {
    /// May be left out where one model is served.
    model: Option<String>,
    from: String,
    to: String,
    /// Number of sentences, both ends included.
    #[schema(minimum = 2, maximum = 256)]
    steps: usize,
}

impl Fields for InterpolateRequest {
    const FIELDS: &'static [&'static str] = &["model", "from", "to", "steps"];
    type Part = ();
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Interpolated {
    model: String,
    texts: Vec<String>,
}

/// Decode vectors between those of two sentences
#[utoipa::path(
    post,
    path = "/v1/sentences/interpolate",
    tag = "Sentences",
    request_body = InterpolateRequest,
    responses(
        (status = 200, body = Interpolated, description = "The sentences, from one to the other"),
        Refusals,
    )
)]
pub async fn interpolate(
    State(app): State<Arc<App>>,
    Body(request): Body<InterpolateRequest>,
) -> Result<Json<Interpolated>, ApiError> {
    let served = app.model(request.model.as_deref())?;
    app.check_bytes("from", &[&request.from, &request.to])?;
    if !(2..=MAX_VECTORS).contains(&request.steps) {
        return Err(ApiError::invalid(
            "steps",
            format!("steps is {}, allowed is 2 to {MAX_VECTORS}", request.steps),
        ));
    }
    let work = move |model: &Model| {
        let texts = model.interpolate(&request.from, &request.to, request.steps);
        texts.map_err(|error| ApiError::of_library(&error, "from"))
    };
    Ok(Json(Interpolated {
        model: served.name().to_owned(),
        texts: app.run(served, work).await?,
    }))
}

/// Texts to be compared, each taken as one sentence.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SimilarityRequest {
    /// May be left out where one model is served.
    model: Option<String>,
    /// 2 to 256 texts.
    input: Vec<String>,
}

impl Fields for SimilarityRequest {
    const FIELDS: &'static [&'static str] = &["model", "input"];
    type Part = ();
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Similarity {
    model: String,
    /// The cosine of the vectors of each text and each other, -1 to 1.
    similarity: Vec<Vec<f32>>,
}

/// Compare the vectors of sentences
#[utoipa::path(
    post,
    path = "/v1/sentences/similarity",
    tag = "Sentences",
    request_body = SimilarityRequest,
    responses(
        (status = 200, body = Similarity, description = "A row for each text"),
        Refusals,
    )
)]
pub async fn similarity(
    State(app): State<Arc<App>>,
    Body(request): Body<SimilarityRequest>,
) -> Result<Json<Similarity>, ApiError> {
    let served = app.model(request.model.as_deref())?;
    let texts = request.input;
    if !(2..=MAX_COMPARED).contains(&texts.len()) {
        return Err(ApiError::invalid(
            "input",
            format!("{} texts, allowed are 2 to {MAX_COMPARED}", texts.len()),
        ));
    }
    app.check_bytes("input", &texts)?;
    let work = move |model: &Model| {
        let mut vectors = Vec::with_capacity(texts.len());
        for texts in texts.chunks(TOGETHER) {
            let encoded = model.encode(texts);
            let encoded = encoded.map_err(|error| ApiError::of_library(&error, "input"))?;
            vectors.extend(encoded.outer_iter().map(|vector| vector.to_owned()));
        }
        let row = |one: &Array1<f32>| {
            vectors
                .iter()
                .map(|other| cosine_similarity(one.view(), other.view()))
                .collect()
        };
        Ok(vectors.iter().map(row).collect())
    };
    Ok(Json(Similarity {
        model: served.name().to_owned(),
        similarity: app.run(served, work).await?,
    }))
}
