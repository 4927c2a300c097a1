//! Errors of requests as HTTP, whatever they ask for.

use axum::http::StatusCode;

use super::{ApiError, INVALID};

impl ApiError {
    pub fn media_type(expected: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            INVALID,
            "unsupported_media_type",
            format!("the header content-type must be {expected}"),
        )
    }

    pub fn charset() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            INVALID,
            "unsupported_media_type",
            "the charset of the header content-type must be utf-8: send the body in UTF-8",
        )
    }

    pub fn content_encoding() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            INVALID,
            "unsupported_content_encoding",
            "compressed bodies are not supported: send the body without content-encoding",
        )
    }

    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            INVALID,
            "body_too_large",
            format!("the body has more than {limit} bytes: send less at once"),
        )
    }

    /// A body whose length alone is too large for any limit.
    pub fn endless() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            INVALID,
            "body_too_large",
            "the body is larger than any that this server takes: send less at once",
        )
    }

    /// The client sends its body too slowly.
    pub fn slow_body() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            INVALID,
            "slow_body",
            "the body did not arrive in time",
        )
    }

    /// A head that is no HTTP.
    pub fn bad_head() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            INVALID,
            "invalid_request",
            "the head of the request is not in the form of HTTP/1.1",
        )
    }

    /// A header that may come once has two values.
    pub fn repeated_header(name: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            INVALID,
            "invalid_request",
            format!("the header {name} is given twice with different values: send it once"),
        )
    }

    pub fn transfer_coding() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            INVALID,
            "unsupported_transfer_encoding",
            "of transfer codings only `chunked` is supported: send the body without others",
        )
    }

    pub fn long_url() -> Self {
        Self::new(
            StatusCode::URI_TOO_LONG,
            INVALID,
            "url_too_long",
            "the path of the request is too long",
        )
    }

    pub fn long_head() -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            INVALID,
            "head_too_large",
            "the head of the request is too large",
        )
    }

    pub fn no_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            INVALID,
            "unknown_url",
            "there is nothing at this path: GET /openapi.json lists all there is",
        )
    }

    pub fn no_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            INVALID,
            "method_not_allowed",
            "this path does not take this method: GET /openapi.json lists all there is",
        )
    }
}
