//! `bench`: speed and memory of models, measured in turn.

mod memory;

use std::{
    path::{Path, PathBuf},
    thread,
};

use anyhow::Context as _;
use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::json;
use sllm_ort::{
    bench::{Bench, BenchOptions, BenchReport, Ratios, write_svg},
    library_info,
};

use super::{ModelArgs, models, output, output_path, pass_warnings, progress};
use memory::Memory;

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// More bundles to measure in alternating rounds, with the same --variant
    also: Vec<PathBuf>,
    /// Baseline bundle, measured in the same alternating rounds; the models are compared with it
    #[arg(long, value_name = "DIR")]
    baseline: Option<PathBuf>,
    /// Variant of the baseline [default: the first one made for the provider]
    #[arg(
        long,
        value_name = "NAME",
        requires = "baseline",
        value_parser = NonEmptyStringValueParser::new()
    )]
    baseline_variant: Option<String>,
    /// Length of the random prompt, in tokens
    #[arg(long, value_name = "N", default_value_t = 320)]
    prompt_tokens: usize,
    /// Tokens of each sentence; the last one of a generated sentence is eos
    #[arg(long, value_name = "N", default_value_t = 10)]
    sentence_tokens: usize,
    /// Sentences to generate; a token-level model generates the same number of tokens
    #[arg(long, value_name = "N", default_value_t = 16)]
    sentences: usize,
    /// Continuations that a model generates in one batch
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: usize,
    /// Continuations that the baseline generates in one batch
    #[arg(long, value_name = "N", default_value_t = 1, requires = "baseline")]
    baseline_batch: usize,
    /// Warm-up rounds, not measured
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup: usize,
    /// Measured rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    repetitions: u64,
    /// Seed of the prompt
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write a chart of speed and memory to an SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    if let Some(path) = &args.svg {
        output_path::check(path)?;
    }
    let bundles = args.bundles()?;
    let memory: Vec<Option<Memory>> = match bundles.len() {
        1 => vec![None],
        // Each in a process of its own: a second model would find room that the first gave back.
        _ => bundles
            .iter()
            .map(|bundle| args.memory_alone(bundle).map(Some))
            .collect::<anyhow::Result<_>>()?,
    };
    let mut benches = bundles
        .iter()
        .zip(&memory)
        .map(|(bundle, memory)| args.load(bundle, memory.is_none()))
        .collect::<anyhow::Result<Vec<Bench>>>()?;
    let bar = progress::rounds(args.repetitions)?;
    for _ in 0..args.repetitions {
        for bench in &mut benches {
            bench.round()?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let reports: Option<Vec<BenchReport>> = benches.iter().map(Bench::report).collect();
    let mut reports = reports.context("no round was measured")?;
    for (report, memory) in reports.iter_mut().zip(memory) {
        if let Some(memory) = memory {
            report.peak_memory_bytes = memory.peak_memory_bytes;
            report.measured_bytes_per_token = memory.measured_bytes_per_token;
        }
    }
    let (models, baseline) = match &args.baseline {
        Some(_) => (&reports[..reports.len() - 1], reports.last()),
        None => (&reports[..], None),
    };
    let printed = match args.model.is_json() {
        true => {
            let lines = models.iter().map(|model| line(model, baseline));
            let lines = lines.collect::<anyhow::Result<Vec<_>>>()?;
            lines.iter().try_for_each(output::json)
        }
        false => output::lines(&output::table(&table(&reports, baseline))),
    };
    // Last, so that a drawing that cannot be written does not cost what was measured.
    if let Some(path) = &args.svg {
        write_svg(&reports, path)?;
    }
    Ok(printed?)
}

/// A bundle to measure, and which variant of it.
pub struct Subject {
    dir: PathBuf,
    variant: Option<String>,
    batch: usize,
}

impl BenchArgs {
    fn bundles(&self) -> anyhow::Result<Vec<Subject>> {
        let subject = |dir: &Path, variant: &Option<String>, batch: usize| Subject {
            dir: dir.to_owned(),
            variant: variant.clone(),
            batch,
        };
        let model = self.model.bundle.dir()?;
        // Each is opened now, before any is measured.
        let find = |name: &PathBuf| models::open(Some(name)).map(|bundle| bundle.dir);
        let also = self
            .also
            .iter()
            .map(find)
            .collect::<anyhow::Result<Vec<_>>>()?;
        let baseline = self.baseline.as_ref().map(find).transpose()?;
        let models = [&model].into_iter().chain(&also);
        let models = models.map(|dir| subject(dir, &self.model.load.variant, self.batch));
        let baseline = baseline.iter();
        Ok(models
            .chain(baseline.map(|dir| subject(dir, &self.baseline_variant, self.baseline_batch)))
            .collect())
    }

    fn load(&self, subject: &Subject, memory: bool) -> anyhow::Result<Bench> {
        let options = BenchOptions::default()
            .with_prompt_tokens(self.prompt_tokens)?
            .with_sentence_tokens(self.sentence_tokens)?
            .with_sentences(self.sentences)?
            .with_batch(subject.batch)?
            .with_warmup(self.warmup)?
            .with_seed(self.seed)
            .with_memory(memory);
        let load_options = self.model.load.options_for(subject.variant.as_deref())?;
        let bench = Bench::load(&subject.dir, load_options, options)?;
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
    row("spinning, µs", &|r| Some(r.spin_micros.to_string()));
    if reports.iter().any(|r| r.matmul_kernel.is_some()) {
        row("matmul kernel", &|r| Some(r.matmul_kernel?.to_owned()));
    }
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
    row("KV cache/token", &|r| {
        r.kv_bytes_per_token.map(output::size)
    });
    row("measured memory/token", &|r| {
        r.measured_bytes_per_token.map(output::size)
    });
    row("peak memory", &|r| {
        r.peak_memory_bytes.map(|bytes| output::size(bytes as f64))
    });
    if let Some(baseline) = baseline {
        type Ratio = fn(&Ratios) -> Option<String>;
        let ratios: [(&str, Ratio); 6] = [
            ("input tokens/s", |r| {
                Some(ratio_spread(
                    r.input_tokens_per_second,
                    r.spread.input_tokens_per_second,
                ))
            }),
            ("output tokens/s", |r| {
                Some(ratio_spread(
                    r.output_tokens_per_second,
                    r.spread.output_tokens_per_second,
                ))
            }),
            ("first sentence", |r| {
                Some(ratio_spread(
                    r.time_to_first_sentence_ms,
                    r.spread.time_to_first_sentence_ms,
                ))
            }),
            ("KV cache/token", |r| r.kv_bytes_per_token.map(ratio)),
            ("measured memory/token", |r| {
                r.measured_bytes_per_token.map(ratio)
            }),
            ("peak memory", |r| r.peak_memory_bytes.map(ratio)),
        ];
        row(
            &format!("over {}", baseline.model),
            &|_| Some(String::new()),
        );
        for (name, cell) in ratios {
            row(&format!("  {name}"), &|r| cell(&r.ratios(baseline)?));
        }
    }
    rows
}

fn spread(median: f64, [low, high]: [f64; 2]) -> String {
    format!("{median:.1} ({low:.1} to {high:.1})")
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.3}")
}

fn ratio_spread(median: f64, [low, high]: [f64; 2]) -> String {
    format!("{median:.3} ({low:.3} to {high:.3})")
}
