//! `reconstruct`: encode sentences and decode them again.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use sllm_ort::{Model, text::TextSentence};

use super::{
    ModelArgs,
    input::{self, Blank, Item, Items, in_batches},
    output,
};

/// Sentences that are encoded together.
const BATCH: usize = 64;

/// What is shown when nothing is given.
const SENTENCES: [&str; 12] = [
    "Once upon a time, ",
    "there was a little girl named Lily. ",
    "She loved to play outside in the sunshine. ",
    "One day, ",
    "she saw a big dog in the park. ",
    "The dog was very friendly and wagged its tail. ",
    "\"Can I play with you?\" ",
    "asked Lily. ",
    "The dog barked and ran around her. ",
    "They played together until the sun went down. ",
    "Then her mom called her home for dinner. ",
    "Lily was happy because she had made a new friend.",
];

#[derive(Args, Debug)]
pub struct ReconstructArgs {
    /// Sentences; - for the lines of stdin [default: the lines of stdin; built-in sentences if
    /// stdin is a terminal]
    #[arg(value_parser = input::text_argument)]
    text: Vec<String>,
    /// Read the lines of a file; - for stdin
    #[arg(short, long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Cut each text into sentences first
    #[arg(long)]
    segment: bool,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Default)]
struct Count {
    sentences: usize,
    exact: usize,
}

pub fn run(args: &ReconstructArgs) -> anyhow::Result<()> {
    let nothing_given = args.text.is_empty() && args.file.is_none();
    // Paragraphs may have empty lines between them.
    let blank = match args.segment {
        true => Blank::LeftOut,
        false => Blank::Refused,
    };
    let texts = match nothing_given && io::stdin().is_terminal() {
        true => input::items(&SENTENCES.map(str::to_owned), None, blank)?,
        false => input::items(&args.text, args.file.as_deref(), blank)?,
    };
    let model = args.model.load()?;
    input::warn_of_unread_stdin(args.text.iter());
    let mut count = Count::default();
    reconstruct_all(&model, args, texts, &mut count)?;
    if count.sentences == 0 {
        bail!("there is no sentence in the text: give one");
    }
    if !args.model.is_json() {
        output::line(&format!("{} of {} exact", count.exact, count.sentences))?;
    }
    Ok(())
}

/// Reconstruct the texts in batches, so that a file of any length is worked through.
fn reconstruct_all(
    model: &Model,
    args: &ReconstructArgs,
    texts: Items,
    count: &mut Count,
) -> anyhow::Result<()> {
    for batch in in_batches(texts, BATCH) {
        let batch = batch?;
        let mut sentences = Vec::new();
        for item in &batch {
            sentences.extend(cut(model, args, item).with_context(|| item.place.clone())?);
        }
        for sentences in sentences.chunks(BATCH) {
            show(model, args, sentences, count)?;
        }
    }
    Ok(())
}

fn cut<'t>(
    model: &Model,
    args: &ReconstructArgs,
    item: &'t Item,
) -> anyhow::Result<Vec<TextSentence<'t>>> {
    let pipeline = model.text_pipeline();
    let mut pieces = if args.segment {
        pipeline.sentences(&item.text)?
    } else {
        pipeline.one_sentence(&item.text)?
    };
    let sentences = pieces.by_ref().collect::<Result<Vec<_>, _>>()?;
    let (place, dropped) = (&item.place, pieces.dropped());
    if !dropped.is_empty() {
        output::warn(&format!(
            "{place}: the unfinished sentence {dropped:?} was dropped"
        ));
    }
    if !args.segment && sentences.len() > 1 {
        output::warn(&format!(
            "{place}: too long for one sentence, split into {} (--segment cuts at sentences)",
            sentences.len()
        ));
    }
    for sentence in sentences.iter().filter(|sentence| sentence.truncated) {
        output::warn(&format!("{place}: {:?} was cut short", sentence.text));
    }
    Ok(sentences)
}

fn show(
    model: &Model,
    args: &ReconstructArgs,
    sentences: &[TextSentence<'_>],
    count: &mut Count,
) -> anyhow::Result<()> {
    for found in model.reconstruct(sentences)? {
        count.sentences += 1;
        count.exact += usize::from(found.exact);
        if args.model.is_json() {
            output::json(&json!({
                "input": found.input,
                "input_ids": found.input_ids,
                "output": found.output,
                "output_ids": found.output_ids,
                "exact": found.exact,
            }))?;
        } else if found.exact {
            output::line(&format!("= {:?}", found.input))?;
        } else {
            output::line(&format!("≠ {:?}\n  {:?}", found.input, found.output))?;
        }
    }
    Ok(())
}
