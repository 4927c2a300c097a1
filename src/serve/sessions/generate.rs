//! `POST /v1/sessions/{id}/generate`.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use sllm_ort::Sentence;
use utoipa::ToSchema;

use super::super::{
    app::{App, Request},
    body::{Body, Fields},
    error::{ApiError, library::SESSION},
    job::{End, Event, Events},
    options::Generation,
    path::Name,
    prompt::Prompt,
    refusals::Refusals,
    sse::{self, Gone, Writer},
};

/// How a session is continued.
#[derive(Debug, Deserialize, ToSchema)]
pub struct GenerateRequest {
    /// Answer in pieces, the default: server-sent events, the last one `[DONE]`.
    stream: Option<bool>,
    #[serde(flatten)]
    generation: Generation,
}

impl Fields for GenerateRequest {
    const FIELDS: &'static [&'static str] = &["stream"];
    type Part = Generation;
}

/// A piece of a continuation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Piece {
    /// Text of the sentence that is being generated. Text that may begin a stop text comes when it
    /// is clear that it does not, which may be in a later sentence.
    Text { text: String },
    /// A whole sentence, which is part of the session now.
    Sentence(SentenceInfo),
    /// The end.
    End {
        /// `stop`, `stop_text`, `max_sentences`, `max_tokens`, `context_full` or `shut_down`.
        finish_reason: &'static str,
        sentences: usize,
        tokens: usize,
        seed: Option<u64>,
    },
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SentenceInfo {
    index: usize,
    text: String,
    /// Output tokens: without bos, with eos if it was generated, and with those of a stop text that
    /// ended the sentence.
    token_ids: Vec<u32>,
    /// Probability, before this sentence, that the text is over.
    stop_probability: f32,
    /// Time since the sentence before it, or since the request.
    milliseconds: f64,
}

/// A continuation.
#[derive(Debug, Serialize, ToSchema)]
pub struct Continuation {
    sentences: Vec<SentenceInfo>,
    finish_reason: &'static str,
    tokens: usize,
    seed: Option<u64>,
}

/// Continue a session
#[utoipa::path(
    post,
    path = "/v1/sessions/{id}/generate",
    tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    request_body = GenerateRequest,
    responses(
        (status = 200, description = "Pieces of the continuation; as one answer without `stream`",
         content((Piece = "text/event-stream"), (Continuation = "application/json"))),
        Refusals,
    )
)]
pub async fn generate(
    State(app): State<Arc<App>>,
    Name(id): Name,
    Body(request): Body<GenerateRequest>,
) -> Result<Response, ApiError> {
    let arrived = Instant::now();
    app.sessions.check_memory()?;
    let lease = app.sessions.lease(&id)?;
    let served = Arc::clone(app.model(Some(lease.model()))?);
    let mut generation = request.generation;
    generation.draw_seed();
    let parts = Request {
        options: Some(generation.options(&served.model, 0)?),
        home: Some(lease),
        prompt: Prompt::new(SESSION, String::new(), 1),
    };
    let mut events = app.submit(&served, vec![parts])?;
    match events.next().await {
        Some((_, Event::Started { .. })) => {}
        Some((_, Event::Failed(error))) => return Err(error),
        _ => return Err(ApiError::internal()),
    }
    let progress = Progress {
        last: arrived,
        sentences: 0,
        tokens: 0,
        seed: generation.seed,
    };
    if request.stream.unwrap_or(true) {
        return Ok(sse::stream(|writer| write(writer, events, progress)));
    }
    collect(events, progress).await
}

/// How far a continuation is.
struct Progress {
    last: Instant,
    sentences: usize,
    tokens: usize,
    seed: Option<u64>,
}

impl Progress {
    fn sentence(&mut self, sentence: Sentence, at: Instant) -> SentenceInfo {
        let time = at.saturating_duration_since(self.last);
        self.last = at;
        self.sentences += 1;
        self.tokens += sentence.token_ids.len();
        SentenceInfo {
            index: sentence.index,
            text: sentence.text,
            token_ids: sentence.token_ids,
            stop_probability: sentence.stop_probability,
            milliseconds: (time.as_secs_f64() * 1e6).round() / 1e3,
        }
    }

    fn end(&self, end: End) -> Piece {
        Piece::End {
            finish_reason: end.as_str(),
            sentences: self.sentences,
            tokens: self.tokens,
            seed: self.seed,
        }
    }
}

async fn write(
    writer: Arc<Writer>,
    mut events: Events,
    mut progress: Progress,
) -> Result<(), Gone> {
    while let Some((_, event)) = events.next().await {
        let piece = match event {
            Event::Started { .. } | Event::Described(_) => continue,
            Event::Text(text) => Piece::Text { text },
            Event::Sentence(sentence, at) => Piece::Sentence(progress.sentence(sentence, at)),
            Event::Ended(end) => progress.end(end),
            Event::Failed(error) => return writer.error(&error).await,
        };
        writer.json(&piece).await?;
    }
    writer.done().await
}

async fn collect(mut events: Events, mut progress: Progress) -> Result<Response, ApiError> {
    let mut sentences = Vec::new();
    while let Some((_, event)) = events.next().await {
        match event {
            Event::Sentence(sentence, at) => sentences.push(progress.sentence(sentence, at)),
            Event::Ended(end) => {
                let whole = Continuation {
                    sentences,
                    finish_reason: end.as_str(),
                    tokens: progress.tokens,
                    seed: progress.seed,
                };
                return Ok(Json(whole).into_response());
            }
            Event::Failed(error) => return Err(error),
            _ => {}
        }
    }
    Err(ApiError::internal())
}
