//! `/v1/sessions...`: contexts that stay.

mod generate;
mod snapshot;

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use sllm_ort::{Appended, Model, Session};
use utoipa::ToSchema;

use super::{
    app::{App, Request},
    body::{Body, Fields},
    error::{ApiError, library::SESSION},
    job::Event,
    path::Name,
    prompt::Prompt,
    refusals::Refusals,
    store::{Lease, Origin},
};
pub use generate::*;
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

/// A session as it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionInfo {
    id: String,
    /// `session`
    object: &'static str,
    model: String,
    /// The texts of its sentences.
    sentences: Vec<String>,
    /// Tokens of its sentences, bos included.
    tokens: usize,
    /// How many more sentences (in kind `opt` tokens) fit.
    remaining: usize,
    /// Memory of its KV cache.
    memory_bytes: usize,
    /// Seconds after its last use in which it is forgotten.
    ttl: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    appended: Option<AppendedInfo>,
}

/// What was taken of a text.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppendedInfo {
    sentences: usize,
    /// Sentences that were cut short.
    truncated: usize,
    /// The end of the text that the model drops; mostly empty.
    dropped: String,
}

impl From<Appended> for AppendedInfo {
    fn from(appended: Appended) -> Self {
        Self {
            sentences: appended.sentences,
            truncated: appended.truncated,
            dropped: appended.dropped,
        }
    }
}

impl SessionInfo {
    fn new(app: &App, id: &str, session: &Session) -> Self {
        Self {
            id: id.to_owned(),
            object: "session",
            model: session.model().config().name.clone(),
            sentences: session.sentences().map(ToOwned::to_owned).collect(),
            tokens: session.tokens(),
            remaining: session.remaining(),
            memory_bytes: session.memory_bytes(),
            ttl: app.sessions.ttl().as_secs(),
            appended: None,
        }
    }

    /// Of a session that no request uses.
    fn of(app: &App, id: &str) -> Result<Self, ApiError> {
        let lease = app.sessions.lease(id)?;
        let session = lease.session().ok_or_else(ApiError::internal)?;
        Ok(Self::new(app, id, session))
    }
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
    let id = app.sessions.insert(session, Origin::Model)?;
    if text.is_empty() {
        return SessionInfo::of(&app, &id).map(Json);
    }
    let appended = append_text(&app, &id, text).await;
    if appended.is_err() {
        let _ = app.sessions.remove(&id);
    }
    appended.map(Json)
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
    let mut taken = None;
    while let Some((_, event)) = events.next().await {
        match event {
            Event::Started { appended, .. } => taken = Some(appended.into()),
            Event::Failed(error) => return Err(error),
            _ => {}
        }
    }
    let mut info = SessionInfo::of(app, id)?;
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
    SessionInfo::of(&app, &id).map(Json)
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
        (status = 200, body = Deleted, description = "It is forgotten"),
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
) -> Result<Json<SessionInfo>, ApiError> {
    app.sessions.check_copy(&id)?;
    app.sessions.check_memory()?;
    let (fork, origin) = with(&app, &id, |session| session.fork()).await?;
    let id = app.sessions.insert(fork, origin)?;
    SessionInfo::of(&app, &id).map(Json)
}

/// How far to go back.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RewindRequest {
    /// Sentences at the end to forget; all, if there are fewer.
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
    with(&app, &id, move |session| session.rewind(request.sentences)).await?;
    SessionInfo::of(&app, &id).map(Json)
}
