//! The times that `run` prints.

use std::time::Duration;

use serde_json::json;

/// How long the parts of the work took.
pub struct Timings {
    pub load: Duration,
    pub prefill: Duration,
    pub generation: Duration,
    pub first_sentence: Option<Duration>,
}

impl Timings {
    fn tokens_per_second(&self, tokens: usize) -> f64 {
        tokens as f64 / self.generation.as_secs_f64()
    }

    pub fn json(&self, tokens: usize) -> serde_json::Value {
        let mut timings = json!({
            "load_ms": milliseconds(self.load),
            "prefill_ms": milliseconds(self.prefill),
            "generation_ms": milliseconds(self.generation),
            "tokens_per_second": (self.tokens_per_second(tokens) * 10.0).round() / 10.0,
        });
        if let Some(time) = self.first_sentence {
            timings["first_sentence_ms"] = milliseconds(time).into();
        }
        timings
    }

    pub fn text(&self, tokens: usize) -> String {
        let first = self
            .first_sentence
            .map(|time| format!(", first sentence after {:.0} ms", milliseconds(time)));
        format!(
            "load {:.0} ms, prompt {:.0} ms{}, {:.0} tokens/s",
            milliseconds(self.load),
            milliseconds(self.prefill),
            first.unwrap_or_default(),
            self.tokens_per_second(tokens),
        )
    }
}

/// Rounded to a microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
