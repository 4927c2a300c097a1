//! `/v1/sentences/{decode,interpolate,similarity}`: sentence vectors.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sllm_ort::{
    Model, cosine_similarity,
    ndarray::{Array1, Array2},
};
use utoipa::ToSchema;

use super::{
    super::{
        app::App,
        body::{Body, Fields},
        error::ApiError,
        refusals::Refusals,
    },
    TOGETHER,
};

/// Most vectors to decode.
const MAX_VECTORS: usize = 256;
/// Most texts to compare, each with each.
const MAX_COMPARED: usize = 256;

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
        (status = 200, body = Decoded, description = "One sentence per vector"),
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
    for (row, vector) in request.vectors.iter().enumerate() {
        check_vector(&format!("vectors[{row}]"), vector, width)?;
    }
    let numbers = request.vectors.concat();
    let vectors = Array2::from_shape_vec((rows, width), numbers);
    let vectors = vectors.map_err(|_| ApiError::internal())?;
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

/// Refuse a vector that is not like the first one, or has numbers that 32 bits do not hold.
fn check_vector(name: &str, vector: &[f32], width: usize) -> Result<(), ApiError> {
    let problem = if vector.len() != width {
        let found = vector.len();
        format!("{name} has {found} numbers, vectors[0] has {width}: send vectors of one length")
    } else if let Some(place) = vector.iter().position(|number| !number.is_finite()) {
        format!("{name}[{place}] is too large for a number of 32 bits: send a smaller one")
    } else {
        return Ok(());
    };
    Err(ApiError::invalid(name, problem))
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
        check_sentence(model, "from", &request.from)?;
        check_sentence(model, "to", &request.to)?;
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
        (status = 200, body = Similarity, description = "One row per text"),
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
        for (index, text) in texts.iter().enumerate() {
            check_sentence(model, &format!("input[{index}]"), text)?;
        }
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

/// Refuse a text that is no sentence, whose vector would say nothing, or too long for one.
fn check_sentence(model: &Model, param: &str, text: &str) -> Result<(), ApiError> {
    let refused = |error| ApiError::of_library(&error, param);
    let mut sentences = model.text_pipeline().one_sentence(text).map_err(refused)?;
    let first = sentences.next();
    let first = first.ok_or_else(|| ApiError::no_sentence(param))?;
    first.map_err(refused)?;
    match sentences.next() {
        // Too long: the library refuses it before it runs.
        Some(_) => model.encode(&[text]).map(|_| ()).map_err(refused),
        None => Ok(()),
    }
}
