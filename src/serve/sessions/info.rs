//! Description of a session.

use serde::Serialize;
use sllm_ort::{Appended, Session};
use utoipa::ToSchema;

use super::super::{
    app::App,
    error::ApiError,
    store::{Description, Origin},
};

/// The state of a session.
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
    /// Seconds after its last use until it is deleted.
    ttl: u64,
    /// Whether another request uses the session; the other fields are then those before that
    /// request.
    pub(super) busy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) appended: Option<AppendedInfo>,
}

/// What was appended from a text.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppendedInfo {
    sentences: usize,
    /// Sentences that were truncated.
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
    pub(super) fn new(app: &App, id: &str, description: &Description) -> Self {
        Self {
            id: id.to_owned(),
            object: "session",
            model: description.model.clone(),
            sentences: description.sentences.clone(),
            tokens: description.tokens,
            remaining: description.remaining,
            memory_bytes: description.memory_bytes,
            ttl: app.sessions.ttl().as_secs(),
            busy: false,
            appended: None,
        }
    }

    /// Of a new session, which is the client's from now on.
    pub(super) fn of_new(app: &App, session: Session, origin: Origin) -> Result<Self, ApiError> {
        let session = app.sessions.insert(session, origin)?;
        let info = Self::new(app, session.id(), session.description());
        session.claim();
        Ok(info)
    }
}
