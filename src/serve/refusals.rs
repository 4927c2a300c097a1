//! The errors that every endpoint of `/v1` may return, for the contract.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

/// The answers of every endpoint of `/v1` that are errors.
pub struct Refusals;

/// Each error status, and when it is returned.
const REFUSALS: [(&str, &str); 16] = [
    ("400", "A field or a value that is not allowed"),
    ("401", "The API key is missing or wrong"),
    ("403", "A host name that the server does not answer to"),
    ("404", "No such model, session or path"),
    ("405", "The path does not have this method"),
    ("408", "The body came too slowly"),
    ("409", "Another request uses the session"),
    ("413", "The body is too large"),
    ("414", "The path is too long"),
    ("415", "The content type is not the required one"),
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
