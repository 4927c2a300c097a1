//! Reading the body of a request.

use std::{sync::Arc, time::Duration};

use axum::{
    body::HttpBody as _,
    extract::{FromRequest, Request},
};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

use super::{app::App, error::ApiError, head, json};
pub use json::{Fields, Neutral, Unsupported};

/// A body that is slower than this is refused, or slower than a request may be.
const SLOWEST_BODY: Duration = Duration::from_secs(30);
/// Bytes of a body besides its texts.
const OVERHEAD_BYTES: usize = 1 << 20;
/// Bytes of a body that is refused which are read nevertheless: a client that is still writing would
/// not see the answer.
const DISCARDED_BYTES: usize = 8 << 20;
/// Most bytes that JSON takes for a byte of text: `\u0000`.
const JSON_BYTES: usize = 6;

/// A JSON object with known fields.
pub struct Body<T>(pub T);

impl<T: Fields> FromRequest<Arc<App>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        head::check_body(request.headers(), head::JSON)?;
        let limit = OVERHEAD_BYTES + JSON_BYTES * app.settings.max_prompt_bytes;
        let bytes = read(request, limit, app, |_| Ok(())).await?;
        json::parse(&bytes).map(Self)
    }
}

/// A body that is empty, or an object without fields.
pub struct NoFields;

impl FromRequest<Arc<App>> for NoFields {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let checked = head::check_body(request.headers(), head::JSON);
        let bytes = read(request, OVERHEAD_BYTES, app, |_| Ok(())).await?;
        if bytes.is_empty() {
            return Ok(Self);
        }
        checked?;
        json::parse::<json::Empty>(&bytes).map(|_| Self)
    }
}

/// The whole body, of at most `limit` bytes. `take` may refuse more bytes than there were before.
pub async fn read(
    request: Request,
    limit: usize,
    app: &App,
    mut take: impl FnMut(usize) -> Result<(), ApiError>,
) -> Result<Vec<u8>, ApiError> {
    let body = request.into_body();
    let most = limit.saturating_add(DISCARDED_BYTES);
    if body.size_hint().lower() > most as u64 {
        return Err(ApiError::too_large(limit));
    }
    let mut chunks = body.into_data_stream();
    let whole = async {
        let (mut bytes, mut size) = (Vec::new(), 0);
        // Why it is refused, and how much of it is read nevertheless.
        let mut refused = None;
        while let Some(chunk) = chunks.next().await {
            let chunk =
                chunk.map_err(|_| ApiError::malformed("the body could not be read to its end"))?;
            size += chunk.len();
            match refused {
                Some((_, most)) if size > most => break,
                Some(_) => continue,
                None => {}
            }
            let taken = match size <= limit {
                true => take(chunk.len()),
                false => Err(ApiError::too_large(limit)),
            };
            match taken {
                Ok(()) => bytes.extend_from_slice(&chunk),
                Err(error) => {
                    bytes = Vec::new();
                    refused = Some((error, size.saturating_add(DISCARDED_BYTES)));
                }
            }
        }
        refused.map_or(Ok(bytes), |(error, _)| Err(error))
    };
    let slowest = SLOWEST_BODY.min(app.settings.request_timeout);
    let whole = timeout(slowest, whole).await;
    whole.unwrap_or_else(|_| Err(ApiError::slow_body()))
}
