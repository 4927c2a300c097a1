//! What `run` reports at the end of a continuation.

use serde_json::{Value, json};
use sllm_ort::{FinishReason, SamplingOptions, Session};

use super::timings::Timings;
use crate::cli::output;

/// A continuation that has ended.
pub struct Report<'r> {
    pub session: &'r Session,
    pub sampling: &'r SamplingOptions,
    pub prompt_sentences: usize,
    /// Sentences of the continuation.
    pub sentences: usize,
    /// Tokens of the continuation.
    pub tokens: usize,
    pub reason: FinishReason,
    pub timings: Timings,
}

impl Report<'_> {
    /// The last line of JSON; with `stats` it says where the graphs ran.
    pub fn json(&self, stats: bool) -> Value {
        let mut end = json!({
            "finish_reason": self.reason.as_str(),
            "prompt_sentences": self.prompt_sentences,
            "sentences": self.sentences,
            "tokens": self.tokens,
            "timings": self.timings.json(self.tokens),
        });
        // What draws the same again.
        if self.sampling.temperature() > 0.0 {
            end["seed"] = self.sampling.seed().into();
        }
        if stats {
            let model = self.session.model();
            end["provider"] = model.provider().name().into();
            end["nodes"] = output::provider_assignment(model);
        }
        end
    }

    /// The line of `--stats`.
    pub fn text(&self) -> String {
        let model = self.session.model();
        format!(
            "{}, {} on {} ({} of {} nodes), {}; {}; {} + {} sentences, {}; ended by {}; {}; KV caches {}",
            model.config().name,
            model.variant(),
            model.provider(),
            model.provider_assignment().of(model.provider()),
            model.provider_assignment().total(),
            output::count(model.threads(), "thread"),
            match self.sampling.temperature() {
                0.0 => "greedy".to_owned(),
                temperature => format!("temperature {temperature}, seed {}", self.sampling.seed()),
            },
            self.prompt_sentences,
            self.sentences,
            output::count(self.tokens, "token"),
            self.reason.as_str(),
            self.timings.text(self.tokens),
            output::size(self.session.memory_bytes() as f64),
        )
    }
}
