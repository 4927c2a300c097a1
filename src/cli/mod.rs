//! Arguments, and what the subcommands share.

mod bench;
mod check;
mod completions;
mod doctor;
mod embed;
mod eval;
mod info;
mod input;
mod load_args;
mod log;
mod man;
mod models;
#[cfg(feature = "serve")]
mod origin;
mod output;
mod output_path;
mod progress;
mod provider_args;
mod reconstruct;
mod run;
mod runtime;
mod sampling;
mod segment;
#[cfg(feature = "serve")]
mod serve;
mod setup;
mod signals;
mod stats;
mod wrong_usage;

use std::{
    io, panic,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{
    Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::Resettable,
};
use sllm_ort::{Error, Model, error::panic_is_caught};

use load_args::LoadArgs;

/// Exit status of wrong usage, clap's own.
const USAGE: u8 = 2;

/// Runs sentence-level language models (SentenceVAE, SLLM) on ONNX Runtime.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: log::LogArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Continue a text sentence by sentence
    Run(run::RunArgs),
    /// Serve models over HTTP, as OpenAI's API does
    #[cfg(feature = "serve")]
    Serve(Box<serve::ServeArgs>),
    /// Encode sentences and decode them again
    Reconstruct(reconstruct::ReconstructArgs),
    /// Print sentence vectors
    Embed(embed::EmbedArgs),
    /// Show where a text is cut into sentences
    Segment(segment::SegmentArgs),
    /// Measure perplexity, reconstruction and stopping on a text
    Eval(eval::EvalArgs),
    /// Count the continuations of prompts that degenerate
    Check(check::CheckArgs),
    /// Measure speed and memory, beside another model if asked
    Bench(bench::BenchArgs),
    /// Count sentences, tokens and lengths of a text file
    Stats(stats::StatsArgs),
    /// Describe a model
    Info(info::InfoArgs),
    /// Check the installation and every execution provider
    Doctor(doctor::DoctorArgs),
    /// Say how to install ONNX Runtime and the shipped model
    Setup(setup::SetupArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write one per command
    Man(man::ManArgs),
}

impl Command {
    fn run(&self, verbose: bool) -> anyhow::Result<ExitCode> {
        let done = match self {
            Self::Run(args) => return run::run(args),
            #[cfg(feature = "serve")]
            Self::Serve(args) => serve::run(args),
            Self::Reconstruct(args) => reconstruct::run(args),
            Self::Embed(args) => embed::run(args),
            Self::Segment(args) => segment::run(args),
            Self::Eval(args) => eval::run(args),
            Self::Check(args) => return check::run(args).map(status),
            Self::Bench(args) => bench::run(args),
            Self::Stats(args) => stats::run(args),
            Self::Info(args) => info::run(args, verbose),
            Self::Doctor(args) => return doctor::run(args, verbose).map(status),
            Self::Setup(args) => return setup::run(args).map(status),
            Self::Completions(args) => completions::run(args, Cli::command()),
            Self::Man(args) => man::run(args, Cli::command()),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

/// The exit status of a command that finds whether something works.
fn status(works: bool) -> ExitCode {
    match works {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Plain text for people
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Args, Debug)]
struct BundleArgs {
    /// Bundle: path of its folder, or a name to look up in the model folders (SLLM_ORT_MODELS adds
    /// folders) [default: the shipped sllm-stories]
    #[arg(short, long, value_name = "MODEL", env = "SLLM_ORT_MODEL")]
    model: Option<PathBuf>,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

impl BundleArgs {
    fn dir(&self) -> anyhow::Result<PathBuf> {
        models::find(self.model.as_deref())
    }
}

#[derive(Args, Debug)]
struct ModelArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    load: LoadArgs,
}

impl ModelArgs {
    /// Load the model, and pass its warnings on.
    fn load(&self) -> anyhow::Result<Model> {
        self.load_bundle(&self.bundle.dir()?, self.load.variant.as_deref())
    }

    /// The same with another bundle and variant.
    fn load_bundle(&self, dir: &Path, variant: Option<&str>) -> anyhow::Result<Model> {
        let model = Model::load(dir, self.load.options_for(variant)?)?;
        pass_warnings(&model);
        Ok(model)
    }

    fn is_json(&self) -> bool {
        self.bundle.format == Format::Json
    }
}

fn pass_warnings(model: &Model) {
    for warning in model.warnings() {
        output::warn(warning);
    }
    let checkpoint = model.bundle().provenance.get("checkpoint");
    if checkpoint.is_some_and(|origin| origin.get("random_seed").is_some()) {
        output::warn("the weights of this model are random: its text and its figures mean nothing");
    }
}

/// Run the program: parse, dispatch, report.
pub fn main() -> ExitCode {
    let command = wrong_usage::with_negative_numbers(without_empty_variables(Cli::command()));
    let matches = command
        .clone()
        .try_get_matches_from(input::arguments(&command));
    let matches = match matches {
        Ok(matches) => matches,
        Err(error) => return wrong_usage::shown(&wrong_usage::explained(error, command)),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return wrong_usage::shown(&error),
    };
    keep_caught_panics_silent();
    #[cfg(unix)]
    if let Err(error) = signals::survive_large_files() {
        tracing::debug!(%error, "SIGXFSZ ends the program");
    }
    let started = cli.log.start();
    match started.and_then(|()| cli.command.run(cli.log.is_verbose())) {
        Ok(status) => status,
        Err(error) if reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::report(&error, cli.log.is_verbose());
            match error.downcast_ref::<Error>() {
                Some(Error::InvalidOption { .. }) => ExitCode::from(USAGE),
                _ if error.is::<wrong_usage::WrongUsage>() => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// A panic that becomes an error is told by that, on its one line.
fn keep_caught_panics_silent() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !panic_is_caught() {
            hook(info);
        }
    }));
}

/// The command in which a variable that is set to nothing is as good as none.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| {
        let name = argument.get_env().map(ToOwned::to_owned);
        let is_empty = name
            .and_then(std::env::var_os)
            .is_some_and(|value| value.is_empty());
        match is_empty {
            true => argument.env(Resettable::Reset),
            false => argument,
        }
    });
    command.mut_subcommands(without_empty_variables)
}

/// Whoever reads the results, such as `head`, has read enough.
fn reader_is_gone(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(broken)
}
