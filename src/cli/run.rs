//! `run`: continue a text.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;
use sllm_ort::{FinishReason, GenerateOptions, Generation, SamplingOptions, Session};

use super::{ModelArgs, input, output};

#[derive(Args, Debug)]
pub struct RunArgs {
    /// Text to continue [default: read from stdin]
    prompt: Option<String>,
    /// Read the text to continue from a file
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompt_file: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// New sentences at most
    #[arg(long, value_name = "N", default_value_t = 16)]
    max_sentences: usize,
    /// Go on where the model says that the text is over
    #[arg(long)]
    ignore_stop: bool,
    /// 0 takes the best token each time (greedy), above 0 draws (from the 64 best at most, in fast
    /// variants with a large vocabulary)
    #[arg(
        long,
        value_name = "T",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    temperature: f32,
    /// Draw from the K best tokens only
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw from the fewest best tokens with this probability together
    #[arg(
        long,
        value_name = "P",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    top_p: f32,
    /// Make the last 64 tokens less likely; 1 is off
    #[arg(
        long,
        value_name = "R",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    repetition_penalty: f32,
    /// The same seed draws the same tokens
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// End before this text
    #[arg(long, value_name = "TEXT")]
    stop: Option<String>,
    /// Keep prompt and continuation in a session file
    #[arg(long, value_name = "SESSION")]
    save: Option<PathBuf>,
    /// Go on from a session file; a prompt is appended to it
    #[arg(long, value_name = "SESSION")]
    load: Option<PathBuf>,
    /// Print times, memory and where the graphs' nodes run to stderr; with JSON the last is in the
    /// last line too
    #[arg(long)]
    stats: bool,
}

/// How long the parts of the work took.
struct Timings {
    load: Duration,
    prefill: Duration,
    generation: Duration,
    first_sentence: Option<Duration>,
}

pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let options = args.generate_options()?;
    let prompt = args.prompt()?;
    let started = Instant::now();
    let model = args.model.load()?;
    let load = started.elapsed();
    let started = Instant::now();
    let mut session = match &args.load {
        Some(path) => Session::load(&model, path)?,
        None => model.session()?,
    };
    append(&mut session, &prompt)?;
    let prefill = started.elapsed();
    let prompt_sentences = session.len();
    let started = Instant::now();
    let mut generation = session.generate(options);
    let reason = stream(&mut generation, args.model.is_json())?;
    let timings = Timings {
        load,
        prefill,
        generation: started.elapsed(),
        first_sentence: generation
            .time_to_first_sentence()
            .map(|time| load + prefill + time),
    };
    let (sentences, tokens) = (generation.sentences(), generation.tokens());
    if args.model.is_json() {
        let mut end = json!({
            "finish_reason": reason.as_str(),
            "prompt_sentences": prompt_sentences,
            "sentences": sentences,
            "tokens": tokens,
            "timings": timings.json(tokens),
        });
        if args.stats {
            end["provider"] = model.provider().name().into();
            end["nodes"] = output::placement(&model);
        }
        output::json(&end)?;
    } else {
        output::line("")?;
    }
    if let Some(path) = &args.save {
        session.save(path)?;
    }
    if args.stats {
        eprintln!(
            "{}, {} on {} ({} of {} nodes), {} threads; {prompt_sentences} + {sentences} sentences, {tokens} tokens; ended by {}; {}; KV caches {} KiB",
            model.config().name,
            model.variant(),
            model.provider(),
            model.placement().of(model.provider()),
            model.placement().total(),
            model.threads(),
            reason.as_str(),
            timings.text(tokens),
            session.memory_bytes() / 1024,
        );
    }
    Ok(())
}

fn append(session: &mut Session, prompt: &str) -> anyhow::Result<()> {
    let appended = session.append(prompt)?;
    if appended.truncated > 0 {
        output::warn(&format!(
            "{} sentences of the prompt were cut short",
            appended.truncated
        ));
    }
    output::warn_dropped(&appended.dropped);
    Ok(())
}

/// Print the continuation as it comes; returns why it ended.
fn stream(generation: &mut Generation<'_>, json: bool) -> anyhow::Result<FinishReason> {
    loop {
        let mut printed = Ok(());
        let sentence = generation.next_with(|text| {
            if !json && printed.is_ok() {
                printed = output::piece(text);
            }
        });
        printed?;
        match sentence.transpose()? {
            Some(sentence) if json => output::json(&json!({
                "index": sentence.index,
                "text": sentence.text,
                "token_ids": sentence.token_ids,
                "stop_probability": sentence.stop_probability,
            }))?,
            Some(_) => {}
            // Without an error it ended for a reason.
            None => return Ok(generation.finish_reason().unwrap_or(FinishReason::Stop)),
        }
    }
}

impl RunArgs {
    fn generate_options(&self) -> anyhow::Result<GenerateOptions> {
        let sampling = SamplingOptions::default()
            .with_temperature(self.temperature)?
            .with_top_k(self.top_k)?
            .with_top_p(self.top_p)?
            .with_repetition_penalty(self.repetition_penalty)?
            .with_seed(self.seed);
        let options = GenerateOptions::default()
            .with_max_sentences(self.max_sentences)
            .with_ignore_stop(self.ignore_stop)
            .with_sampling(sampling);
        Ok(match &self.stop {
            Some(text) => options.with_stop_text(text)?,
            None => options,
        })
    }

    fn prompt(&self) -> anyhow::Result<String> {
        match (&self.prompt, &self.prompt_file) {
            (Some(prompt), _) => Ok(prompt.clone()),
            (None, Some(path)) => input::file(path),
            (None, None) if self.load.is_some() => Ok(String::new()),
            (None, None) => input::stdin(),
        }
    }
}

impl Timings {
    fn tokens_per_second(&self, tokens: usize) -> f64 {
        tokens as f64 / self.generation.as_secs_f64()
    }

    fn json(&self, tokens: usize) -> serde_json::Value {
        let mut timings = json!({
            "load_ms": milliseconds(self.load),
            "prefill_ms": milliseconds(self.prefill),
            "generation_ms": milliseconds(self.generation),
            "tokens_per_second": (self.tokens_per_second(tokens) * 10.0).round() / 10.0,
        });
        if let Some(time) = self.first_sentence {
            timings["first_sentence_ms"] = milliseconds(time).into();
        }
        timings
    }

    fn text(&self, tokens: usize) -> String {
        let first = self
            .first_sentence
            .map(|time| format!(", first sentence after {:.0} ms", milliseconds(time)));
        format!(
            "load {:.0} ms, prompt {:.0} ms{}, {:.0} tokens/s",
            milliseconds(self.load),
            milliseconds(self.prefill),
            first.unwrap_or_default(),
            self.tokens_per_second(tokens),
        )
    }
}

/// Rounded to a microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
