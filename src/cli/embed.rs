//! `embed`: print sentence vectors.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use sllm_ort::{Error, Model};

use super::{
    ModelArgs,
    input::{self, Blank, Item, in_batches},
    output,
};

/// Texts that are encoded together.
const BATCH: usize = 64;

#[derive(Args, Debug)]
pub struct EmbedArgs {
    /// Texts, each taken as one sentence; - for the lines of stdin [default: the lines of stdin]
    #[arg(value_parser = input::text_argument)]
    text: Vec<String>,
    /// Read the lines of a file; - for stdin
    #[arg(short, long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &EmbedArgs) -> anyhow::Result<()> {
    let texts = input::items(&args.text, args.file.as_deref(), Blank::Refused)?;
    let model = args.model.load()?;
    input::warn_of_unread_stdin(args.text.iter());
    for batch in in_batches(texts, BATCH) {
        let batch = batch?;
        let texts: Vec<&str> = batch.iter().map(|item| item.text.as_str()).collect();
        let vectors = model
            .encode(&texts)
            .or_else(|error| name_text(&model, &batch, error))?;
        warn_truncated(&model, &batch)?;
        for (text, vector) in texts.iter().zip(vectors.outer_iter()) {
            if args.model.is_json() {
                output::json(&json!({"text": text, "embedding": vector.to_vec()}))?;
            } else {
                let numbers: Vec<String> = vector.iter().map(ToString::to_string).collect();
                output::line(&numbers.join(" "))?;
            }
        }
    }
    Ok(())
}

/// Warn of texts that are cut short.
fn warn_truncated(model: &Model, batch: &[Item]) -> anyhow::Result<()> {
    for item in batch {
        if let Some(tokens) = model.text_pipeline().truncated_tokens(&item.text)? {
            output::warn(&format!(
                "{} is cut short: its vector is that of its first {tokens} tokens",
                item.place
            ));
        }
    }
    Ok(())
}

/// The error of a batch, with the text that it is about.
fn name_text<T>(model: &Model, batch: &[Item], error: Error) -> anyhow::Result<T> {
    for item in batch {
        model
            .encode(&[&item.text])
            .with_context(|| item.place.clone())?;
    }
    Err(error.into())
}
