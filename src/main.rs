//! The command line program; see `README.md` for its commands.

// Whoever cannot be told on stderr is no reason to fail: `cli::output::to_stderr`.
#![deny(clippy::print_stderr)]

mod cli;
mod number;
mod number_option;
#[cfg(feature = "serve")]
mod serve;

use std::{env, process::ExitCode};

/// Microsoft's builds of ONNX Runtime keep files about their use in the home folder, whatever a
/// program asks of them, unless this is set before they are loaded.
const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

fn main() -> ExitCode {
    if env::var_os(NO_TELEMETRY).is_none() {
        // SAFETY: the program has no other thread yet that could read the environment.
        unsafe { env::set_var(NO_TELEMETRY, "1") };
    }
    cli::main()
}
