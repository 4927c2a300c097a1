//! The contract: `/openapi.json`.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::{chat, completions, embeddings, sentences, sessions, status};

/// All endpoints, from their handlers.
#[derive(OpenApi)]
#[openapi(
    info(title = "sllm-ort", description = "Sentence-level language models."),
    modifiers(&BearerKey),
    security(("key" = [])),
    paths(
        status::health, status::ready, status::metrics, status::models, status::model,
        completions::create, chat::create, embeddings::create,
        sentences::segment, sentences::reconstruct, sentences::decode, sentences::interpolate,
        sentences::similarity,
        sessions::create, sessions::describe, sessions::delete, sessions::append,
        sessions::generate, sessions::fork, sessions::rewind, sessions::snapshot,
        sessions::restore,
    )
)]
pub struct Contract;

struct BearerKey;

impl Modify for BearerKey {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("key", scheme);
    }
}
