//! Counters for Prometheus.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the times, in seconds.
const BOUNDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// What was counted since the server was started.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    request_seconds: Histogram,
    first_sentence_seconds: Histogram,
    prefill_seconds: Histogram,
    step_seconds: Histogram,
    pub prompt_tokens: AtomicU64,
    pub tokens: AtomicU64,
    pub sentences: AtomicU64,
    pub cancelled: AtomicU64,
    pub failed: AtomicU64,
}

/// What holds at the moment, which others know.
pub struct Gauges {
    pub models: Vec<ModelGauges>,
    pub sessions: usize,
    pub session_bytes: usize,
    pub ready: bool,
}

/// What holds of a model at the moment.
pub struct ModelGauges {
    pub name: String,
    pub rows: usize,
    pub waiting: usize,
    pub load: Duration,
}

/// A time that is measured.
#[derive(Clone, Copy)]
pub enum Timer {
    Request,
    FirstSentence,
    Prefill,
    Step,
}

impl Metrics {
    pub fn count_request(&self, endpoint: &str, status: u16) {
        let mut requests = self.requests();
        *requests.entry((endpoint.to_owned(), status)).or_default() += 1;
    }

    pub fn time(&self, timer: Timer, time: Duration) {
        match timer {
            Timer::Request => &self.request_seconds,
            Timer::FirstSentence => &self.first_sentence_seconds,
            Timer::Prefill => &self.prefill_seconds,
            Timer::Step => &self.step_seconds,
        }
        .observe(time);
    }

    fn requests(&self) -> MutexGuard<'_, BTreeMap<(String, u16), u64>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All figures in Prometheus' text format.
    pub fn text(&self, gauges: &Gauges) -> Result<String, fmt::Error> {
        let mut out = String::new();
        head(
            &mut out,
            "requests_total",
            "counter",
            "Requests by endpoint and status, 499 where the client left before the answer.",
        )?;
        for ((endpoint, status), count) in self.requests().iter() {
            writeln!(
                out,
                "sllm_requests_total{{endpoint={endpoint:?},status=\"{status}\"}} {count}"
            )?;
        }
        for (name, help, histogram) in [
            (
                "request_seconds",
                "Time to the head of the answer.",
                &self.request_seconds,
            ),
            (
                "time_to_first_sentence_seconds",
                "Time from a request to its first sentence.",
                &self.first_sentence_seconds,
            ),
            (
                "prefill_seconds",
                "Time to append a prompt, steps of other rows included.",
                &self.prefill_seconds,
            ),
            (
                "step_seconds",
                "Time of a step: one sentence for each row.",
                &self.step_seconds,
            ),
        ] {
            histogram.write(&mut out, name, help)?;
        }
        for (name, help, count) in [
            (
                "prompt_tokens_total",
                "Tokens of prompts.",
                &self.prompt_tokens,
            ),
            ("generated_tokens_total", "Output tokens.", &self.tokens),
            (
                "generated_sentences_total",
                "Generated sentences.",
                &self.sentences,
            ),
            (
                "cancelled_rows_total",
                "Rows whose client left or whose time was over.",
                &self.cancelled,
            ),
            (
                "failed_rows_total",
                "Rows that ended with an error.",
                &self.failed,
            ),
        ] {
            head(&mut out, name, "counter", help)?;
            writeln!(out, "sllm_{name} {}", count.load(Ordering::Relaxed))?;
        }
        gauges.write(&mut out)?;
        Ok(out)
    }
}

impl Gauges {
    fn write(&self, out: &mut String) -> fmt::Result {
        type Figure = (&'static str, &'static str, fn(&ModelGauges) -> f64);
        let figures: [Figure; 3] = [
            ("batch_rows", "Texts that are continued or read.", |model| {
                model.rows as f64
            }),
            ("queue_depth", "Texts that wait.", |model| {
                model.waiting as f64
            }),
            ("model_load_seconds", "Time to load the model.", |model| {
                model.load.as_secs_f64()
            }),
        ];
        for (name, help, figure) in figures {
            head(out, name, "gauge", help)?;
            for model in &self.models {
                writeln!(
                    out,
                    "sllm_{name}{{model={:?}}} {}",
                    model.name,
                    figure(model)
                )?;
            }
        }
        for (name, help, value) in [
            ("sessions", "Sessions held.", self.sessions),
            (
                "session_bytes",
                "Memory of the sessions.",
                self.session_bytes,
            ),
            (
                "ready",
                "Whether requests are taken.",
                usize::from(self.ready),
            ),
        ] {
            head(out, name, "gauge", help)?;
            writeln!(out, "sllm_{name} {value}")?;
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP sllm_{name} {help}\n# TYPE sllm_{name} {kind}")
}

/// How many times were up to each bound.
#[derive(Default)]
struct Histogram {
    counts: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        for (bound, count) in BOUNDS.iter().zip(&self.counts) {
            if seconds <= *bound {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, help: &str) -> fmt::Result {
        head(out, name, "histogram", help)?;
        for (bound, count) in BOUNDS.iter().zip(&self.counts) {
            let count = count.load(Ordering::Relaxed);
            writeln!(out, "sllm_{name}_bucket{{le=\"{bound}\"}} {count}")?;
        }
        let count = self.count.load(Ordering::Relaxed);
        let sum = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        writeln!(out, "sllm_{name}_bucket{{le=\"+Inf\"}} {count}")?;
        writeln!(out, "sllm_{name}_sum {sum}\nsllm_{name}_count {count}")
    }
}
