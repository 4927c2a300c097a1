//! `POST /v1/chat/completions`.

mod messages;

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    answer::{Answered, Piece, Usage},
    app::{App, new_id, unix_seconds},
    body::{Body, Fields, Neutral, Unsupported},
    completions::{choices, submit},
    error::{ApiError, library::MESSAGES},
    json::Object,
    options::{Generation, StreamOptions},
    prompts::Texts,
    refusals::Refusals,
    sse::{self, Gone, Writer},
};

use messages::Message;

/// Messages to continue. The model's chat template turns them into a text; without a template,
/// their texts are joined by line breaks.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChatRequest {
    /// May be left out where one model is served.
    model: Option<String>,
    #[schema(value_type = Vec<Message>)]
    messages: Vec<Object<Message>>,
    /// The newer name of `max_tokens`.
    max_completion_tokens: Option<usize>,
    /// Number of continuations.
    #[schema(minimum = 1, maximum = 64)]
    n: Option<usize>,
    /// Answer in pieces: server-sent events, the last one `[DONE]`.
    stream: Option<bool>,
    #[schema(value_type = Option<StreamOptions>)]
    stream_options: Option<Object<StreamOptions>>,
    /// Not used.
    #[allow(dead_code)]
    user: Option<String>,
    /// Not used.
    #[allow(dead_code)]
    safety_identifier: Option<String>,
    /// Not used.
    #[allow(dead_code)]
    prompt_cache_key: Option<String>,
    #[serde(flatten)]
    generation: Generation,
}

impl Fields for ChatRequest {
    const FIELDS: &'static [&'static str] = &[
        "model",
        "messages",
        "max_completion_tokens",
        "n",
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "prompt_cache_key",
    ];
    const UNSUPPORTED: &'static [(&'static str, Neutral)] = &[
        ("logprobs", Neutral::False),
        ("top_logprobs", Neutral::Zero),
        ("logit_bias", Neutral::Empty),
        ("presence_penalty", Neutral::Zero),
        ("frequency_penalty", Neutral::Zero),
        ("tools", Neutral::Empty),
        ("tool_choice", Neutral::Word("none")),
        ("parallel_tool_calls", Neutral::Bool),
        ("functions", Neutral::Empty),
        ("function_call", Neutral::Word("none")),
        ("response_format", Neutral::Word("text")),
        ("modalities", Neutral::List("text")),
        ("audio", Neutral::Null),
        ("prediction", Neutral::Null),
        ("reasoning_effort", Neutral::Null),
        ("verbosity", Neutral::Null),
        ("web_search_options", Neutral::Null),
        ("service_tier", Neutral::OneOf(&["auto", "default"])),
        ("store", Neutral::False),
        ("metadata", Neutral::Empty),
    ];
    const UNSUPPORTED_WITHIN: &'static [(&'static str, Unsupported)] = &[
        (MESSAGES, Message::UNSUPPORTED),
        ("stream_options", StreamOptions::UNSUPPORTED),
    ];
    type Part = Generation;
}

/// Continuations; as a stream, pieces of them with `delta` in place of `message`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatCompletion {
    id: String,
    /// `chat.completion`, or `chat.completion.chunk` in a stream.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    model: String,
    choices: Vec<ChatChoice>,
    /// Null in the pieces of a stream that ends with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    usage: Option<Option<Usage>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ChatChoice {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Said>,
    /// Always null.
    logprobs: Option<()>,
    /// `stop`: the text is over, or a stop text occurred. `length`: a limit was reached. Null in
    /// all pieces but the last.
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

/// Continue the texts of messages
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "OpenAI",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The continuations; pieces of them as a stream",
         content((ChatCompletion = "application/json"), (ChatCompletion = "text/event-stream"))),
        Refusals,
    )
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Body(mut request): Body<ChatRequest>,
) -> Result<Response, ApiError> {
    let served = app.model(request.model.as_deref())?;
    let stream = request.stream.unwrap_or(false);
    let include_usage = StreamOptions::usage(request.stream_options.as_ref(), stream)?;
    let n = choices(request.n, served)?;
    let prompt = Texts::one(MESSAGES, messages::prompt(&request.messages, served)?);
    if let Some(max_tokens) = request.max_completion_tokens
        && request.generation.max_tokens.replace(max_tokens).is_some()
    {
        return Err(ApiError::invalid(
            "max_tokens",
            "max_tokens is the older name of max_completion_tokens: send one of them",
        ));
    }
    let events = submit(&app, served, &prompt, n, request.generation)?;
    let answered = Answered::begin(events, n).await?;
    let form = Form {
        id: new_id("chatcmpl"),
        created: unix_seconds(),
        model: served.name().to_owned(),
        include_usage,
    };
    if stream {
        return Ok(sse::stream(|writer| write(writer, answered, form, n)));
    }
    let (answers, usage) = answered.collect(n).await?;
    let choices = answers.into_iter().enumerate();
    let choices = choices.map(|(index, answer)| ChatChoice {
        index,
        message: Some(Said {
            role: Some("assistant"),
            content: Some(answer.text),
        }),
        delta: None,
        logprobs: None,
        finish_reason: Some(answer.end.openai()),
    });
    let whole = form.completion("chat.completion", choices.collect(), Some(Some(usage)));
    Ok(Json(whole).into_response())
}

/// What all pieces of an answer have.
struct Form {
    id: String,
    created: u64,
    model: String,
    /// Whether a stream ends with the usage.
    include_usage: bool,
}

impl Form {
    fn completion(
        &self,
        object: &'static str,
        choices: Vec<ChatChoice>,
        usage: Option<Option<Usage>>,
    ) -> ChatCompletion {
        ChatCompletion {
            id: self.id.clone(),
            object,
            created: self.created,
            model: self.model.clone(),
            choices,
            usage,
        }
    }

    fn piece(&self, index: usize, delta: Said, end: Option<&'static str>) -> ChatCompletion {
        let choice = ChatChoice {
            index,
            message: None,
            delta: Some(delta),
            logprobs: None,
            finish_reason: end,
        };
        self.completion(
            "chat.completion.chunk",
            vec![choice],
            self.include_usage.then_some(None),
        )
    }
}

async fn write(writer: Arc<Writer>, answered: Answered, form: Form, n: usize) -> Result<(), Gone> {
    for index in 0..n {
        let first = Said {
            role: Some("assistant"),
            content: Some(String::new()),
        };
        writer.json(&form.piece(index, first, None)).await?;
    }
    let piece = |piece| match piece {
        Piece::Text(index, text) => {
            let delta = Said {
                role: None,
                content: Some(text),
            };
            form.piece(index, delta, None)
        }
        Piece::End(index, end) => form.piece(index, Said::default(), Some(end.openai())),
    };
    let usage = |usage| form.completion("chat.completion.chunk", Vec::new(), Some(Some(usage)));
    answered
        .write(&writer, piece, form.include_usage.then_some(usage))
        .await
}
