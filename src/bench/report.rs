//! The figures of a benchmark.

use std::{path::Path, time::Duration};

use serde::Serialize;

use super::{Bench, round::Round};
use crate::{
    MatMulKernel,
    config::ModelKind,
    error::Result,
    fs::write_whole,
    plot::{Bars, bars},
};

/// The speed and memory of a model. Figures with a [`Spread`] are medians of the rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BenchReport {
    /// Name of the model.
    pub model: String,
    /// Its kind.
    pub kind: ModelKind,
    /// The variant in use.
    pub variant: String,
    /// The execution provider in use.
    pub provider: &'static str,
    /// Threads that work on one graph.
    pub threads: usize,
    /// How long an idle thread spins before it sleeps, in microseconds.
    pub spin_micros: u64,
    /// The kernel for 4-bit and 8-bit weights, if the variant has such weights.
    pub matmul_kernel: Option<&'static str>,
    /// Warm-up rounds, which were not measured.
    pub warmup: usize,
    /// Rounds that were measured.
    pub rounds: usize,
    /// Seed of the prompt.
    pub seed: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of a sentence; of a generated one the last is eos.
    pub sentence_tokens: usize,
    /// Sentences that were generated; in kind `opt`, the same number of tokens.
    pub sentences: usize,
    /// Continuations that were generated together; speeds are those of all of them.
    pub batch: usize,
    /// Time to load the bundle, in milliseconds; includes hashing its files.
    pub load_ms: f64,
    /// Prompt tokens per second of prefill.
    pub input_tokens_per_second: f64,
    /// Generated tokens per second, ends of sentences included, prefill excluded.
    pub output_tokens_per_second: f64,
    /// Generated tokens per second without the ends of sentences, which have no text.
    pub output_text_tokens_per_second: f64,
    /// Time from the start of prefill to the last token of the first sentence, in milliseconds.
    pub time_to_first_sentence_ms: f64,
    /// Lowest and highest figures of the rounds.
    pub spread: Spread,
    /// Bytes of the context's KV cache per token, with `sentence_tokens` tokens in a sentence.
    /// Exact: computed from the shapes. Absent for kind `svae`, which has no context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_bytes_per_token: Option<f64>,
    /// Measured memory per token: the least-squares slope of the process's memory over the tokens
    /// of contexts that are made one after another. Includes memory that is reserved for growth or
    /// kept by the allocator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_bytes_per_token: Option<f64>,
    /// Peak memory from before loading to the end of the warm-up, minus what the process held
    /// before. Absent where the system does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    #[serde(skip)]
    each_round: Vec<Speed>,
}

/// What one round tells, or how it compares with a round of the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Speed {
    input_tokens_per_second: f64,
    output_tokens_per_second: f64,
    time_to_first_sentence_ms: f64,
}

/// Lowest and highest figure of the rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Spread {
    /// Of [`BenchReport::input_tokens_per_second`].
    pub input_tokens_per_second: [f64; 2],
    /// Of [`BenchReport::output_tokens_per_second`].
    pub output_tokens_per_second: [f64; 2],
    /// Of [`BenchReport::time_to_first_sentence_ms`].
    pub time_to_first_sentence_ms: [f64; 2],
}

/// A model's figures divided by those of its baseline.
///
/// Figures with a [`Spread`] are medians of the ratios of single rounds, each to the baseline's
/// round of the same number: if rounds alternate, a machine that is slow for a while slows both
/// models.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Ratios {
    /// Above 1: faster than the baseline.
    pub input_tokens_per_second: f64,
    /// Above 1: faster than the baseline.
    pub output_tokens_per_second: f64,
    /// Above 1: faster than the baseline.
    pub output_text_tokens_per_second: f64,
    /// Below 1: sooner than the baseline.
    pub time_to_first_sentence_ms: f64,
    /// Lowest and highest ratio of the rounds.
    pub spread: Spread,
    /// Below 1: smaller than the baseline's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_bytes_per_token: Option<f64>,
    /// Below 1: smaller than the baseline's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_bytes_per_token: Option<f64>,
    /// Below 1: smaller than the baseline's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<f64>,
}

impl BenchReport {
    pub(super) fn new(bench: &Bench) -> Option<Self> {
        let (model, workload) = (&bench.model, &bench.workload);
        let config = model.config();
        let per_second = |count: usize, time: Duration| count as f64 / time.as_secs_f64();
        let speed = |round: &Round| Speed {
            input_tokens_per_second: per_second(
                workload.batch * workload.prompt_tokens,
                round.prefill,
            ),
            output_tokens_per_second: per_second(
                workload.batch * workload.new_tokens(),
                round.generation,
            ),
            time_to_first_sentence_ms: (round.prefill + round.first_sentence).as_secs_f64() * 1e3,
        };
        let each_round: Vec<Speed> = bench.rounds.iter().map(speed).collect();
        let (median, spread) = summary(&each_round)?;
        // Only a sentence-level model spends tokens on the ends of sentences, and only its cache
        // has one entry for a whole sentence.
        let length = workload.sentence_tokens as f64;
        let (text_share, tokens_per_entry) = match config.kind {
            ModelKind::Opt => (1.0, 1.0),
            _ => ((length - 1.0) / length, length),
        };
        Some(Self {
            model: config.name.clone(),
            kind: config.kind,
            variant: model.variant().to_owned(),
            provider: model.provider().name(),
            threads: model.threads(),
            spin_micros: model.spinning().as_micros() as u64,
            matmul_kernel: model.matmul_kernel().map(MatMulKernel::name),
            warmup: bench.options.warmup,
            rounds: bench.rounds.len(),
            seed: bench.options.seed,
            prompt_tokens: workload.prompt_tokens,
            sentence_tokens: workload.sentence_tokens,
            sentences: workload.sentences,
            batch: workload.batch,
            load_ms: bench.load.as_secs_f64() * 1e3,
            input_tokens_per_second: median.input_tokens_per_second,
            output_tokens_per_second: median.output_tokens_per_second,
            output_text_tokens_per_second: median.output_tokens_per_second * text_share,
            time_to_first_sentence_ms: median.time_to_first_sentence_ms,
            spread,
            kv_bytes_per_token: model
                .kv_bytes(None)
                .ok()
                .and_then(|bytes| bytes.of_a_context_entry(config.kind))
                .map(|bytes| bytes / tokens_per_entry),
            measured_bytes_per_token: bench.memory_slope,
            peak_memory_bytes: bench.peak_memory_bytes,
            each_round,
        })
    }

    /// Divide these figures by those of `baseline`; `None` if the numbers of rounds differ.
    #[must_use]
    pub fn ratios(&self, baseline: &Self) -> Option<Ratios> {
        if self.rounds != baseline.rounds {
            return None;
        }
        let pairs = self.each_round.iter().zip(&baseline.each_round);
        let (median, spread) = summary(
            &pairs
                .map(|(own, other)| own.over(other))
                .collect::<Vec<_>>(),
        )?;
        let text_share =
            |report: &Self| report.output_text_tokens_per_second / report.output_tokens_per_second;
        let ratio = |figure: fn(&Self) -> Option<f64>| {
            let (own, other) = figure(self).zip(figure(baseline))?;
            (other > 0.0).then_some(own / other)
        };
        Some(Ratios {
            input_tokens_per_second: median.input_tokens_per_second,
            output_tokens_per_second: median.output_tokens_per_second,
            output_text_tokens_per_second: median.output_tokens_per_second * text_share(self)
                / text_share(baseline),
            time_to_first_sentence_ms: median.time_to_first_sentence_ms,
            spread,
            kv_bytes_per_token: ratio(|report| report.kv_bytes_per_token),
            measured_bytes_per_token: ratio(|report| report.measured_bytes_per_token),
            peak_memory_bytes: ratio(|report| report.peak_memory_bytes.map(|bytes| bytes as f64)),
        })
    }
}

impl Speed {
    fn over(&self, baseline: &Self) -> Self {
        Self {
            input_tokens_per_second: self.input_tokens_per_second
                / baseline.input_tokens_per_second,
            output_tokens_per_second: self.output_tokens_per_second
                / baseline.output_tokens_per_second,
            time_to_first_sentence_ms: self.time_to_first_sentence_ms
                / baseline.time_to_first_sentence_ms,
        }
    }
}

/// Medians and ends of all rounds; `None` if there are none.
fn summary(rounds: &[Speed]) -> Option<(Speed, Spread)> {
    let sorted = |figure: fn(&Speed) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures
    };
    let input = sorted(|round| round.input_tokens_per_second);
    let output = sorted(|round| round.output_tokens_per_second);
    let first = sorted(|round| round.time_to_first_sentence_ms);
    let median = Speed {
        input_tokens_per_second: median(&input)?,
        output_tokens_per_second: median(&output)?,
        time_to_first_sentence_ms: median(&first)?,
    };
    let spread = Spread {
        input_tokens_per_second: ends(&input)?,
        output_tokens_per_second: ends(&output)?,
        time_to_first_sentence_ms: ends(&first)?,
    };
    Some((median, spread))
}

/// Write a chart that compares the speed and memory of models to an SVG file.
///
/// The file is written whole or not at all.
///
/// # Errors
/// [`Error::Write`](crate::Error::Write).
pub fn write_svg(reports: &[BenchReport], path: impl AsRef<Path>) -> Result<()> {
    let column = |figure: fn(&BenchReport) -> Option<f64>| -> Vec<(String, f64)> {
        let name = |report: &BenchReport| format!("{} {}", report.model, report.variant);
        let bar = |report: &BenchReport| Some((name(report), figure(report)?));
        reports.iter().filter_map(bar).collect()
    };
    let speed = column(|report| Some(report.output_tokens_per_second));
    let memory = column(|report| report.kv_bytes_per_token.map(|bytes| bytes / 1024.0));
    let chart = |title, value_axis, bars| Bars {
        title,
        label_axis: "model",
        value_axis,
        bars,
    };
    let charts = [
        chart("Generation", "tokens/s", &*speed),
        chart("KV cache", "KiB per token of the context", &*memory),
    ];
    write_whole(path.as_ref(), |file| {
        file.write_all(bars(&charts)?.as_bytes())
    })
}

/// The middle of sorted figures, the mean of the two in the middle of an even number.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

fn ends(sorted: &[f64]) -> Option<[f64; 2]> {
    Some([*sorted.first()?, *sorted.last()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_in_pairs() {
        let round = |speed| Speed {
            input_tokens_per_second: 2.0 * speed,
            output_tokens_per_second: speed,
            time_to_first_sentence_ms: 1.0 / speed,
        };
        assert_eq!(summary(&[]), None);
        // The machine was three times faster in the middle.
        let own = [6.0, 18.0, 6.0].map(round);
        let other = [2.0, 6.0, 3.0].map(round);
        let pairs: Vec<Speed> = own.iter().zip(&other).map(|(a, b)| a.over(b)).collect();
        let (median, spread) = summary(&pairs).unwrap();
        assert_eq!(median.output_tokens_per_second, 3.0);
        assert_eq!(spread.input_tokens_per_second, [2.0, 3.0]);
        assert!((median.time_to_first_sentence_ms - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[5.0]), Some(5.0));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
        assert_eq!(ends(&[1.0, 2.0, 9.0]), Some([1.0, 9.0]));
    }
}
