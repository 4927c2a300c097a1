//! Errors as OpenAI's API gives them.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sllm_ort::{Error, ErrorKind, error::StateError};
use utoipa::ToSchema;

/// Seconds after which a refused client should try again.
const RETRY_SECONDS: u16 = 1;

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
    /// The field of the request, if it is about one.
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
            message: message.into(),
            kind,
            param: None,
            code: Some(code),
        };
        Self { status, fields }
    }

    fn about(mut self, param: impl Into<String>) -> Self {
        self.fields.param = Some(param.into());
        self
    }

    /// A field has a value that is not allowed.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, "invalid_value", message).about(param)
    }

    /// A field that means nothing here.
    pub fn unknown_field(name: &str) -> Self {
        let message = format!("unknown field `{name}`: remove it or correct its spelling");
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

    pub fn media_type(expected: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            INVALID,
            "unsupported_media_type",
            format!("the header content-type must be {expected}"),
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

    /// The client sends its body too slowly.
    pub fn slow_body() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            INVALID,
            "slow_body",
            "the body did not arrive in time",
        )
    }

    pub fn bad_key() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            INVALID,
            "invalid_api_key",
            "this server asks for an API key: send the header `Authorization: Bearer KEY`",
        )
    }

    pub fn no_model(name: &str) -> Self {
        let message =
            format!("model {name:?} is not served here: GET /v1/models lists those that are");
        Self::new(StatusCode::NOT_FOUND, INVALID, "model_not_found", message).about("model")
    }

    pub fn no_session(id: &str) -> Self {
        let message = format!("there is no session {id:?}: it expired, was deleted, or never was");
        Self::new(StatusCode::NOT_FOUND, INVALID, "session_not_found", message)
    }

    pub fn session_busy() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            INVALID,
            "session_busy",
            "the session is in use by another request: wait for its end, or fork it before",
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
            format!("{bytes} bytes of sessions are needed, all sessions have {limit}"),
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

    pub fn no_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            INVALID,
            "unknown_url",
            "there is nothing at this path: GET /openapi.json lists all there is",
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

    pub fn no_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            INVALID,
            "method_not_allowed",
            "this path does not take this method: GET /openapi.json lists all there is",
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

    /// An error of the library, about this field where it names none itself.
    pub fn of_library(error: &Error, param: &str) -> Self {
        match (error, error.kind()) {
            (Error::InvalidOption { option, .. }, _) => {
                Self::invalid(&option.replace('-', "_"), error.to_string())
            }
            (_, ErrorKind::TooLong) => Self::too_long(param, error.to_string()),
            (Error::WrongKind { .. }, _) => Self::invalid("model", error.to_string()),
            (Error::State(StateError::Session { problem, .. }), _) => {
                Self::invalid(param, format!("not a snapshot of a session: {problem}"))
            }
            (Error::State(StateError::SessionModel { model, .. }), _) => {
                Self::invalid(param, format!("not a snapshot of the model {model}"))
            }
            (_, ErrorKind::InvalidInput) => Self::invalid(param, error.to_string()),
            (_, ErrorKind::Cancelled) => Self::timeout(),
            _ => {
                tracing::error!(%error, cause = std::error::Error::source(error), "a request failed");
                Self::internal()
            }
        }
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
        response
    }
}
