//! `POST /v1/completions`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use sllm_ort::{Model, text::WhiteSpace};
use utoipa::ToSchema;

use super::{
    answer::{Answered, Piece, Usage},
    app::{App, Request, Served, new_id, unix_seconds},
    body::{Body, Fields, Neutral, Unsupported},
    error::ApiError,
    job::Events,
    json::Object,
    options::{Generation, StreamOptions},
    prompt::Prompt,
    prompts::{Prompts, Texts},
    refusals::Refusals,
    sse::{self, Gone, Writer},
};

/// Most choices of a prompt.
const MAX_CHOICES: usize = 64;

/// One text or several to continue.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CompletionRequest {
    /// May be left out where one model is served.
    model: Option<String>,
    /// The text to continue. Token ids are decoded to text.
    prompt: Prompts,
    /// Continuations of each prompt.
    #[schema(minimum = 1, maximum = 64)]
    n: Option<usize>,
    /// Put the prompt in front of its continuation.
    echo: Option<bool>,
    /// Answer in pieces: server-sent events, the last one `[DONE]`.
    stream: Option<bool>,
    #[schema(value_type = Option<StreamOptions>)]
    stream_options: Option<Object<StreamOptions>>,
    /// Not used.
    #[allow(dead_code)]
    user: Option<String>,
    #[serde(flatten)]
    generation: Generation,
}

impl Fields for CompletionRequest {
    const FIELDS: &'static [&'static str] = &[
        "model",
        "prompt",
        "n",
        "echo",
        "stream",
        "stream_options",
        "user",
    ];
    const UNSUPPORTED: &'static [(&'static str, Neutral)] = &[
        ("logprobs", Neutral::False),
        ("suffix", Neutral::Null),
        ("logit_bias", Neutral::Empty),
        ("presence_penalty", Neutral::Zero),
        ("frequency_penalty", Neutral::Zero),
    ];
    const UNSUPPORTED_WITHIN: &'static [(&'static str, Unsupported)] =
        &[("stream_options", StreamOptions::UNSUPPORTED)];
    type Part = Generation;
}

/// Continuations; as a stream, pieces of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Completion {
    id: String,
    /// `text_completion`
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    model: String,
    choices: Vec<CompletionChoice>,
    /// Null in the pieces of a stream that ends with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    usage: Option<Option<Usage>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CompletionChoice {
    index: usize,
    text: String,
    /// Always null.
    logprobs: Option<()>,
    /// `stop`: the text is over, or a stop text occurred. `length`: a limit was reached. Null in
    /// all pieces but the last.
    finish_reason: Option<&'static str>,
}

/// Continue texts
#[utoipa::path(
    post,
    path = "/v1/completions",
    tag = "OpenAI",
    request_body = CompletionRequest,
    responses(
        (status = 200, description = "The continuations; pieces of them as a stream",
         content((Completion = "application/json"), (Completion = "text/event-stream"))),
        Refusals,
    )
)]
pub async fn create(
    State(app): State<Arc<App>>,
    Body(request): Body<CompletionRequest>,
) -> Result<Response, ApiError> {
    let served = app.model(request.model.as_deref())?;
    let stream = request.stream.unwrap_or(false);
    let include_usage = StreamOptions::usage(request.stream_options.as_ref(), stream)?;
    let mut prompts = request.prompt.into_texts("prompt", &served.model)?;
    let n = choices(request.n, served)?;
    if stream && prompts.all.len() > 1 {
        // The first one alone would decide on the status.
        check_texts(&app, served, &prompts, n)?;
        let work = move |model: &Model| prompts.check(model).map(|()| prompts);
        prompts = app.run(served, work).await?;
    }
    let events = submit(&app, served, &prompts, n, request.generation)?;
    let answered = Answered::begin(events, n).await?;
    let form = Form {
        id: new_id("cmpl"),
        created: unix_seconds(),
        model: served.name().to_owned(),
        include_usage,
    };
    let prompts = prompts.all;
    let choices = prompts.len() * n;
    let echo = request.echo == Some(true);
    let echoes = prompts.into_iter().filter(|_| echo);
    let echoes = Echoes {
        prompts: echoes
            .map(|prompt| as_begun(&served.model, prompt))
            .collect(),
        n,
    };
    if stream {
        return Ok(sse::stream(|writer| write(writer, answered, form, echoes)));
    }
    let (answers, usage) = answered.collect(choices).await?;
    let choices = answers.into_iter().enumerate();
    let choices = choices.map(|(index, answer)| CompletionChoice {
        index,
        text: echoes.of(index).to_owned() + &answer.text,
        logprobs: None,
        finish_reason: Some(answer.end.openai()),
    });
    Ok(Json(form.completion(choices.collect(), Some(Some(usage)))).into_response())
}

/// The number of choices that is asked for.
pub fn choices(n: Option<usize>, served: &Served) -> Result<usize, ApiError> {
    let limit = served.max_texts()?;
    let n = n.unwrap_or(1);
    if (1..=limit.min(MAX_CHOICES)).contains(&n) {
        return Ok(n);
    }
    let message = match limit < MAX_CHOICES {
        true => format!(
            "n is {n}, allowed is 1 to {limit}: this server continues at most {limit} texts of a \
             request"
        ),
        false => format!("n is {n}, allowed is 1 to {MAX_CHOICES}"),
    };
    Err(ApiError::invalid("n", message))
}

/// Queue `n` continuations of each prompt.
pub fn submit(
    app: &App,
    served: &Served,
    texts: &Texts,
    n: usize,
    mut generation: Generation,
) -> Result<Events, ApiError> {
    check_texts(app, served, texts, n)?;
    generation.draw_seed();
    let options = (0..n).map(|choice| generation.options(&served.model, choice));
    let options = options.collect::<Result<Vec<_>, _>>()?;
    let prompts = texts.all.iter().enumerate();
    let prompts =
        prompts.map(|(index, text)| Prompt::new(&texts.name(index), text.clone(), options.len()));
    let requests = prompts.flat_map(|prompt| {
        options.iter().map(move |options| Request {
            home: None,
            prompt: Arc::clone(&prompt),
            options: Some(options.clone()),
        })
    });
    app.submit(served, requests.collect())
}

/// Refuse what could never be admitted.
fn check_texts(app: &App, served: &Served, prompts: &Texts, n: usize) -> Result<(), ApiError> {
    app.check_bytes(prompts.param(), &prompts.all)?;
    let limit = served.max_texts()?;
    let count = prompts.all.len();
    let message = match (count, count.saturating_mul(n) <= limit) {
        (0, _) => "the list of prompts is empty".to_owned(),
        (_, true) => return Ok(()),
        (_, false) => format!(
            "{count} prompts with n = {n} are too many, this server continues at most {limit} \
             texts of a request"
        ),
    };
    Err(ApiError::invalid(prompts.param(), message))
}

/// A prompt as it stands before its continuation.
fn as_begun(model: &Model, mut prompt: String) -> String {
    let separated = prompt.ends_with(char::is_whitespace);
    let canonical = model.bundle().segmentation.white_space == WhiteSpace::Canonical;
    if canonical && !separated {
        prompt.push(' ');
    }
    prompt
}

/// What stands before the choices.
struct Echoes {
    /// None, if no echo is asked for.
    prompts: Vec<String>,
    n: usize,
}

impl Echoes {
    fn of(&self, choice: usize) -> &str {
        let prompt = self.prompts.get(choice / self.n);
        prompt.map_or("", String::as_str)
    }
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
        choices: Vec<CompletionChoice>,
        usage: Option<Option<Usage>>,
    ) -> Completion {
        Completion {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.model.clone(),
            choices,
            usage,
        }
    }

    fn piece(&self, index: usize, text: String, finish_reason: Option<&'static str>) -> Completion {
        let choice = CompletionChoice {
            index,
            text,
            logprobs: None,
            finish_reason,
        };
        self.completion(vec![choice], self.include_usage.then_some(None))
    }
}

async fn write(
    writer: Arc<Writer>,
    answered: Answered,
    form: Form,
    echoes: Echoes,
) -> Result<(), Gone> {
    for index in 0..echoes.prompts.len() * echoes.n {
        let echo = echoes.of(index).to_owned();
        writer.json(&form.piece(index, echo, None)).await?;
    }
    drop(echoes);
    let piece = |piece| match piece {
        Piece::Text(index, text) => form.piece(index, text, None),
        Piece::End(index, end) => form.piece(index, String::new(), Some(end.openai())),
    };
    let usage = |usage| form.completion(Vec::new(), Some(Some(usage)));
    answered
        .write(&writer, piece, form.include_usage.then_some(usage))
        .await
}
