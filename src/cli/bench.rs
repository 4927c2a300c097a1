//! `bench`: speed and memory of a model, in turn with another one if asked.

use std::{
    path::{Path, PathBuf},
    thread,
};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use sllm_ort::{
    bench::{Bench, BenchOptions, BenchReport, Ratios},
    library_info,
};

use super::{ModelArgs, output, pass_warnings, progress};

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Bundle to measure in turn with the model
    #[arg(long, value_name = "DIR")]
    baseline: Option<PathBuf>,
    /// Variant of the baseline [default: the first one made for the provider]
    #[arg(long, value_name = "NAME", requires = "baseline")]
    baseline_variant: Option<String>,
    /// Tokens of the prompt, which are random
    #[arg(long, value_name = "N", default_value_t = 320)]
    prompt_tokens: usize,
    /// Tokens of each sentence; the last of a generated one is its end
    #[arg(long, value_name = "N", default_value_t = 10)]
    sentence_tokens: usize,
    /// Sentences to generate; a token-level model generates as many tokens
    #[arg(long, value_name = "N", default_value_t = 16)]
    sentences: usize,
    /// Rounds before those that count
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup: usize,
    /// Rounds that count
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    repetitions: u64,
    /// Seed of the prompt
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let mut benches = vec![args.load(&args.model.bundle.dir()?, args.model.variant.as_deref())?];
    if let Some(dir) = &args.baseline {
        benches.push(args.load(dir, args.baseline_variant.as_deref())?);
    }
    let bar = progress::rounds(args.repetitions)?;
    for _ in 0..args.repetitions {
        for bench in &mut benches {
            bench.round()?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let reports: Option<Vec<BenchReport>> = benches.iter().map(Bench::report).collect();
    let reports = reports.context("no round was measured")?;
    let (model, baseline) = (&reports[0], reports.get(1));
    let ratios = baseline.map(|baseline| model.ratios(baseline));
    if args.model.is_json() {
        let mut line = serde_json::to_value(model)?;
        if let (Some(baseline), Some(ratios)) = (baseline, &ratios) {
            line["baseline"] = serde_json::to_value(baseline)?;
            line["ratios"] = serde_json::to_value(ratios)?;
        }
        line["machine"] = machine();
        output::json(&line)?;
        return Ok(());
    }
    for line in output::table(&table(model, baseline, ratios.as_ref())) {
        output::line(&line)?;
    }
    Ok(())
}

impl BenchArgs {
    fn load(&self, dir: &Path, variant: Option<&str>) -> anyhow::Result<Bench> {
        let options = BenchOptions::default()
            .with_prompt_tokens(self.prompt_tokens)?
            .with_sentence_tokens(self.sentence_tokens)?
            .with_sentences(self.sentences)?
            .with_warmup(self.warmup)?
            .with_seed(self.seed);
        let bench = Bench::load(dir, self.model.load_options(variant)?, options)?;
        pass_warnings(bench.model());
        Ok(bench)
    }
}

fn machine() -> serde_json::Value {
    json!({
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "processors": thread::available_parallelism().map(usize::from).ok(),
        "onnxruntime": library_info().map(|library| library.build.clone()),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// Rows of a name, the model's figure, the baseline's, and the ratio.
fn table(
    model: &BenchReport,
    baseline: Option<&BenchReport>,
    ratios: Option<&Ratios>,
) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str,
                   figure: &dyn Fn(&BenchReport) -> Option<String>,
                   ratio: &dyn Fn(&Ratios) -> Option<f64>| {
        let figures = [Some(model), baseline].into_iter().flatten().map(figure);
        let figures: Vec<Option<String>> = figures.collect();
        if figures.iter().any(Option::is_some) {
            let shown = figures
                .into_iter()
                .map(|figure| figure.unwrap_or_else(|| "-".into()));
            let mut cells: Vec<String> = [name.to_owned()].into_iter().chain(shown).collect();
            let ratio = ratios.and_then(ratio);
            cells.extend(ratio.map(|ratio| format!("{ratio:.3}")));
            rows.push(cells);
        }
    };
    row("", &|r| Some(format!("{} {}", r.model, r.variant)), &|_| {
        None
    });
    row("threads", &|r| Some(r.threads.to_string()), &|_| None);
    row("load, ms", &|r| Some(format!("{:.0}", r.load_ms)), &|_| {
        None
    });
    row(
        "input tokens/s",
        &|r| {
            Some(spread(
                r.input_tokens_per_second,
                r.spread.input_tokens_per_second,
            ))
        },
        &|r| Some(r.input_tokens_per_second),
    );
    row(
        "output tokens/s",
        &|r| {
            Some(spread(
                r.output_tokens_per_second,
                r.spread.output_tokens_per_second,
            ))
        },
        &|r| Some(r.output_tokens_per_second),
    );
    row(
        "without ends of sentences",
        &|r| Some(format!("{:.1}", r.output_text_tokens_per_second)),
        &|r| Some(r.output_text_tokens_per_second),
    );
    row(
        "first sentence, ms",
        &|r| {
            Some(spread(
                r.time_to_first_sentence_ms,
                r.spread.time_to_first_sentence_ms,
            ))
        },
        &|r| Some(r.time_to_first_sentence),
    );
    row(
        "KV bytes/token",
        &|r| r.kv_bytes_per_token.map(|bytes| format!("{bytes:.0}")),
        &|r| r.kv_bytes_per_token,
    );
    row(
        "measured bytes/token",
        &|r| {
            r.measured_bytes_per_token
                .map(|bytes| format!("{bytes:.0}"))
        },
        &|r| r.measured_bytes_per_token,
    );
    row(
        "peak memory, MiB",
        &|r| {
            r.peak_memory_bytes
                .map(|bytes| format!("{:.0}", bytes as f64 / (1 << 20) as f64))
        },
        &|r| r.peak_memory_bytes,
    );
    rows
}

fn spread(median: f64, [low, high]: [f64; 2]) -> String {
    format!("{median:.1} ({low:.1} to {high:.1})")
}
