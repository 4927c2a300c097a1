//! `/v1/sessions...`: contexts that the server keeps.

mod generate;
mod info;
mod snapshot;

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sllm_ort::{Model, Session};
use utoipa::ToSchema;

use super::{
    app::{App, Request},
    body::{Body, Fields, NoFields},
    error::{ApiError, library::SESSION},
    job::Event,
    path::Name,
    prompt::Prompt,
    refusals::Refusals,
    store::{Description, Lease, Origin},
};
pub use generate::*;
pub use info::*;
pub use snapshot::*;

/// A new session.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewSession {
    /// May be left out where one model is served.
    model: Option<String>,
    /// Its first text.
    text: Option<String>,
}

impl Fields for NewSession {
    const FIELDS: &'static [&'static str] = &["model", "text"];
    type Part = ();
}

/// Make a session
#[utoipa::path(
    post,
    path = "/v1/sessions",
    tag = "Sessions",
    request_body = NewSession,
    responses(
        (status = 200, body = SessionInfo, description = "The session"),
        Refusals,
    )
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Body(request): Body<NewSession>,
) -> Result<Json<SessionInfo>, ApiError> {
    let served = app.model(request.model.as_deref())?;
    let text = request.text.unwrap_or_default();
    app.check_bytes("text", &[&text])?;
    app.sessions.check_memory()?;
    let session = served.model.session();
    let session = session.map_err(|error| ApiError::of_library(&error, "model"))?;
    if text.is_empty() {
        return SessionInfo::of_new(&app, session, Origin::Model).map(Json);
    }
    let session = app.sessions.insert(session, Origin::Model)?;
    let info = append_text(&app, session.id(), text).await?;
    session.claim();
    Ok(Json(info))
}

async fn append_text(app: &App, id: &str, text: String) -> Result<SessionInfo, ApiError> {
    let lease = app.sessions.lease(id)?;
    let served = Arc::clone(app.model(Some(lease.model()))?);
    let request = Request {
        home: Some(lease),
        prompt: Prompt::new("text", text, 1),
        options: None,
    };
    let mut events = app.submit(&served, vec![request])?;
    let (mut taken, mut described) = (None, None);
    while let Some((_, event)) = events.next().await {
        match event {
            Event::Started { appended, .. } => taken = Some(appended.into()),
            Event::Described(description) => described = Some(description),
            Event::Failed(error) => return Err(error),
            _ => {}
        }
    }
    let described = described.ok_or_else(ApiError::internal)?;
    let mut info = SessionInfo::new(app, id, &described);
    info.appended = taken;
    Ok(info)
}

/// Describe a session
#[utoipa::path(
    get,
    path = "/v1/sessions/{id}",
    tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 200, body = SessionInfo, description = "The session"),
        Refusals,
    )
)]
pub async fn describe(
    State(app): State<Arc<App>>,
    Name(id): Name,
) -> Result<Json<SessionInfo>, ApiError> {
    let (description, is_busy) = app.sessions.describe(&id)?;
    let mut info = SessionInfo::new(&app, &id, &description);
    info.busy = is_busy;
    Ok(Json(info))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    id: String,
    deleted: bool,
}

/// Forget a session
#[utoipa::path(
    delete,
    path = "/v1/sessions/{id}",
    tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 200, body = Deleted, description = "The session is deleted"),
        Refusals,
    )
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    Name(id): Name,
) -> Result<Json<Deleted>, ApiError> {
    app.sessions.remove(&id)?;
    Ok(Json(Deleted { id, deleted: true }))
}

/// A text for a session.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AppendRequest {
    text: String,
}

impl Fields for AppendRequest {
    const FIELDS: &'static [&'static str] = &["text"];
    type Part = ();
}

/// Append a text
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/append",
    tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    request_body = AppendRequest,
    responses(
        (status = 200, body = SessionInfo, description = "The session afterwards"),
        Refusals,
    )
)]
pub async fn append(
    State(app): State<Arc<App>>,
    Name(id): Name,
    Body(request): Body<AppendRequest>,
) -> Result<Json<SessionInfo>, ApiError> {
    app.check_bytes("text", &[&request.text])?;
    app.sessions.check_memory()?;
    append_text(&app, &id, request.text).await.map(Json)
}

/// Do something with a session on another thread; its origin is returned too.
async fn with<T: Send + 'static>(
    app: &Arc<App>,
    id: &str,
    work: impl FnOnce(&mut Session) -> sllm_ort::Result<T> + Send + 'static,
) -> Result<(T, Origin), ApiError> {
    let mut lease: Lease = app.sessions.lease(id)?;
    let served = Arc::clone(app.model(Some(lease.model()))?);
    let origin = lease.origin();
    let work = move |_: &Model| {
        let session = lease.session_mut().ok_or_else(ApiError::internal)?;
        let done = work(session).map_err(|error| ApiError::of_session(&error, SESSION, origin));
        done.map(|done| (done, origin))
    };
    app.run(&served, work).await
}

/// Copy a session
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/fork",
    tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 200, body = SessionInfo, description = "The new session"),
        Refusals,
    )
)]
pub async fn fork(
    State(app): State<Arc<App>>,
    Name(id): Name,
    _body: NoFields,
) -> Result<Json<SessionInfo>, ApiError> {
    app.sessions.check_copy(&id)?;
    app.sessions.check_memory()?;
    let (fork, origin) = with(&app, &id, |session| session.fork()).await?;
    SessionInfo::of_new(&app, fork, origin).map(Json)
}

/// How many sentences to remove.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RewindRequest {
    /// Sentences to remove at the end; all if there are fewer.
    sentences: usize,
}

impl Fields for RewindRequest {
    const FIELDS: &'static [&'static str] = &["sentences"];
    type Part = ();
}

/// Forget the last sentences
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/rewind",
    tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    request_body = RewindRequest,
    responses(
        (status = 200, body = SessionInfo, description = "The session afterwards"),
        Refusals,
    )
)]
pub async fn rewind(
    State(app): State<Arc<App>>,
    Name(id): Name,
    Body(request): Body<RewindRequest>,
) -> Result<Json<SessionInfo>, ApiError> {
    let rewind = move |session: &mut Session| {
        session.rewind(request.sentences)?;
        Ok(Description::of(session))
    };
    let (description, _) = with(&app, &id, rewind).await?;
    Ok(Json(SessionInfo::new(&app, &id, &description)))
}
