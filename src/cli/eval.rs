//! `eval`: measure a model on a text file, optionally together with a baseline.

mod table;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::bail;
use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::json;
use sllm_ort::{
    Model,
    eval::{EvalOptions, Evaluation, evaluate},
};

use self::table::table;
use super::{
    ModelArgs,
    input::{self, Seekable},
    models, output, output_path, progress,
};

#[derive(Args, Debug)]
pub struct EvalArgs {
    /// Text file, - for stdin; `<|endoftext|>` ends a record; without it, the whole file is one
    /// record
    #[arg(short, long, alias = "text", value_name = "FILE")]
    file: PathBuf,
    /// Evaluate only the first N records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Second bundle to measure, for comparison
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
    /// Save progress to a file, and resume from it if it exists; the file is removed once the
    /// result is printed
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &EvalArgs) -> anyhow::Result<()> {
    // Before anything is read.
    args.options()?;
    let text = input::seekable(&args.file)?;
    if args.state.is_some() && matches!(text, Seekable::Copied { .. }) {
        bail!("--state needs a regular file as --file: a pipe cannot be read again later");
    }
    let baseline_state = args.state.as_deref().map(beside);
    let baseline_state = baseline_state.filter(|_| args.baseline.is_some());
    for state in args.state.iter().chain(&baseline_state) {
        input::check_kept(Some(&args.file), state)?;
        output_path::check(state)?;
    }
    let baseline = args.baseline.as_deref();
    let baseline = baseline.map(|dir| models::open(Some(dir))).transpose()?;
    let model = args.model.load()?;
    let Some(baseline) = baseline else {
        let found = measure(&model, args, &text, args.state.as_deref())?;
        print(args, &[found])?;
        remove_states(args.state.iter());
        return Ok(());
    };
    let baseline = args
        .model
        .load_bundle(&baseline.dir, args.baseline_variant.as_deref())?;
    let found = [
        measure(&model, args, &text, args.state.as_deref())?,
        measure(&baseline, args, &text, baseline_state.as_deref())?,
    ];
    print(args, &found)?;
    remove_states(args.state.iter().chain(&baseline_state));
    Ok(())
}

/// Remove state files that are of no use any more.
fn remove_states<'s>(states: impl Iterator<Item = &'s PathBuf>) {
    for state in states {
        match std::fs::remove_file(state) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                output::warn(&format!("cannot remove {}: {error}", state.display()));
            }
            _ => {}
        }
    }
}

impl EvalArgs {
    fn options(&self) -> sllm_ort::Result<EvalOptions> {
        // The states are kept until the result is printed.
        let options = EvalOptions::default().with_keep_state(true);
        match self.limit {
            Some(limit) => options.with_limit(limit),
            None => Ok(options),
        }
    }
}

/// The baseline's state file.
fn beside(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".baseline");
    name.into()
}

fn measure(
    model: &Model,
    args: &EvalArgs,
    text: &Seekable,
    state: Option<&Path>,
) -> anyhow::Result<Evaluation> {
    let mut options = args.options()?;
    if let Some(state) = state {
        options = options.with_state(state);
    }
    let bar = match args.limit {
        Some(_) => progress::records(&model.config().name)?,
        None => progress::bytes(&model.config().name)?,
    };
    let found = evaluate(model, text.path(), &options, |progress| {
        match progress.limit {
            Some(limit) => {
                bar.set_length(limit);
                bar.set_position(progress.records);
            }
            None => {
                bar.set_length(progress.total_bytes);
                bar.set_position(progress.bytes);
            }
        }
    });
    bar.finish_and_clear();
    let mut found = found.map_err(|error| text.named(error))?;
    // A pipe was read from a copy.
    found.text = args.file.display().to_string();
    Ok(found)
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
