//! Reading the body of a request.

use std::{sync::Arc, time::Duration};

use axum::{
    body::HttpBody as _,
    extract::{FromRequest, Request},
    http::header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sllm_ort::text::without_byte_order_mark;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

use super::{app::App, error::ApiError};

/// A body that is slower than this is refused, or slower than a request may be.
const SLOWEST_BODY: Duration = Duration::from_secs(30);
/// Bytes of a body besides its texts.
const OVERHEAD_BYTES: usize = 1 << 20;
/// Bytes of a body that is too large which are read nevertheless: a client that is still writing
/// would not see the answer.
const DISCARDED_BYTES: usize = 8 << 20;
/// Most bytes that JSON takes for a byte of text: `\u0000`.
const JSON_BYTES: usize = 6;

/// Fields of a request, and those of OpenAI's API that are refused.
pub trait Fields: DeserializeOwned {
    /// The fields that it has, without those of `Part`.
    const FIELDS: &'static [&'static str];
    /// Fields that are refused unless they ask for nothing.
    const UNSUPPORTED: &'static [(&'static str, Neutral)] = &[];
    /// Fields that it has in common with others.
    type Part: Fields;
}

/// When an unsupported field asks for nothing. `null` always does.
#[derive(Clone, Copy)]
pub enum Neutral {
    Null,
    False,
    Zero,
    /// An empty list, object or text.
    Empty,
    /// This text.
    Word(&'static str),
}

impl Neutral {
    fn is(self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Null) => true,
            (Self::False, value) => value == &Value::Bool(false),
            (Self::Zero, value) => value.as_f64() == Some(0.0),
            (Self::Empty, Value::Array(items)) => items.is_empty(),
            (Self::Empty, Value::Object(items)) => items.is_empty(),
            (Self::Empty, Value::String(text)) => text.is_empty(),
            (Self::Word(word), Value::String(text)) => text == word,
            // {"type": "text"}
            (Self::Word(word), Value::Object(items)) => {
                items.len() == 1 && items.get("type").and_then(Value::as_str) == Some(word)
            }
            _ => false,
        }
    }
}

/// No fields.
impl Fields for () {
    const FIELDS: &'static [&'static str] = &[];
    type Part = ();
}

/// A JSON object with known fields.
pub struct Body<T>(pub T);

impl<T: Fields> FromRequest<Arc<App>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let media_type = request.headers().get(CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|value| value.split(';').next());
        let is_json = |name: &str| name.trim().eq_ignore_ascii_case("application/json");
        if !media_type.is_some_and(is_json) {
            return Err(ApiError::media_type("application/json"));
        }
        let encoding = request.headers().get(CONTENT_ENCODING);
        if encoding.is_some_and(|name| !name.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(ApiError::content_encoding());
        }
        let limit = OVERHEAD_BYTES + JSON_BYTES * app.settings.max_prompt_bytes;
        let bytes = read(request, limit, app).await?;
        parse(&bytes).map(Self)
    }
}

/// The whole body, of at most `limit` bytes.
pub async fn read(request: Request, limit: usize, app: &App) -> Result<Vec<u8>, ApiError> {
    let body = request.into_body();
    let most = limit.saturating_add(DISCARDED_BYTES);
    if body.size_hint().lower() > most as u64 {
        return Err(ApiError::too_large(limit));
    }
    let mut chunks = body.into_data_stream();
    let whole = async {
        let (mut bytes, mut size) = (Vec::new(), 0);
        while let Some(chunk) = chunks.next().await {
            let chunk =
                chunk.map_err(|_| ApiError::malformed("the body could not be read to its end"))?;
            size += chunk.len();
            match size {
                size if size <= limit => bytes.extend_from_slice(&chunk),
                size if size <= most => bytes = Vec::new(),
                _ => break,
            }
        }
        match size > limit {
            true => Err(ApiError::too_large(limit)),
            false => Ok(bytes),
        }
    };
    let slowest = SLOWEST_BODY.min(app.settings.request_timeout);
    let whole = timeout(slowest, whole).await;
    whole.unwrap_or_else(|_| Err(ApiError::slow_body()))
}

fn parse<T: Fields>(bytes: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| ApiError::malformed("the body is not UTF-8 text"))?;
    let value: Value = serde_json::from_str(without_byte_order_mark(text))
        .map_err(|error| ApiError::malformed(format!("the body is not JSON: {error}")))?;
    let Value::Object(object) = value else {
        return Err(ApiError::malformed("the body is not a JSON object"));
    };
    let known = |name: &str| T::FIELDS.contains(&name) || T::Part::FIELDS.contains(&name);
    for (name, value) in &object {
        let unsupported = T::UNSUPPORTED.iter().find(|(other, _)| other == name);
        match unsupported {
            Some((_, neutral)) if neutral.is(value) => {}
            Some(_) => return Err(ApiError::unsupported(name)),
            None if known(name) => {}
            None => return Err(ApiError::unknown_field(name)),
        }
    }
    let fields = |names: &[&str]| -> Map<String, Value> {
        let own = object
            .iter()
            .filter(|(name, _)| names.contains(&name.as_str()));
        own.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    // For the name of the field that is wrong.
    if !T::Part::FIELDS.is_empty() {
        deserialize::<T::Part>(fields(T::Part::FIELDS))?;
    }
    deserialize(object)
}

fn deserialize<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let message = in_words(&error.inner().to_string());
        let path = error.path().to_string();
        match (path.as_str(), message.split('`').nth(1)) {
            // A missing field has no path.
            (".", Some(name)) => ApiError::invalid(name, message.clone()),
            (".", None) => ApiError::malformed(message),
            _ => ApiError::invalid(&path, format!("{path}: {message}")),
        }
    })
}

/// The message with what JSON has in place of the names of Rust's types.
fn in_words(message: &str) -> String {
    const NAMES: [(&[&str], &str); 2] = [
        (
            &["u8", "u16", "u32", "u64", "usize"],
            "a whole number, 0 or more",
        ),
        (&["f32", "f64"], "a number"),
    ];
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let Some((_, words)) = NAMES.iter().find(|(types, _)| types.contains(&expected)) else {
        return message.to_owned();
    };
    let is_too_large = found.starts_with("invalid value: integer `") && !found.contains("`-");
    let words = if is_too_large { "a smaller one" } else { words };
    format!("{found}, expected {words}")
}
