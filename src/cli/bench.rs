//! `bench`: speed and memory of models, measured in turn.

use std::{
    path::{Path, PathBuf},
    thread,
};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use sllm_ort::{
    bench::{Bench, BenchOptions, BenchReport, Ratios, write_svg},
    library_info,
};

use super::{ModelArgs, output, pass_warnings, progress};

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Further bundles to measure in turn with the model, in the variant of the model
    also: Vec<PathBuf>,
    /// Bundle to measure in turn with the models, and to compare them with
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
    /// Draw speed and memory into an SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let variant = args.model.variant.as_deref();
    let mut benches = vec![args.load(&args.model.bundle.dir()?, variant)?];
    for dir in &args.also {
        benches.push(args.load(dir, variant)?);
    }
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
    let (models, baseline) = match &args.baseline {
        Some(_) => (&reports[..reports.len() - 1], reports.last()),
        None => (&reports[..], None),
    };
    if args.model.is_json() {
        for model in models {
            output::json(&line(model, baseline)?)?;
        }
    } else {
        for line in output::table(&table(&reports, baseline)) {
            output::line(&line)?;
        }
    }
    // Last, so that a drawing that cannot be written does not cost what was measured.
    if let Some(path) = &args.svg {
        write_svg(&reports, path)?;
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

fn line(model: &BenchReport, baseline: Option<&BenchReport>) -> anyhow::Result<serde_json::Value> {
    let mut line = serde_json::to_value(model)?;
    if let Some(baseline) = baseline {
        line["baseline"] = serde_json::to_value(baseline)?;
        line["ratios"] = serde_json::to_value(model.ratios(baseline))?;
    }
    line["machine"] = json!({
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "processors": thread::available_parallelism().map(usize::from).ok(),
        "onnxruntime": library_info().map(|library| library.build.clone()),
        "version": env!("CARGO_PKG_VERSION"),
    });
    Ok(line)
}

/// Rows of figures with a column for each model, then of their ratios to the baseline's.
fn table(reports: &[BenchReport], baseline: Option<&BenchReport>) -> Vec<output::Row> {
    let mut rows = Vec::new();
    let mut row = |name: &str, cell: &dyn Fn(&BenchReport) -> Option<String>| {
        rows.push((name.to_owned(), reports.iter().map(cell).collect()));
    };
    row("", &|r| Some(format!("{} {}", r.model, r.variant)));
    row("threads", &|r| Some(r.threads.to_string()));
    row("load, ms", &|r| Some(format!("{:.0}", r.load_ms)));
    row("input tokens/s", &|r| {
        Some(spread(
            r.input_tokens_per_second,
            r.spread.input_tokens_per_second,
        ))
    });
    row("output tokens/s", &|r| {
        Some(spread(
            r.output_tokens_per_second,
            r.spread.output_tokens_per_second,
        ))
    });
    row("  without ends of sentences", &|r| {
        Some(format!("{:.1}", r.output_text_tokens_per_second))
    });
    row("first sentence, ms", &|r| {
        Some(spread(
            r.time_to_first_sentence_ms,
            r.spread.time_to_first_sentence_ms,
        ))
    });
    row("KV bytes/token", &|r| {
        r.kv_bytes_per_token.map(|bytes| format!("{bytes:.0}"))
    });
    row("measured bytes/token", &|r| {
        r.measured_bytes_per_token
            .map(|bytes| format!("{bytes:.0}"))
    });
    row("peak memory, MiB", &|r| {
        let bytes = r.peak_memory_bytes?;
        Some(format!("{:.0}", bytes as f64 / (1 << 20) as f64))
    });
    if let Some(baseline) = baseline {
        type Ratio = fn(&Ratios) -> Option<f64>;
        let ratios: [(&str, Ratio); 6] = [
            ("input tokens/s", |r| Some(r.input_tokens_per_second)),
            ("output tokens/s", |r| Some(r.output_tokens_per_second)),
            ("first sentence", |r| Some(r.time_to_first_sentence)),
            ("KV bytes/token", |r| r.kv_bytes_per_token),
            ("measured bytes/token", |r| r.measured_bytes_per_token),
            ("peak memory", |r| r.peak_memory_bytes),
        ];
        row(
            &format!("over {}", baseline.model),
            &|_| Some(String::new()),
        );
        for (name, ratio) in ratios {
            row(&format!("  {name}"), &|r| {
                ratio(&r.ratios(baseline)).map(|ratio| format!("{ratio:.3}"))
            });
        }
    }
    rows
}

fn spread(median: f64, [low, high]: [f64; 2]) -> String {
    format!("{median:.1} ({low:.1} to {high:.1})")
}
