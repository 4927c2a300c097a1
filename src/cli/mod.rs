//! Arguments, and what the subcommands share.

mod bench;
mod check;
mod completions;
mod doctor;
mod embed;
mod eval;
mod info;
mod input;
mod log;
mod man;
mod output;
mod progress;
mod provider_args;
mod reconstruct;
mod run;
mod sampling;
mod segment;
mod stats;

use std::{
    env, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use sllm_ort::{Error, LoadOptions, Model, ProviderChoice, bundle::MANIFEST_NAME};

use provider_args::ProviderArgs;

/// The bundle that comes with the project, looked for at the root of a checkout and above the
/// executable.
const SHIPPED_BUNDLE: &str = "models/sllm-stories";
const ANCESTORS: usize = 5;
/// Exit status of wrong usage, clap's own.
const USAGE: u8 = 2;

/// Runs sentence-level language models (SentenceVAE, SLLM) on ONNX Runtime.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
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
    /// Encode sentences and decode them again
    Reconstruct(reconstruct::ReconstructArgs),
    /// Print sentence vectors
    Embed(embed::EmbedArgs),
    /// Show where a text is cut into sentences
    Segment(segment::SegmentArgs),
    /// Measure perplexity, reconstruction and stopping on a text file
    Eval(eval::EvalArgs),
    /// Continue prompts and count the continuations that degenerate: no text, marks, repetition
    Check(check::CheckArgs),
    /// Measure speed and memory, beside another model if asked
    Bench(bench::BenchArgs),
    /// Count sentences, tokens and lengths of a text file
    Stats(stats::StatsArgs),
    /// Describe a model
    Info(info::InfoArgs),
    /// Say what is installed, which execution providers start, and what keeps the others from it
    Doctor(doctor::DoctorArgs),
    /// Print a script that completes arguments in a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(man::ManArgs),
}

impl Command {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let done = match self {
            Self::Run(args) => run::run(args),
            Self::Reconstruct(args) => reconstruct::run(args),
            Self::Embed(args) => embed::run(args),
            Self::Segment(args) => segment::run(args),
            Self::Eval(args) => eval::run(args),
            Self::Check(args) => check::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Stats(args) => stats::run(args),
            Self::Info(args) => info::run(args),
            Self::Doctor(args) => {
                return Ok(match doctor::run(args)? {
                    true => ExitCode::SUCCESS,
                    false => ExitCode::FAILURE,
                });
            }
            Self::Completions(args) => completions::run(args, Cli::command()),
            Self::Man(args) => man::run(args, Cli::command()),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Args, Debug)]
struct BundleArgs {
    /// Bundle directory [default: the shipped models/sllm-stories]
    #[arg(long, value_name = "DIR", env = "SLLM_ORT_MODEL")]
    model: Option<PathBuf>,
    /// Form of the results
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

impl BundleArgs {
    fn dir(&self) -> anyhow::Result<PathBuf> {
        match &self.model {
            Some(dir) => Ok(dir.clone()),
            None => shipped_bundle().with_context(|| {
                format!(
                    "the shipped bundle {SHIPPED_BUNDLE} is not here: name one with --model DIR"
                )
            }),
        }
    }
}

fn shipped_bundle() -> Option<PathBuf> {
    let executable = env::current_exe().ok();
    let above = executable
        .iter()
        .flat_map(|path| path.ancestors().skip(1).take(ANCESTORS));
    [Path::new("")]
        .into_iter()
        .chain(above)
        .map(|folder| folder.join(SHIPPED_BUNDLE))
        .find(|bundle| bundle.join(MANIFEST_NAME).is_file())
}

#[derive(Args, Debug)]
struct ModelArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Execution provider: auto, cpu, cuda, tensorrt, openvino, coreml, directml, xnnpack
    #[arg(
        long,
        value_name = "NAME",
        default_value = "auto",
        env = "SLLM_ORT_PROVIDER"
    )]
    provider: String,
    #[command(flatten)]
    provider_options: ProviderArgs,
    /// Variant of the bundle [default: the first one made for the provider]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Threads that work on one graph [default: 1 for a small model, else all processors up to 4]
    #[arg(long, value_name = "N", env = "SLLM_ORT_THREADS")]
    threads: Option<usize>,
    /// How long a thread without work looks for some before it sleeps, in microseconds; 0 for never
    /// [default: 200]
    #[arg(long, value_name = "N", env = "SLLM_ORT_SPIN")]
    spin: Option<u64>,
    /// ONNX Runtime library to load [default: searched]
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
}

impl ModelArgs {
    /// Load the model, and pass its warnings on.
    fn load(&self) -> anyhow::Result<Model> {
        self.load_bundle(&self.bundle.dir()?, self.variant.as_deref())
    }

    /// The same with another bundle and variant.
    fn load_bundle(&self, dir: &Path, variant: Option<&str>) -> anyhow::Result<Model> {
        let model = Model::load(dir, self.load_options(variant)?)?;
        pass_warnings(&model);
        Ok(model)
    }

    fn load_options(&self, variant: Option<&str>) -> anyhow::Result<LoadOptions> {
        let provider: ProviderChoice = self.provider.parse()?;
        let mut options = LoadOptions::default()
            .with_provider(provider)
            .with_provider_options(self.provider_options.options()?);
        if let Some(variant) = variant {
            options = options.with_variant(variant);
        }
        if let Some(threads) = self.threads {
            options = options.with_threads(threads)?;
        }
        if let Some(micros) = self.spin {
            options = options.with_spinning(Duration::from_micros(micros))?;
        }
        if let Some(path) = &self.onnxruntime {
            options = options.with_onnxruntime(path);
        }
        Ok(options)
    }

    fn is_json(&self) -> bool {
        self.bundle.format == Format::Json
    }
}

fn pass_warnings(model: &Model) {
    for warning in model.warnings() {
        output::warn(warning);
    }
}

/// Run the program: parse, dispatch, report.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let started = cli.log.start();
    match started.and_then(|()| cli.command.run()) {
        Ok(status) => status,
        Err(error) if reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::report(&error, cli.log.is_verbose());
            match error.downcast_ref::<Error>() {
                Some(Error::InvalidOption { .. }) => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Whoever reads the results, such as `head`, has read enough.
fn reader_is_gone(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(broken)
}
