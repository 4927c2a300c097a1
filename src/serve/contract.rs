//! The contract: `/openapi.json`.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
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

/// The answers of every endpoint of `/v1` that are errors.
pub struct Refusals;

/// Each status of an error, and when it comes.
const REFUSALS: [(&str, &str); 15] = [
    ("400", "A field or a value that is not allowed"),
    ("401", "No API key, or another one"),
    ("404", "No such model, session or path"),
    ("405", "Another method"),
    ("408", "The body came too slowly"),
    ("409", "Another request uses the session"),
    ("413", "The body is too large"),
    ("414", "The path is too long"),
    (
        "415",
        "The body is not said to be of the type that is needed",
    ),
    ("429", "The queue is full, or there are too many sessions"),
    ("431", "The head is too large"),
    ("500", "The server failed"),
    ("501", "A transfer coding that is not supported"),
    (
        "503",
        "The models are being loaded, or the server shuts down",
    ),
    ("504", "It took longer than the server allows"),
];

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let response = |description: &str| {
            let body = Ref::from_schema_name("ErrorBody");
            let content = ContentBuilder::new().schema(Some(body)).build();
            let response = ResponseBuilder::new().description(description);
            response.content("application/json", content).build().into()
        };
        let responses = REFUSALS.map(|(status, when)| (status.to_owned(), response(when)));
        responses.into()
    }
}
