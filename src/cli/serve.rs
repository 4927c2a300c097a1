//! `serve`: an HTTP server.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{
    Args,
    builder::{NonEmptyStringValueParser, RangedU64ValueParser},
};

use sllm_ort::{Model, text::MAX_TEXT_BYTES};

use super::{
    load_args::LoadArgs,
    models,
    origin::{host_name, origin},
    output, pass_warnings,
};
use crate::serve::{self, Settings};

/// Headings of the help.
const LIMITS: &str = "Limits";
const SESSIONS: &str = "Sessions";
const ACCESS: &str = "Access";

/// The file of a chat template as Hugging Face's libraries name it.
const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// Least and most seconds of an option.
const MIN_SECONDS: f64 = 0.001;
const MAX_SECONDS: f64 = 1e7;

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Bundle: path of its folder, or a name to look up in the model folders; can be repeated. Each
    /// model is served under the name in its configuration. SLLM_ORT_MODEL takes a comma-separated
    /// list [default: the shipped sllm-stories]
    #[arg(
        short,
        long,
        value_name = "MODEL",
        env = "SLLM_ORT_MODEL",
        value_delimiter = ','
    )]
    model: Vec<PathBuf>,
    /// Address to listen on; 0.0.0.0 accepts connections from other machines
    #[arg(
        long,
        value_name = "HOST",
        default_value = "127.0.0.1",
        env = "SLLM_ORT_HOST",
        value_parser = NonEmptyStringValueParser::new()
    )]
    host: String,
    /// Port to listen on; 0 picks a free one
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 8080,
        env = "SLLM_ORT_PORT",
        allow_negative_numbers = true
    )]
    port: u16,
    /// Time that running requests get to finish after SIGTERM or Ctrl-C
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "30",
        env = "SLLM_ORT_GRACE",
        allow_negative_numbers = true,
        value_parser = seconds
    )]
    grace: Duration,
    /// Generate at most N texts per model at a time
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        env = "SLLM_ORT_MAX_BATCH",
        allow_negative_numbers = true,
        value_parser = integer(1, 1024),
        help_heading = LIMITS
    )]
    max_batch: usize,
    /// Run at most N batches per model in parallel, capped so that each batch has --threads
    /// processors. With --matmul-kernel onnxruntime, each batch holds its own copy of the weights
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        env = "SLLM_ORT_BATCHES",
        allow_negative_numbers = true,
        value_parser = integer(1, 64),
        help_heading = LIMITS
    )]
    batches: usize,
    /// Limit the texts per model at a time by the memory of their KV caches, each counted with a
    /// full context
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 4 << 30,
        env = "SLLM_ORT_KV_MEMORY",
        allow_negative_numbers = true,
        value_parser = integer(1, usize::MAX),
        help_heading = LIMITS
    )]
    kv_memory: usize,
    /// Queue at most N texts per model; more are refused with status 429
    #[arg(
        long,
        value_name = "N",
        default_value_t = 128,
        env = "SLLM_ORT_MAX_QUEUE",
        allow_negative_numbers = true,
        value_parser = integer(0, 1 << 20),
        help_heading = LIMITS
    )]
    max_queue: usize,
    /// Accept at most this much text in a request
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 256 << 10,
        env = "SLLM_ORT_MAX_PROMPT_BYTES",
        allow_negative_numbers = true,
        value_parser = integer(1, MAX_TEXT_BYTES),
        help_heading = LIMITS
    )]
    max_prompt_bytes: usize,
    /// Abort a request that takes longer, waiting time included
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "300",
        env = "SLLM_ORT_REQUEST_TIMEOUT",
        allow_negative_numbers = true,
        value_parser = some_seconds,
        help_heading = LIMITS
    )]
    request_timeout: Duration,
    /// Delete a session that was not used for this long
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "3600",
        env = "SLLM_ORT_SESSION_TTL",
        allow_negative_numbers = true,
        value_parser = some_seconds,
        help_heading = SESSIONS
    )]
    session_ttl: Duration,
    /// Memory limit of all sessions together
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 1 << 30,
        env = "SLLM_ORT_SESSION_MEMORY",
        allow_negative_numbers = true,
        value_parser = integer(1, usize::MAX),
        help_heading = SESSIONS
    )]
    session_memory: usize,
    /// File with the accepted API keys, one per line [default: no key needed]
    #[arg(long, value_name = "FILE", env = "SLLM_ORT_API_KEY_FILE", help_heading = ACCESS)]
    api_key_file: Option<PathBuf>,
    /// Origin whose web pages may use the server: scheme://host or scheme://host:port, such as
    /// https://example.org; can be repeated
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "SLLM_ORT_CORS",
        value_delimiter = ',',
        value_parser = origin,
        help_heading = ACCESS
    )]
    cors: Vec<String>,
    /// Host name to answer to, besides names of this machine; can be repeated. Only needed without
    /// API keys, behind a proxy that keeps the name
    #[arg(
        long,
        value_name = "NAME",
        env = "SLLM_ORT_ALLOW_HOST",
        value_delimiter = ',',
        value_parser = host_name,
        help_heading = ACCESS
    )]
    allow_host: Vec<String>,
    /// Do not serve the web page at /
    #[arg(
        long,
        env = "SLLM_ORT_NO_UI",
        value_parser = yes_or_no,
        help_heading = ACCESS
    )]
    no_ui: bool,
    #[command(flatten)]
    load: LoadArgs,
}

const EXAMPLES: &str = "\
Examples:
  sllm-ort serve
  sllm-ort serve --model models/sllm-stories --port 9000 --max-batch 32
  curl http://127.0.0.1:8080/v1/completions -H 'content-type: application/json' \\
    -d '{\"prompt\": \"Once upon a time, there was a cat. \"}'";

/// Serve until a signal comes.
pub fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let settings = Settings {
        host: args.host.clone(),
        port: args.port,
        max_batch: args.max_batch,
        kv_memory: args.kv_memory,
        max_queue: args.max_queue,
        max_prompt_bytes: args.max_prompt_bytes,
        request_timeout: args.request_timeout,
        session_ttl: args.session_ttl,
        session_memory: args.session_memory,
        api_key_file: args.api_key_file.clone(),
        cors: args.cors.clone(),
        allow_host: args.allow_host.clone(),
        ui: !args.no_ui,
        grace: args.grace,
    };
    let bundles = args.bundles()?;
    let options = args.load.options()?.with_parallel_runs(args.batches)?;
    let load = move || {
        let load = |dir: &PathBuf| {
            let started = Instant::now();
            let model = Model::load(dir, options.clone())?;
            pass_warnings(&model);
            warn_of_template(&model);
            Ok((model, started.elapsed()))
        };
        bundles.iter().map(load).collect()
    };
    serve::run(settings, load, output::warn)
}

/// Chat messages are joined by line breaks where a template was only put beside the manifest.
fn warn_of_template(model: &Model) {
    let bundle = model.bundle();
    if bundle.chat_template.is_none() && bundle.dir.join(CHAT_TEMPLATE).exists() {
        output::warn(&format!(
            "{CHAT_TEMPLATE} of {} is not used: its manifest has no key `chat_template`",
            bundle.config.name
        ));
    }
}

impl ServeArgs {
    fn bundles(&self) -> anyhow::Result<Vec<PathBuf>> {
        if self.model.is_empty() {
            return models::find(None).map(|dir| vec![dir]);
        }
        self.model
            .iter()
            .map(|model| models::find(Some(model)))
            .collect()
    }
}

/// The value of a variable that stands for an option without a value.
fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => Err("1, true, yes, on, 0, false, no or off is allowed".into()),
    }
}

/// Seconds, 0 too.
fn seconds(text: &str) -> Result<Duration, String> {
    duration(text, 0.0)
}

/// Seconds, not 0.
fn some_seconds(text: &str) -> Result<Duration, String> {
    duration(text, MIN_SECONDS)
}

fn duration(text: &str, min: f64) -> Result<Duration, String> {
    let allowed = format!("{min} to {MAX_SECONDS} seconds are allowed");
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (min..=MAX_SECONDS).contains(seconds));
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or(allowed)
}

fn integer(min: usize, max: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(min as u64..=max as u64)
}
