//! Logging to stderr.

use std::io::{self, IsTerminal as _};

use clap::{ArgAction, Args};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[derive(Args, Debug)]
pub struct LogArgs {
    /// Show the whole chain of causes of an error, and log what is done; -vv logs more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Log level on stderr, which overrides -v: off, error, warn, info, debug, trace, or a filter
    /// such as sllm_ort::runtime=debug
    #[arg(
        long,
        value_name = "LEVEL",
        global = true,
        env = "SLLM_ORT_LOG",
        value_parser = checked
    )]
    log: Option<String>,
}

impl LogArgs {
    /// Whether errors are shown with all their causes.
    pub fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Begin to log, if anything is to be.
    pub fn start(&self) -> anyhow::Result<()> {
        let level = match self.verbose {
            0 => "off",
            1 => "info",
            _ => "debug",
        };
        let filter = EnvFilter::try_new(self.log.as_deref().unwrap_or(level))?;
        if filter.max_level_hint() == Some(LevelFilter::OFF) {
            return Ok(());
        }
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal() && !is_plain())
            .with_span_events(FmtSpan::CLOSE)
            // It would say on stderr that stderr cannot be written.
            .log_internal_errors(false)
            .init();
        Ok(())
    }
}

/// Whether the user wants no colours (<https://no-color.org>), or the terminal has none.
fn is_plain() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    is_dumb || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// A filter that is understood. A lone word must be a level: as the name of a module, which it could
/// be too, a misspelt one would log nothing.
fn checked(filter: &str) -> Result<String, String> {
    let is_word = |part: &str| part.chars().all(|c| c.is_alphanumeric() || c == '_');
    let is_level = |part: &str| LEVELS.iter().any(|level| part.eq_ignore_ascii_case(level));
    if is_word(filter) && !is_level(filter) {
        return Err(format!("expected one of {}", LEVELS.join(", ")));
    }
    match EnvFilter::try_new(filter) {
        Ok(_) => Ok(filter.to_owned()),
        Err(error) => Err(format!(
            "{error}: a filter is a level, or module=level, such as sllm_ort::runtime=debug"
        )),
    }
}
