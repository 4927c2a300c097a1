//! The variable part of a path.

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};

use super::error::ApiError;

/// The name or id in a path.
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::from_request_parts(parts, state).await;
        // Bytes that are no UTF-8 name nothing.
        path.map(|Path(name)| Self(name))
            .map_err(|_| ApiError::no_path())
    }
}
