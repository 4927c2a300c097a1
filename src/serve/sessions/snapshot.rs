//! Sessions as files.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use sllm_ort::{Model, Session};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{app::App, body, error::ApiError, head, path::Name, refusals::Refusals, store::Origin},
    SessionInfo, with,
};

/// The type of a snapshot.
const SNAPSHOT: &str = "application/octet-stream";

/// The bytes of a session file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code)]
pub struct SnapshotFile(Vec<u8>);

/// Download a session as a file
#[utoipa::path(
    get,
    path = "/v1/sessions/{id}/snapshot",
    tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 200, body = inline(SnapshotFile), content_type = "application/octet-stream",
         description = "A session file, which `sllm-ort run --load` reads too"),
        Refusals,
    )
)]
pub async fn snapshot(State(app): State<Arc<App>>, Name(id): Name) -> Result<Response, ApiError> {
    let (bytes, _) = with(&app, &id, |session| session.to_bytes()).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(SNAPSHOT)),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"story.session\""),
        ),
    ];
    Ok((headers, Bytes::from(bytes)).into_response())
}

/// The model of the snapshot.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RestoreQuery {
    /// May be left out where one model is served.
    model: Option<String>,
}

impl RestoreQuery {
    fn new(fields: Vec<(String, String)>) -> Result<Self, ApiError> {
        let mut query = Self::default();
        for (name, value) in fields {
            if name != "model" {
                return Err(ApiError::unknown_field(&name));
            }
            if query.model.replace(value).is_some() {
                return Err(ApiError::invalid(
                    "model",
                    "model is given twice: send it once",
                ));
            }
        }
        Ok(query)
    }
}

/// Restore a session from a file
#[utoipa::path(
    post,
    path = "/v1/sessions/restore",
    tag = "Sessions",
    params(RestoreQuery),
    request_body(content = inline(SnapshotFile), content_type = "application/octet-stream"),
    responses(
        (status = 200, body = SessionInfo, description = "The new session"),
        Refusals,
    )
)]
pub async fn restore(
    State(app): State<Arc<App>>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    request: axum::extract::Request,
) -> Result<Json<SessionInfo>, ApiError> {
    let query = query.map_err(|error| ApiError::invalid("model", error.body_text()))?;
    let query = RestoreQuery::new(query.0)?;
    let served = app.model(query.model.as_deref())?;
    head::check_body(request.headers(), SNAPSHOT)?;
    app.sessions.check_memory()?;
    let mut restored = app.sessions.restore();
    let take = |bytes| restored.add(bytes);
    let bytes = body::read(request, app.sessions.max_bytes(), &app, take).await?;
    let work = move |model: &Model| {
        let session = Session::from_bytes(model, &bytes);
        drop((bytes, restored));
        session.map_err(|error| ApiError::of_session(&error, "body", Origin::Snapshot))
    };
    let session = app.run(served, work).await?;
    SessionInfo::of_new(&app, session, Origin::Snapshot).map(Json)
}
