//! `eval`: measure a model on a text file, beside another one if asked.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use sllm_ort::{
    Model,
    eval::{EvalOptions, Evaluation, NextSentenceScore, evaluate},
};

use super::{ModelArgs, output, progress};

#[derive(Args, Debug)]
pub struct EvalArgs {
    /// Text file; a line `<|endoftext|>` ends a record, without one the file is one record
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Only the first N records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Bundle to measure beside the model
    #[arg(long, value_name = "DIR")]
    baseline: Option<PathBuf>,
    /// Variant of the baseline [default: the first one made for the provider]
    #[arg(long, value_name = "NAME", requires = "baseline")]
    baseline_variant: Option<String>,
    /// Keep the progress in a file, and go on from there if it exists; removed in the end
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &EvalArgs) -> anyhow::Result<()> {
    let model = args.model.load()?;
    let Some(dir) = &args.baseline else {
        let found = measure(&model, args, args.state.as_deref())?;
        return print(args, &[found]);
    };
    let baseline = args
        .model
        .load_bundle(dir, args.baseline_variant.as_deref())?;
    let baseline_state = args.state.as_deref().map(beside);
    let found = [
        measure(&model, args, args.state.as_deref())?,
        measure(&baseline, args, baseline_state.as_deref())?,
    ];
    for state in args.state.iter().chain(&baseline_state) {
        std::fs::remove_file(state)
            .with_context(|| format!("cannot remove {}", state.display()))?;
    }
    print(args, &found)
}

/// The baseline's state file.
fn beside(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".baseline");
    name.into()
}

fn measure(model: &Model, args: &EvalArgs, state: Option<&Path>) -> anyhow::Result<Evaluation> {
    // Of two models, what the first one gave is kept until the second one is done.
    let mut options = EvalOptions::default().with_keep_state(args.baseline.is_some());
    if let Some(limit) = args.limit {
        options = options.with_limit(limit)?;
    }
    if let Some(state) = state {
        options = options.with_state(state);
    }
    let bar = progress::bytes(&model.config().name)?;
    let found = evaluate(model, &args.text, &options, |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.bytes);
    });
    bar.finish_and_clear();
    Ok(found?)
}

fn print(args: &EvalArgs, found: &[Evaluation]) -> anyhow::Result<()> {
    if args.model.is_json() {
        match found {
            [model, baseline] => output::json(&json!({"model": model, "baseline": baseline}))?,
            _ => output::json(&found.first())?,
        }
        return Ok(());
    }
    for line in table(found) {
        output::line(&line)?;
    }
    Ok(())
}

/// What a row is called, and its figure for a model.
type Row = (String, Box<dyn Fn(&Evaluation) -> Option<String>>);

/// Aligned rows, one column for each model.
fn table(found: &[Evaluation]) -> Vec<String> {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    let columns = found.iter();
    let names = columns.map(|model| format!("{} {}", model.model, model.variant));
    lines.push((String::new(), names.collect()));
    for (name, figure) in rows(found) {
        let figures: Vec<_> = found.iter().map(figure).collect();
        if figures.iter().any(Option::is_some) {
            let shown = figures
                .into_iter()
                .map(|figure| figure.unwrap_or_else(|| "-".into()));
            lines.push((name, shown.collect()));
        }
    }
    let width = |texts: &mut dyn Iterator<Item = &String>| {
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let first = width(&mut lines.iter().map(|(name, _)| name));
    let second = width(&mut lines.iter().flat_map(|(_, figures)| figures));
    let mut lines: Vec<_> = lines
        .iter()
        .map(|(name, figures)| {
            let figures = figures.iter().map(|figure| format!("  {figure:>second$}"));
            format!("{name:first$}{}", figures.collect::<String>())
        })
        .collect();
    let note = |model: &Evaluation| model.next_sentence_bidirectional.clone()?.note;
    if let Some(note) = found.iter().find_map(note) {
        lines.push(format!("bidirectional: {note}"));
    }
    lines
}

fn rows(found: &[Evaluation]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut row = |name: &str, figure: fn(&Evaluation) -> Option<String>| {
        rows.push((name.to_owned(), Box::new(figure)));
    };
    row("records", |e| Some(e.records.to_string()));
    row("sentences", |e| Some(e.sentences.to_string()));
    row("bytes", |e| Some(e.bytes.to_string()));
    row("truncated sentences", |e| {
        (e.truncated_sentences > 0).then(|| e.truncated_sentences.to_string())
    });
    row("reconstruction: perplexity", |e| {
        Some(number(e.reconstruction.perplexity))
    });
    row("  as in the paper", |e| {
        Some(number(e.reconstruction.paper_perplexity))
    });
    row("  token accuracy", |e| {
        Some(percent(e.reconstruction.token_accuracy))
    });
    row("  exact", |e| Some(percent(e.reconstruction.exact)));
    rows.extend(rows_by_length(found));
    rows.extend(rows_of_next("next sentence", |e| e.next_sentence.as_ref()));
    rows.extend(rows_of_next("bidirectional", |e| {
        e.next_sentence_bidirectional.as_ref()
    }));
    let mut row = |name: &str, figure: fn(&Evaluation) -> Option<String>| {
        rows.push((name.to_owned(), Box::new(figure)));
    };
    row("stop: accuracy", |e| {
        Some(percent(e.stop.as_ref()?.accuracy))
    });
    row("  recall", |e| Some(percent(e.stop.as_ref()?.recall?)));
    row("  precision", |e| {
        Some(percent(e.stop.as_ref()?.precision?))
    });
    row("seconds", |e| Some(format!("{:.1}", e.seconds)));
    rows
}

fn rows_by_length(found: &[Evaluation]) -> Vec<Row> {
    // Two models may cut the text differently, and each has the lengths that it met.
    let first = |length: &str| -> Option<u64> { length.split(['-', '+']).next()?.parse().ok() };
    let mut lengths: Vec<(Option<u64>, String)> = found
        .iter()
        .flat_map(|model| &model.reconstruction.by_length)
        .map(|bin| (first(&bin.length), bin.length.clone()))
        .collect();
    lengths.sort();
    lengths.dedup();
    let row = |(_, length): (Option<u64>, String)| -> Row {
        let name = format!("  exact, {length} tokens");
        let figure = move |e: &Evaluation| {
            let bins = &e.reconstruction.by_length;
            let bin = bins.iter().find(|bin| bin.length == length)?;
            Some(format!("{} of {}", percent(bin.exact), bin.sentences))
        };
        (name, Box::new(figure))
    };
    lengths.into_iter().map(row).collect()
}

fn rows_of_next(name: &str, of: fn(&Evaluation) -> Option<&NextSentenceScore>) -> [Row; 4] {
    let row = |name: String, figure: fn(&NextSentenceScore) -> String| -> Row {
        (name, Box::new(move |e| of(e).map(figure)))
    };
    [
        row(format!("{name}: perplexity"), |n| number(n.perplexity)),
        row("  as in the paper".into(), |n| number(n.paper_perplexity)),
        row("  bits per byte".into(), |n| number(n.bits_per_byte)),
        row("  token accuracy".into(), |n| percent(n.token_accuracy)),
    ]
}

fn number(value: f64) -> String {
    format!("{value:.4}")
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
