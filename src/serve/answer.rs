//! Combining the events of a request into choices.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    error::ApiError,
    job::{End, Event, Events},
    sse::{Gone, Writer},
};

/// Tokens of a request and its answer.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Usage {
    /// Tokens of the prompts, bos of each sentence included.
    pub prompt_tokens: usize,
    /// Output tokens, ends of sentences included.
    pub completion_tokens: usize,
    pub total_tokens: usize,
}

/// What was generated for a choice.
#[derive(Debug)]
pub struct Choice {
    pub text: String,
    pub end: End,
}

/// A piece of an answer.
pub enum Piece {
    Text(usize, String),
    End(usize, End),
}

/// The events of a request whose prompts were all accepted so far.
pub struct Answered {
    events: Events,
    /// Events that were looked at before.
    first: Option<(usize, Event)>,
    usage: Usage,
    choices_of_prompt: usize,
}

impl Answered {
    /// Wait until the first job has begun, so that a refusal can be the status of the answer.
    pub async fn begin(mut events: Events, choices_of_prompt: usize) -> Result<Self, ApiError> {
        let first = match events.next().await {
            Some((_, Event::Failed(error))) => return Err(error),
            None => return Err(ApiError::internal()),
            first => first,
        };
        Ok(Self {
            events,
            first,
            usage: Usage::default(),
            choices_of_prompt,
        })
    }

    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<Result<Piece, ApiError>> {
        loop {
            let event = match self.first.take() {
                Some(first) => Some(first),
                None => self.events.next().await,
            };
            let (choice, event) = event?;
            match event {
                // The prompt of several choices counts once.
                Event::Started { tokens, .. } if choice % self.choices_of_prompt == 0 => {
                    self.usage.prompt_tokens += tokens;
                }
                Event::Started { .. } | Event::Described(_) => {}
                Event::Text(text) => return Some(Ok(Piece::Text(choice, text))),
                Event::Sentence(sentence, _) => {
                    self.usage.completion_tokens += sentence.token_ids.len();
                }
                Event::Ended(end) => return Some(Ok(Piece::End(choice, end))),
                Event::Failed(error) => return Some(Err(error)),
            }
        }
    }

    fn usage(&self) -> Usage {
        let Usage {
            prompt_tokens,
            completion_tokens,
            ..
        } = self.usage;
        Usage {
            total_tokens: prompt_tokens + completion_tokens,
            ..self.usage
        }
    }

    /// Write all pieces in the form of an API, and the usage if there is a form for it.
    pub async fn write<T: Serialize>(
        mut self,
        writer: &Writer,
        piece_form: impl Fn(Piece) -> T,
        usage_form: Option<impl FnOnce(Usage) -> T>,
    ) -> Result<(), Gone> {
        while let Some(piece) = self.next().await {
            match piece {
                Ok(piece) => writer.json(&piece_form(piece)).await?,
                Err(error) => return writer.error(&error).await,
            }
        }
        if let Some(form) = usage_form {
            writer.json(&form(self.usage())).await?;
        }
        writer.done().await
    }

    /// All choices, at their ends.
    pub async fn collect(mut self, choices: usize) -> Result<(Vec<Choice>, Usage), ApiError> {
        let none = || Choice {
            text: String::new(),
            end: End::ShutDown,
        };
        let mut collected: Vec<Choice> = (0..choices).map(|_| none()).collect();
        let mut ended = 0;
        while let Some(piece) = self.next().await {
            match piece? {
                Piece::Text(choice, text) => {
                    if let Some(choice) = collected.get_mut(choice) {
                        choice.text.push_str(&text);
                    }
                }
                Piece::End(choice, end) => {
                    ended += 1;
                    if let Some(choice) = collected.get_mut(choice) {
                        choice.end = end;
                    }
                }
            }
        }
        match ended == choices {
            true => Ok((collected, self.usage())),
            false => Err(ApiError::internal()),
        }
    }
}
