//! Memory of one bundle, measured in a process that does nothing else.

use std::{
    env,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, bail};
use clap::CommandFactory as _;
use serde::Deserialize;

use super::{BenchArgs, Subject};
use crate::cli::{Cli, USAGE};

/// What another process found of a bundle.
#[derive(Deserialize)]
pub struct Memory {
    pub peak_memory_bytes: Option<u64>,
    pub measured_bytes_per_token: Option<f64>,
}

impl BenchArgs {
    /// Memory of a bundle in a process that does nothing else.
    pub fn memory_alone(&self, subject: &Subject) -> anyhow::Result<Memory> {
        let mut command = Command::new(env::current_exe()?);
        // All that this process took from variables is passed as arguments.
        for name in variables(&Cli::command()) {
            command.env_remove(name);
        }
        command.args(["bench", "--format", "json", "--repetitions", "1"]);
        command.arg("--model").arg(&subject.dir);
        let mut option = |name: &str, value: &dyn ToString| {
            command.arg(name).arg(value.to_string());
        };
        option("--prompt-tokens", &self.prompt_tokens);
        option("--sentence-tokens", &self.sentence_tokens);
        option("--sentences", &self.sentences);
        option("--batch", &subject.batch);
        option("--warmup", &self.warmup);
        command.args(self.model.load.arguments(subject.variant.as_deref()));
        let output = command.stderr(Stdio::piped()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            // Of wrong usage this process says the same, with the status for it.
            if output.status.code() == Some(i32::from(USAGE)) {
                self.load(subject, false)?;
            }
            bail!(problem(output.status, &said));
        }
        serde_json::from_slice(&output.stdout).context("measuring memory in another process")
    }
}

/// The variables that the program's options may come from.
fn variables(command: &clap::Command) -> Vec<std::ffi::OsString> {
    let own = command.get_arguments().filter_map(clap::Arg::get_env);
    let own = own.map(ToOwned::to_owned);
    own.chain(command.get_subcommands().flat_map(variables))
        .collect()
}

/// Why the other process has no result: what it said last, or how it ended.
fn problem(status: ExitStatus, said: &str) -> String {
    let line = said.lines().rev().find_map(|line| {
        let line = line.strip_prefix("sllm-ort: error: ")?;
        (!line.is_empty()).then_some(line)
    });
    if let (Some(line), Some(_)) = (line, status.code()) {
        return line.to_owned();
    }
    let what = "the process that measures memory ended";
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!(
            "{what} by signal {signal}: if the system ran out of memory (signal 9), measure \
             smaller models, or fewer tokens and sentences"
        );
    }
    format!("{what} without a result: {status}")
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn an_end_without_a_word_has_a_reason() {
        for (status, said, expected) in [
            (256, "sllm-ort: warning: a\nsllm-ort: error: b\n", "b"),
            (256, "", "without a result: exit status: 1"),
            (9, "", "ended by signal 9: if the system ran out of memory"),
            (9, "sllm-ort: warning: a\n", "ended by signal 9"),
            (6, "terminate called\n", "ended by signal 6"),
        ] {
            let found = problem(ExitStatus::from_raw(status), said);
            assert!(found.contains(expected), "{status} {said:?}: {found}");
        }
    }

    #[test]
    fn variables_of_all_commands() {
        let found = variables(&Cli::command());
        for name in ["MODEL", "VARIANT", "LOG", "THREADS", "ONNXRUNTIME"] {
            let name = format!("SLLM_ORT_{name}");
            assert!(found.contains(&name.as_str().into()), "{found:?}");
        }
    }
}
