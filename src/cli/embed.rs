//! `embed`: print sentence vectors.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use sllm_ort::Model;

use super::{
    ModelArgs,
    input::{Lines, in_batches},
    output,
};

/// Texts that are encoded together.
const BATCH: usize = 64;

#[derive(Args, Debug)]
pub struct EmbedArgs {
    /// Texts, each taken as one sentence [default: the lines of stdin]
    text: Vec<String>,
    /// Take the lines of a file
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &EmbedArgs) -> anyhow::Result<()> {
    let model = args.model.load()?;
    match &args.file {
        Some(path) => embed_all(&model, args, Lines::of_file(path)?),
        None if args.text.is_empty() => embed_all(&model, args, Lines::of_stdin()),
        None => embed_all(&model, args, args.text.iter().cloned().map(Ok)),
    }
}

fn embed_all(
    model: &Model,
    args: &EmbedArgs,
    texts: impl Iterator<Item = anyhow::Result<String>>,
) -> anyhow::Result<()> {
    for batch in in_batches(texts, BATCH) {
        let batch = batch?;
        let vectors = model.encode(&batch)?;
        for (text, vector) in batch.iter().zip(vectors.outer_iter()) {
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
