//! The page: files that the program holds. They are open without a key, as they hold no secret.

use std::sync::LazyLock;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

use super::{error::ApiError, path::Name};

/// The page runs its own scripts, and talks with this server alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

struct File {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
}

macro_rules! files {
    ($($media_type:ident $name:literal,)*) => {
        &[$(File {
            name: $name,
            media_type: $media_type,
            content: include_str!(concat!("page/", $name)),
        },)*]
    };
}

/// The page is the first one.
const FILES: &[File] = files![
    HTML "page.html",
    CSS "page.css",
    IMAGE "icon.svg",
    SCRIPT "api.js",
    SCRIPT "app.js",
    SCRIPT "branches.js",
    SCRIPT "cards.js",
    SCRIPT "counters.js",
    SCRIPT "diff.js",
    SCRIPT "dom.js",
    SCRIPT "map.js",
    SCRIPT "reconstruct.js",
    SCRIPT "settings.js",
    SCRIPT "story.js",
    SCRIPT "tree.js",
    SCRIPT "vectors.js",
];

/// The entity tag of each file.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let tag = |file: &File| format!("\"{:.32}\"", hex(&Sha256::digest(file.content)));
    FILES.iter().map(tag).collect()
});

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a path is one of the page.
pub fn has_path(path: &str) -> bool {
    path == "/" || path.starts_with("/page/")
}

/// What is at the root.
pub async fn root(headers: HeaderMap) -> Response {
    answer(0, &headers)
}

/// A file that the page loads.
pub async fn file(Name(name): Name, headers: HeaderMap) -> Result<Response, ApiError> {
    let index = FILES.iter().skip(1).position(|file| file.name == name);
    let index = index.ok_or_else(ApiError::no_path)?;
    Ok(answer(index + 1, &headers))
}

/// A browser keeps a file, and asks each time whether it is still the same.
fn answer(index: usize, headers: &HeaderMap) -> Response {
    let (Some(file), Some(tag)) = (FILES.get(index), TAGS.get(index)) else {
        return ApiError::no_path().into_response();
    };
    let fixed: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, file.media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let known = headers.get(header::IF_NONE_MATCH);
    let known = known.and_then(|value| value.to_str().ok());
    let known = known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.content.into_response(),
    };
    let answer = response.headers_mut();
    for (name, value) in fixed {
        answer.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.insert(header::ETAG, tag);
    }
    response
}
