//! `/health`, `/ready`, `/metrics` and `/v1/models`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use sllm_ort::{GenerateOptions, Model};
use utoipa::ToSchema;

use super::{
    app::{App, Served},
    error::{ApiError, ErrorBody},
    path::Name,
    refusals::Refusals,
};

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// `ok`, or `ready`.
    status: &'static str,
}

/// Whether the server is alive
#[utoipa::path(
    get,
    path = "/health",
    tag = "Operation",
    security(()),
    responses((status = 200, body = Status, description = "The server is alive"))
)]
pub async fn health() -> Json<Status> {
    Json(Status { status: "ok" })
}

/// Whether the server takes requests
#[utoipa::path(
    get,
    path = "/ready",
    tag = "Operation",
    security(()),
    responses(
        (status = 200, body = Status, description = "The server takes requests"),
        (status = 503, body = ErrorBody, description = "The server is loading or shutting down"),
    )
)]
pub async fn ready(State(app): State<Arc<App>>) -> Result<Json<Status>, ApiError> {
    match (app.is_draining(), app.is_loaded()) {
        (true, _) => Err(ApiError::draining()),
        (false, false) => Err(ApiError::loading()),
        (false, true) => Ok(Json(Status { status: "ready" })),
    }
}

/// Figures for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "Operation",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "The figures"),
        Refusals,
    )
)]
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let text = app.metrics.text(&app.gauges());
    let text = text.map_err(|_| ApiError::internal())?;
    let media_type = HeaderValue::from_static(PROMETHEUS);
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Models {
    /// `list`
    object: &'static str,
    data: Vec<ModelInfo>,
}

/// A model that is served.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelInfo {
    id: String,
    /// `model`
    object: &'static str,
    /// When it was loaded, in seconds since 1970.
    created: u64,
    owned_by: &'static str,
    /// `sllm`, `svae` or `opt`.
    kind: String,
    variant: String,
    /// Length of a sentence vector.
    hidden_size: usize,
    /// Most sentences of a context; null in other kinds than `sllm`.
    max_sentences: Option<usize>,
    /// Bytes of the KV cache for each sentence of a context (in kind `opt` for each token); null in
    /// kind `svae`. A token-level model with the same backbone needs as many for each token.
    kv_bytes_per_position: Option<usize>,
    generation: GenerationInfo,
}

/// Defaults of fields that a request leaves out. Null stands for a rule that is off.
#[derive(Debug, Serialize, ToSchema)]
pub struct GenerationInfo {
    max_sentences: usize,
    temperature: f32,
    guidance_scale: f32,
    top_p: f32,
    top_k: Option<usize>,
    min_p: f32,
    repetition_penalty: f32,
    dry_multiplier: f32,
    dry_base: f32,
    dry_allowed_length: usize,
    no_repeat_ngram: Option<usize>,
    /// Null: on if the temperature is above 0.
    avoid_repeats: Option<bool>,
}

impl GenerationInfo {
    fn new(model: &Model) -> Self {
        let sampling = model.sampling();
        Self {
            max_sentences: GenerateOptions::default().max_sentences(),
            temperature: sampling.temperature(),
            guidance_scale: sampling.guidance_scale(),
            top_p: sampling.top_p(),
            top_k: sampling.top_k(),
            min_p: sampling.min_p(),
            repetition_penalty: sampling.repetition_penalty(),
            dry_multiplier: sampling.dry_multiplier(),
            dry_base: sampling.dry_base(),
            dry_allowed_length: sampling.dry_allowed_length(),
            no_repeat_ngram: sampling.no_repeat_ngram(),
            avoid_repeats: model.generation_defaults().avoid_repeats,
        }
    }
}

impl ModelInfo {
    fn new(served: &Served) -> Self {
        let config = served.model.config();
        let kv = served.model.kv_bytes(None).ok();
        Self {
            id: served.name().to_owned(),
            object: "model",
            created: served.created,
            owned_by: "sllm-ort",
            kind: config.kind.to_string(),
            variant: served.model.variant().to_owned(),
            hidden_size: config.hidden_size,
            max_sentences: config.max_sentences,
            kv_bytes_per_position: kv.and_then(|kv| {
                let token = kv.kv_bytes_per_token_of_text;
                kv.kv_bytes_per_sentence
                    .or(token.map(|bytes| bytes as usize))
            }),
            generation: GenerationInfo::new(&served.model),
        }
    }
}

/// List the models
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "OpenAI",
    responses(
        (status = 200, body = Models, description = "The models"),
        Refusals,
    )
)]
pub async fn models(State(app): State<Arc<App>>) -> Json<Models> {
    let data = app.models().iter().map(|served| ModelInfo::new(served));
    Json(Models {
        object: "list",
        data: data.collect(),
    })
}

/// Describe a model
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    tag = "OpenAI",
    params(("model" = String, Path, description = "The model's name")),
    responses(
        (status = 200, body = ModelInfo, description = "The model"),
        Refusals,
    )
)]
pub async fn model(
    State(app): State<Arc<App>>,
    Name(name): Name,
) -> Result<Json<ModelInfo>, ApiError> {
    let served = app.model(Some(&name))?;
    Ok(Json(ModelInfo::new(served)))
}
