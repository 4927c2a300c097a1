//! `check`: how many continuations degenerate.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use sllm_ort::{
    Appended, Error, FinishReason, GenerateOptions, Model, SamplingOptions, Sentence,
    error::ErrorKind, eval::Degeneration,
};

use super::{
    ModelArgs,
    input::{self, Blank, Item},
    output::{self, percent},
    sampling::{MAX_SEED, SamplingArgs},
};

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// File of prompts, one per line; - for stdin
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Generate at most N sentences per prompt
    #[arg(short = 'n', long, value_name = "N", default_value_t = 16)]
    max_sentences: usize,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// Print what is found; returns whether every prompt was continued.
pub fn run(args: &CheckArgs) -> anyhow::Result<bool> {
    if args.max_sentences == 0 {
        return Err(Error::InvalidOption {
            option: "max-sentences",
            value: "0".into(),
            allowed: "1 or more".into(),
        }
        .into());
    }
    args.sampling.apply(SamplingOptions::default())?;
    let prompts = input::items(&[], Some(&args.file), Blank::LeftOut)?;
    let model = args.model.load()?;
    let sampling = args.sampling.apply(model.sampling().clone())?;
    args.sampling.warn_without_effect(&sampling);
    let json = args.model.is_json();
    let samples = sampling.temperature() > 0.0;
    let (mut checked, mut degenerate, mut skipped) = (0u64, 0u64, 0usize);
    for prompt in prompts {
        let Item {
            text: prompt,
            place,
        } = prompt?;
        // Each its own seed, so that one draw does not decide on all.
        let seed = sampling.seed().wrapping_add(checked + skipped as u64) & MAX_SEED;
        let options = GenerateOptions::default()
            .with_max_sentences(args.max_sentences)
            .with_sampling(sampling.clone().with_seed(seed));
        let (sentences, reason) = match continue_prompt(&model, &prompt, &place, options) {
            Err(error) if error.kind() == ErrorKind::TooLong => {
                output::warn(&format!(
                    "{place} is skipped: {}",
                    output::with_cause(&error)
                ));
                skipped += 1;
                continue;
            }
            continued => continued.with_context(|| place.clone())?,
        };
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
            if samples {
                line["seed"] = seed.into();
            }
            output::json(&line)?;
        } else if let Some(kind) = kind {
            output::line(&format!("{kind}: {prompt:?} -> {text:?}"))?;
        }
    }
    let share = (checked > 0).then(|| degenerate as f64 / checked as f64);
    if json {
        let mut summary = json!({"prompts": checked, "degenerate": degenerate, "skipped": skipped});
        if let Some(share) = share {
            summary["share"] = share.into();
        }
        if samples {
            summary["seed"] = sampling.seed().into();
        }
        output::json(&summary)?;
    } else {
        let shown = share.map_or(String::new(), |share| format!(" ({})", percent(share)));
        let skipped = match skipped {
            0 => String::new(),
            skipped => format!("; {} skipped", output::count(skipped, "prompt")),
        };
        output::line(&format!(
            "{degenerate} of {checked} continuations are degenerate{shown}{skipped}"
        ))?;
    }
    Ok(skipped == 0)
}

/// Warn if the model does not see all of a prompt.
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
