//! Errors in the format of OpenAI's API.

mod http;
pub mod library;
mod shown;

use axum::{
    Json,
    http::{
        HeaderValue, StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use shown::shortened;
pub use shown::shown;

/// Seconds after which a refused client should try again.
const RETRY_SECONDS: u16 = 1;
/// Longest message, in characters: it may repeat what a client sent.
const MESSAGE_CHARS: usize = 1000;

/// Why a request is refused or failed.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    fields: ErrorFields,
}

/// The body of every answer that is an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorFields,
}

/// What went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ErrorFields {
    /// What failed, and what to do.
    pub message: String,
    /// `invalid_request_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The field of the request that the error is about, if any.
    pub param: Option<String>,
    /// The error for a program.
    pub code: Option<&'static str>,
}

const INVALID: &str = "invalid_request_error";
const RATE: &str = "rate_limit_error";
const SERVER: &str = "server_error";

impl ApiError {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let fields = ErrorFields {
            message: shortened(message.into(), MESSAGE_CHARS),
            kind,
            param: None,
            code: Some(code),
        };
        Self { status, fields }
    }

    fn about(mut self, param: impl Into<String>) -> Self {
        self.fields.param = Some(shown(&param.into()));
        self
    }

    /// A field has a value that is not allowed.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, "invalid_value", message).about(param)
    }

    /// A text of which there is no vector.
    pub fn no_sentence(param: &str) -> Self {
        let message = format!("{param} has no sentence: send a text of one word or more");
        Self::invalid(param, message)
    }

    /// A field that means nothing here.
    pub fn unknown_field(name: &str) -> Self {
        let message = format!(
            "unknown field `{}`: remove it or correct its spelling",
            shown(name)
        );
        Self::new(
            StatusCode::BAD_REQUEST,
            INVALID,
            "unknown_parameter",
            message,
        )
        .about(name)
    }

    /// A field of OpenAI's API that cannot be honoured.
    pub fn unsupported(name: &str) -> Self {
        let message = format!("`{name}` is not supported by this server: remove it");
        Self::new(
            StatusCode::BAD_REQUEST,
            INVALID,
            "unsupported_parameter",
            message,
        )
        .about(name)
    }

    /// The body is not JSON, or not text.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, "invalid_json", message)
    }

    /// A key that its object has twice.
    pub fn duplicate_key(path: &str) -> Self {
        let message = format!("`{}` is given twice: send it once", shown(path));
        Self::malformed(message).about(path)
    }

    /// A text is longer than the model or the server takes.
    pub fn too_long(param: &str, message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            INVALID,
            "context_length_exceeded",
            message,
        )
        .about(param)
    }

    pub fn bad_key() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            INVALID,
            "invalid_api_key",
            "this server asks for an API key: send the header `Authorization: Bearer KEY`",
        )
    }

    /// A host name that may be a stranger's; see [`Hosts`](super::hosts::Hosts).
    pub fn host(name: &str) -> Self {
        let message = format!(
            "without API keys this server answers to names of its own machine only, not to {:?}: \
             allow it with --allow-host",
            shown(name)
        );
        Self::new(StatusCode::FORBIDDEN, INVALID, "host_not_allowed", message)
    }

    pub fn no_model(name: &str) -> Self {
        let message = format!(
            "model {:?} is not served here: GET /v1/models lists those that are",
            shown(name)
        );
        Self::new(StatusCode::NOT_FOUND, INVALID, "model_not_found", message).about("model")
    }

    pub fn no_session(id: &str) -> Self {
        let message = format!(
            "there is no session {:?}: it expired, was deleted, or never was",
            shown(id)
        );
        Self::new(StatusCode::NOT_FOUND, INVALID, "session_not_found", message)
    }

    pub fn session_busy() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            INVALID,
            "session_busy",
            "the session is in use by another request: wait for that to end, or use a fork",
        )
    }

    /// A session of a snapshot whose numbers no model can continue.
    pub fn unusable_session() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            INVALID,
            "unusable_session",
            "the values of the session's snapshot are unusable: make a new session from its text",
        )
    }

    pub fn session_memory(limit: usize) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            RATE,
            "session_memory_exceeded",
            format!("the sessions hold all of their {limit} bytes: delete some, or wait"),
        )
    }

    /// A session that does not fit whatever else is deleted.
    pub fn session_too_large(bytes: usize, limit: usize) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            INVALID,
            "session_too_large",
            format!("{bytes} bytes are needed, all sessions together have at most {limit}"),
        )
    }

    pub fn too_many_sessions(limit: usize) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            RATE,
            "too_many_sessions",
            format!("there are {limit} sessions, which is the limit: delete some, or wait"),
        )
    }

    /// The queue is full.
    pub fn busy() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            RATE,
            "queue_full",
            "too many requests are waiting: try again later",
        )
    }

    pub fn loading() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            SERVER,
            "loading",
            "the models are being loaded: try again later",
        )
    }

    pub fn draining() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            SERVER,
            "shutting_down",
            "the server is shutting down: send the request to another one",
        )
    }

    pub fn timeout() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            SERVER,
            "request_timeout",
            "the request took longer than this server allows: ask for less at once",
        )
    }

    /// Nothing that the client could change.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            SERVER,
            "internal_error",
            "the server failed: its log says more",
        )
    }

    /// Whether the server failed.
    pub fn is_internal(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: self.fields.clone(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(self.body())).into_response();
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            let seconds = HeaderValue::from(RETRY_SECONDS);
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
