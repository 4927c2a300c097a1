//! The loop that continues contexts, one or several at a time.

mod limits;
mod logits_hook;
mod options;
mod output_tokens;
mod progress;
mod repeats;
mod rows;
mod sentences;
mod stop_text;
#[cfg(test)]
mod testing;
mod tokens;

use serde::{Deserialize, Serialize};
use tracing::{Span, debug_span, field};

pub use logits_hook::LogitsHook;
#[expect(deprecated)]
pub use options::WhenFull;
pub use options::{GenerateOptions, OverflowPolicy};
pub(crate) use output_tokens::OutputTokens;
pub(crate) use rows::{OnEvent, RowEvent, RowLoop};
pub(crate) use sentences::SentenceRows;
pub(crate) use tokens::TokenRows;

/// A generated sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sentence {
    /// Its index within this continuation, from 0.
    pub index: usize,
    /// Its text, with the white space that ends it.
    pub text: String,
    /// Its output tokens: without bos, with eos if it was generated.
    pub token_ids: Vec<u32>,
    /// Probability, before this sentence, that the text is over: from the stop head, or in kind
    /// `opt` of eos as the first token.
    pub stop_probability: f32,
    /// Log-probability of each output token, before penalties and masks; `None` unless
    /// [asked for](GenerateOptions::with_log_probabilities).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_probabilities: Option<Vec<f32>>,
}

/// A whole continuation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Continuation {
    /// Its sentences.
    pub sentences: Vec<Sentence>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// Why a continuation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The stop head predicted the end of the text; in kind `opt` eos was generated.
    Stop,
    /// The number of sentences asked for is reached.
    MaxSentences,
    /// The number of tokens asked for is reached; the last sentence may be cut.
    MaxTokens,
    /// The context holds as many sentences (in kind `opt` tokens) as the model allows.
    ContextFull,
    /// A stop text was generated.
    StopText,
    /// Its [`CancelHandle`](crate::CancelHandle) was cancelled.
    Cancelled,
    /// Its time limit has passed.
    TimeLimit,
}

impl FinishReason {
    /// The reason as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::MaxSentences => "max_sentences",
            Self::MaxTokens => "max_tokens",
            Self::ContextFull => "context_full",
            Self::StopText => "stop_text",
            Self::Cancelled => "cancelled",
            Self::TimeLimit => "time_limit",
        }
    }
}

/// The span of a step: of the sentence with this index, if there is one row.
fn step_span(rows: usize, index: usize) -> Span {
    match rows {
        1 => debug_span!("sentence", index, tokens = field::Empty),
        rows => debug_span!("sentences", rows, tokens = field::Empty),
    }
}
