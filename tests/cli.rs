//! The command line as a user calls it, on the tiny model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/models.rs"]
mod models;
#[path = "cli/no_text.rs"]
mod no_text;
#[path = "cli/options.rs"]
mod options;
#[path = "cli/providers.rs"]
mod providers;
#[cfg(target_os = "linux")]
#[path = "cli/results.rs"]
mod results;
#[path = "cli/run.rs"]
mod run;
#[path = "cli/saved.rs"]
mod saved;
#[cfg(target_os = "linux")]
#[path = "cli/streams.rs"]
mod streams;
mod support;
#[path = "cli/text.rs"]
mod text;
#[path = "cli/vectors.rs"]
mod vectors;

const PROMPT: &str = "hello world. the cat sat on the hill. ";
