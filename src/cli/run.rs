//! `run`: continue a text.

mod append;
mod ending;
mod report;
mod timings;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::json;
use sllm_ort::{
    CancelHandle, Error, FinishReason, GenerateOptions, Generation, OverflowPolicy,
    SamplingOptions, Session, error::GraphError,
};

use super::{
    ModelArgs, input, models, output, output_path, sampling::SamplingArgs, signals::Interruptible,
};
use crate::number::shown;
use append::append;
use report::Report;
use timings::Timings;

/// Headings of the help.
const LENGTH: &str = "Length and end";
const SAMPLING: &str = "Sampling";
const SESSION: &str = "Sessions";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// Text to continue; - for stdin [default: read from stdin]
    #[arg(value_parser = input::text_argument)]
    prompt: Option<String>,
    /// Text to continue, given as an option
    #[arg(
        short = 'p',
        long = "prompt",
        value_name = "TEXT",
        allow_hyphen_values = true,
        value_parser = input::text_argument,
        conflicts_with_all = ["prompt", "file"]
    )]
    prompt_option: Option<String>,
    /// Read the text to continue from a file; - for stdin
    #[arg(
        short,
        long,
        alias = "prompt-file",
        value_name = "FILE",
        conflicts_with = "prompt"
    )]
    file: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Generate at most N sentences
    #[arg(short = 'n', long, value_name = "N", default_value_t = 16, help_heading = LENGTH)]
    max_sentences: usize,
    /// Generate at most N tokens; the last sentence may be cut
    #[arg(long, value_name = "N", help_heading = LENGTH)]
    max_tokens: Option<usize>,
    /// Ignore a predicted end of the text, and continue
    #[arg(long, visible_alias = "ignore-eos", help_heading = LENGTH)]
    ignore_stop: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Do not repeat a sentence [default: the bundle's, else true if the temperature is above 0]
    #[arg(long, value_name = "BOOL", help_heading = SAMPLING)]
    avoid_repeats: Option<bool>,
    /// Decode each sentence N times and keep the likeliest; needs a temperature above 0
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = SAMPLING)]
    best_of: usize,
    /// What to do when the context is full
    #[arg(long, value_name = "WHAT", default_value = "stop", help_heading = LENGTH)]
    when_full: Full,
    /// Stop after this time
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, help_heading = LENGTH)]
    time_limit: Option<f64>,
    /// Stop before this text; can be repeated
    #[arg(
        long,
        help_heading = LENGTH,
        value_name = "TEXT",
        allow_hyphen_values = true,
        value_parser = input::some_text_argument
    )]
    stop: Vec<String>,
    /// Save prompt and continuation to a session file
    #[arg(long, value_name = "SESSION", help_heading = SESSION)]
    save: Option<PathBuf>,
    /// Continue a session file; a prompt is appended to it
    #[arg(long, value_name = "SESSION", help_heading = SESSION)]
    load: Option<PathBuf>,
    /// Continue a session file if it exists, and save the session to it
    #[arg(
        long,
        value_name = "SESSION",
        conflicts_with_all = ["save", "load"],
        help_heading = SESSION
    )]
    session: Option<PathBuf>,
    /// Print times, memory and the provider of the graphs' nodes to stderr
    #[arg(long)]
    stats: bool,
}

const EXAMPLES: &str = "\
Examples:
  sllm-ort run \"Once upon a time, there was a cat. \"
  sllm-ort run -n 8 -t 0.7 -s 3 < prompt.txt
  sllm-ort run -p \"It was late. \" --session story.session
  sllm-ort run \"It was late. \" --format json";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Full {
    Stop,
    /// Drop the oldest quarter of the sentences; for a prompt, only as many as the prompt needs
    DropOldest,
}

/// Print the continuation; returns the exit status.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let options = args.generate_options()?;
    // Before the model is loaded, which says what is not given.
    args.sampling.apply(SamplingOptions::default())?;
    if let Some(path) = args.load_path() {
        if args.save_path() == Some(path) && !path.exists() {
            bail!(
                "there is no session {} to continue: --session in place of --load and --save \
                 begins one",
                path.display()
            );
        }
        if path == Path::new("-") {
            bail!("a session is not read from stdin: name a file (./- for one that is called -)");
        }
        input::check_readable(path)?;
    }
    if let Some(path) = args.save_path() {
        input::check_kept(args.text_path(), path)?;
        output_path::check(path)?;
    }
    let prompt = args.prompt()?;
    let bundle = models::open(args.model.bundle.model.as_deref())?;
    let sampling = args.sampling.apply(bundle.generation.sampling.clone())?;
    let started = Instant::now();
    let model = args
        .model
        .load_bundle(&bundle.dir, args.model.load.variant.as_deref())?;
    let load = started.elapsed();
    input::warn_of_unread_stdin(args.prompt.iter().chain(&args.prompt_option));
    if args.continues_without_text() {
        input::warn_of_stdin("a session is continued without a text");
    }
    args.sampling.warn_without_effect(&sampling);
    let cancel = CancelHandle::new();
    let options = options
        .with_sampling(sampling.clone())
        .with_cancel(cancel.clone());
    let started = Instant::now();
    let loaded = args.load_path();
    let explained = |error| explained(error, loaded);
    let mut session = match loaded {
        Some(path) => Session::load(&model, path).map_err(|error| explained(error.into()))?,
        None => model.session()?,
    };
    append(&mut session, &prompt, args.when_full).map_err(explained)?;
    let prefill = started.elapsed();
    let prompt_sentences = session.len();
    let interruptible = Interruptible::watch(cancel)?;
    let started = Instant::now();
    let mut generation = session.generate(options);
    let mut is_silent = true;
    let ended = stream(&mut generation, args.model.is_json(), &mut is_silent);
    let timings = Timings {
        load,
        prefill,
        generation: started.elapsed(),
        first_sentence: generation
            .time_to_first_sentence()
            .map(|time| load + prefill + time),
    };
    let (sentences, tokens) = (generation.sentences(), generation.tokens());
    // What was said before an error, or before the reader was gone, is kept.
    if let Some(path) = args.save_path() {
        match input::is_pipe_or_device(path) {
            true => interruptible.wait_for(|| session.save(path))?,
            false => session.save(path)?,
        }
    }
    let reason = match ended {
        // The reader does not read.
        Err(_) if interruptible.is_interrupted() => return Ok(interruptible.status()),
        ended => ended.map_err(explained)?,
    };
    if let Some(remark) = ending::remark(reason, is_silent, model.config().kind) {
        output::warn(remark);
    }
    let report = Report {
        session: &session,
        sampling: &sampling,
        prompt_sentences,
        sentences,
        tokens,
        reason,
        timings,
    };
    if args.model.is_json() {
        output::json(&report.json(args.stats))?;
    } else {
        output::line("")?;
    }
    if args.stats {
        output::to_stderr(&report.text());
    }
    Ok(interruptible.status())
}

/// The error; numbers that are not finite may come from the session that was loaded.
fn explained(error: anyhow::Error, loaded: Option<&Path>) -> anyhow::Error {
    match (loaded, error.downcast_ref()) {
        (Some(path), Some(Error::Graph(GraphError::NotFinite { .. }))) => error.context(format!(
            "cannot continue the session {}: if other texts can be continued, its values are \
             unusable: make it again from its text",
            path.display()
        )),
        _ => error,
    }
}

/// A time of any length: one that is longer than a `Duration` can be never ends.
fn time_limit(seconds: f64) -> sllm_ort::Result<Duration> {
    if seconds >= Duration::MAX.as_secs_f64() {
        return Ok(Duration::MAX);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| Error::InvalidOption {
        option: "time-limit",
        value: shown(seconds),
        allowed: "0 or more seconds".into(),
    })
}

/// Print the continuation as it comes; returns why it ended. `is_silent` is false once there is text.
fn stream(
    generation: &mut Generation<'_>,
    json: bool,
    is_silent: &mut bool,
) -> anyhow::Result<FinishReason> {
    loop {
        let mut printed = Ok(());
        let sentence = generation.next_with(|text| {
            *is_silent &= text.is_empty();
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
        let mut options = GenerateOptions::default()
            .with_max_sentences(self.max_sentences)
            .with_max_tokens(self.max_tokens)
            .with_ignore_eos(self.ignore_stop)
            .with_best_of(self.best_of)?
            .with_overflow(match self.when_full {
                Full::Stop => OverflowPolicy::Stop,
                Full::DropOldest => OverflowPolicy::DropOldest,
            });
        if let Some(avoid) = self.avoid_repeats {
            options = options.with_avoid_repeats(avoid);
        }
        if let Some(seconds) = self.time_limit {
            options = options.with_time_limit(time_limit(seconds)?);
        }
        for text in &self.stop {
            options = options.with_stop_text(text)?;
        }
        Ok(options)
    }

    /// The session file to continue.
    fn load_path(&self) -> Option<&Path> {
        let there = self.session.as_deref().filter(|path| path.exists());
        self.load.as_deref().or(there)
    }

    /// The session file to write.
    fn save_path(&self) -> Option<&Path> {
        self.save.as_deref().or(self.session.as_deref())
    }

    /// Whether a session is continued, so that there may be no prompt.
    fn goes_on(&self) -> bool {
        self.load_path().is_some()
    }

    /// The prompt among the arguments.
    fn given(&self) -> Option<&str> {
        self.prompt.as_deref().or(self.prompt_option.as_deref())
    }

    /// The file that the prompt is read from, `-` for stdin.
    fn text_path(&self) -> Option<&Path> {
        match (self.given(), self.file.as_deref()) {
            (Some("-"), _) => Some(Path::new("-")),
            (None, None) if !self.goes_on() => Some(Path::new("-")),
            (_, file) => file,
        }
    }

    fn continues_without_text(&self) -> bool {
        self.given().is_none() && self.file.is_none() && self.goes_on()
    }

    fn prompt(&self) -> anyhow::Result<String> {
        if self.continues_without_text() {
            return Ok(String::new());
        }
        let text = input::text(self.given(), self.file.as_deref(), "the prompt")?;
        input::check_prompt(&text, self.goes_on())?;
        Ok(text)
    }
}
