//! `stats`: count what a text file holds for a model. Needs a bundle's tokenizer, but no ONNX
//! Runtime.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use sllm_ort::{
    bundle::Bundle,
    stats::{LengthSummary, TextStats, text_stats},
};

use super::{
    BundleArgs, Format,
    input::{self, Seekable},
    output, output_path, progress,
};

/// Rows of the histogram, and width of its longest bar.
const ROWS: usize = 24;
const BAR_WIDTH: f64 = 40.0;

#[derive(Args, Debug)]
pub struct StatsArgs {
    /// Text file, - for stdin; `<|endoftext|>` ends a record; without it, the whole file is one
    /// record
    #[arg(short, long, alias = "text", value_name = "FILE")]
    file: PathBuf,
    /// Write a chart of the sentence lengths to an SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    bundle: BundleArgs,
}

pub fn run(args: &StatsArgs) -> anyhow::Result<()> {
    if let Some(path) = &args.svg {
        input::check_kept(Some(&args.file), path)?;
        output_path::check(path)?;
    }
    let text = input::seekable(&args.file)?;
    let bundle = Bundle::open(args.bundle.dir()?)?;
    let found = count(&bundle, &text, &args.file)?;
    let printed = match args.bundle.format {
        Format::Json => output::json(&found),
        Format::Text => output::lines(&table(&found)),
    };
    // Last, so that a drawing that cannot be written does not cost what was counted.
    if let Some(path) = &args.svg {
        found.write_svg(path)?;
    }
    Ok(printed?)
}

fn count(bundle: &Bundle, text: &Seekable, file: &Path) -> anyhow::Result<TextStats> {
    let bar = progress::bytes(&bundle.config.name)?;
    // A file that cannot be read is refused below, with its name.
    bar.set_length(fs::metadata(text.path()).map_or(0, |data| data.len()));
    let found = text_stats(bundle, text.path(), |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let mut found = found.map_err(|error| text.named(error))?;
    // A pipe was read from a copy.
    found.text = file.display().to_string();
    Ok(found)
}

fn table(found: &TextStats) -> Vec<String> {
    let mut lines = figures(found);
    lines.push(String::new());
    lines.extend(histogram(found));
    lines.push(String::new());
    lines.extend(vocabulary(found));
    lines
}

fn figures(found: &TextStats) -> Vec<String> {
    let mut rows = vec![
        ("records", found.records.to_string()),
        ("sentences", found.sentences.to_string()),
        ("tokens", found.tokens.to_string()),
        ("bytes", found.bytes.to_string()),
        ("characters", found.characters.to_string()),
        ("bytes per token", format!("{:.3}", found.bytes_per_token)),
        ("tokens per sentence", summary(&found.tokens_per_sentence)),
        ("sentences per record", summary(&found.sentences_per_record)),
    ];
    if let Some(most) = found.max_sentence_tokens {
        rows.push((
            "longer than the model takes",
            format!(
                "{} split, {} cut short, of at most {most} tokens with bos",
                found.split_sentences, found.truncated_sentences
            ),
        ));
    }
    if found.dropped_bytes > 0 {
        rows.push((
            "left out",
            format!(
                "{} bytes; {} unfinished sentences",
                found.dropped_bytes, found.dropped_tails
            ),
        ));
    }
    aligned(&rows)
}

fn summary(lengths: &LengthSummary) -> String {
    let LengthSummary {
        mean,
        median,
        p90,
        p99,
        max,
        ..
    } = lengths;
    format!("mean {mean:.2}, median {median}, p90 {p90}, p99 {p99}, max {max}")
}

/// A bar of text for each range of lengths.
fn histogram(found: &TextStats) -> Vec<String> {
    let bins = found.histogram(ROWS);
    let most = bins.iter().map(|bin| bin.sentences).max().unwrap_or(0);
    let label_width = bins.iter().map(|bin| bin.label().len()).max();
    let label_width = label_width.unwrap_or(0).max("tokens".len());
    let count_width = most.to_string().len().max("sentences".len());
    let mut lines = vec![format!(
        "{:>label_width$}  {:>count_width$}",
        "tokens", "sentences"
    )];
    lines.extend(bins.iter().map(|bin| {
        let width = bin.sentences as f64 / most as f64 * BAR_WIDTH;
        // Few are not none.
        let bar = "█".repeat((width.round() as usize).max(usize::from(bin.sentences > 0)));
        let line = format!(
            "{:>label_width$}  {:>count_width$}  {bar}",
            bin.label(),
            bin.sentences
        );
        line.trim_end().to_owned()
    }));
    lines
}

fn vocabulary(found: &TextStats) -> Vec<String> {
    let vocabulary = &found.vocabulary;
    let mut lines = aligned(&[
        (
            "token ids used",
            format!(
                "{} of {} ({:.2} %)",
                vocabulary.used,
                vocabulary.size,
                vocabulary.used_share * 100.0
            ),
        ),
        (
            "ids for 99 % of the tokens",
            vocabulary.ids_for_99_percent.to_string(),
        ),
    ]);
    lines.push(String::new());
    lines.push(format!(
        "{:>7}  {:>10}  {:>7}  token",
        "id", "count", "share"
    ));
    lines.extend(vocabulary.most_frequent.iter().map(|token| {
        format!(
            "{:>7}  {:>10}  {:>5.2} %  {:?}",
            token.id,
            token.count,
            token.share * 100.0,
            token.text
        )
    }));
    lines
}

fn aligned(rows: &[(&str, String)]) -> Vec<String> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, figure)| format!("{name:width$}  {figure}"))
        .collect()
}
