//! `check`: how many continuations degenerate.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use sllm_ort::{
    Appended, FinishReason, GenerateOptions, Model, SamplingOptions, Sentence, eval::Degeneration,
};

use super::{
    ModelArgs,
    input::{self, Blank, Item},
    output::{self, percent},
    sampling::{MAX_SEED, SamplingArgs},
};

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Prompts, one a line; - for stdin
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// New sentences at most, for each prompt
    #[arg(short = 'n', long, value_name = "N", default_value_t = 16)]
    max_sentences: usize,
    #[command(flatten)]
    sampling: SamplingArgs,
}

pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    args.sampling.apply(SamplingOptions::default())?;
    let prompts = input::items(&[], Some(&args.file), Blank::LeftOut)?;
    let model = args.model.load()?;
    let sampling = args.sampling.apply(model.sampling().clone())?;
    args.sampling.warn_without_effect(&sampling);
    let json = args.model.is_json();
    let (mut checked, mut degenerate) = (0u64, 0u64);
    for prompt in prompts {
        let Item {
            text: prompt,
            place,
        } = prompt?;
        // Each its own seed, so that one draw does not decide on all.
        let seed = sampling.seed().wrapping_add(checked) & MAX_SEED;
        let options = GenerateOptions::default()
            .with_max_sentences(args.max_sentences)
            .with_sampling(sampling.clone().with_seed(seed));
        let (sentences, reason) =
            continue_prompt(&model, &prompt, &place, options).with_context(|| place.clone())?;
        let kind = Degeneration::of(sentences.iter().map(|sentence| sentence.text.as_str()));
        checked += 1;
        degenerate += u64::from(kind.is_some());
        let text: String = sentences.iter().map(|s| s.text.as_str()).collect();
        if json {
            let mut line = json!({
                "prompt": prompt,
                "text": text,
                "sentences": sentences.len(),
                "finish_reason": reason.as_str(),
                "degenerate": kind,
            });
            // What `run` draws the same with.
            if sampling.temperature() > 0.0 {
                line["seed"] = seed.into();
            }
            output::json(&line)?;
        } else if let Some(kind) = kind {
            output::line(&format!("{kind}: {prompt:?} -> {text:?}"))?;
        }
    }
    let share = degenerate as f64 / checked as f64;
    if json {
        output::json(&json!({
            "prompts": checked,
            "degenerate": degenerate,
            "share": share,
            "seed": sampling.seed(),
        }))?;
    } else {
        let shown = percent(share);
        output::line(&format!(
            "{degenerate} of {checked} continuations are degenerate ({shown})"
        ))?;
    }
    Ok(())
}

/// Warn of what the model does not see of a prompt.
fn warn_incomplete(appended: &Appended, place: &str) {
    if appended.truncated > 0 {
        let sentences = output::count(appended.truncated, "sentence");
        output::warn(&format!("{place}: {sentences} cut short"));
    }
    let dropped = &appended.dropped;
    if !dropped.is_empty() {
        output::warn(&format!(
            "{place}: the unfinished sentence {dropped:?} was dropped"
        ));
    }
}

fn continue_prompt(
    model: &Model,
    prompt: &str,
    place: &str,
    options: GenerateOptions,
) -> sllm_ort::Result<(Vec<Sentence>, FinishReason)> {
    let mut session = model.session()?;
    let appended = session.append(prompt)?;
    warn_incomplete(&appended, place);
    let mut generation = session.generate(options);
    let sentences = generation.by_ref().collect::<sllm_ort::Result<Vec<_>>>()?;
    let reason = generation.finish_reason().unwrap_or(FinishReason::Stop);
    Ok((sentences, reason))
}
