//! Error messages for wrong usage: what is allowed, and where a value came from.

use std::{
    env,
    error::Error as _,
    fmt,
    num::{IntErrorKind, ParseFloatError, ParseIntError},
    path::Path,
    process::ExitCode,
};

use clap::{
    Command, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::input::unmarked;

/// Wrong usage that clap does not see.
#[derive(Debug)]
pub struct WrongUsage(&'static str);

impl WrongUsage {
    /// The error; `message` says what is wrong and what to do.
    pub fn error(message: &'static str) -> anyhow::Error {
        Self(message).into()
    }
}

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// The command in which `-1` is the value of the option before it, so that it is refused as such,
/// or a text: no option is called so.
pub fn with_negative_numbers(command: Command) -> Command {
    let command = command.mut_args(|argument| match argument.get_action().takes_values() {
        true => argument.allow_negative_numbers(true),
        false => argument,
    });
    command.mut_subcommands(with_negative_numbers)
}

/// Print what clap says, help and version too; returns the exit status.
pub fn shown(error: &Error) -> ExitCode {
    match error.print() {
        Ok(()) => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
        Err(_) if error.use_stderr() => ExitCode::from(super::USAGE),
        Err(failed) if failed.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failed) => {
            let line = format!("sllm-ort: error: cannot write to stdout: {failed}");
            super::output::to_stderr(&line);
            ExitCode::FAILURE
        }
    }
}

/// The error, with a sentence of our own where it is about a number, about a variable, or about a
/// text without quotes.
pub fn explained(error: Error, mut command: Command) -> Error {
    match error.kind() {
        ErrorKind::InvalidUtf8 => return not_utf8(&error, &command),
        ErrorKind::UnknownArgument => return with_hint(error),
        _ => {}
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (ErrorKind::ValueValidation | ErrorKind::InvalidValue, Some(option), Some(value)) = (
        error.kind(),
        text(ContextKind::InvalidArg),
        text(ContextKind::InvalidValue),
    ) else {
        return error;
    };
    let number = error.source().and_then(|source| {
        let of_int = source.downcast_ref::<ParseIntError>();
        let of_float = source.downcast_ref::<ParseFloatError>();
        of_int
            .map(|source| needed(source.kind(), value))
            .or_else(|| of_float.map(|_| "a number is needed"))
    });
    command.build();
    let variable = variable(&command, option, value);
    let what = match (number, &variable, error.source()) {
        (None, None, _) => return error,
        (Some(needed), ..) => needed.to_owned(),
        (None, Some(_), Some(source)) => source.to_string(),
        (None, Some(_), None) => "it is none of the possible values".to_owned(),
    };
    let from = variable.map_or(String::new(), |name| format!(" (of the variable {name})"));
    let message = format!(
        "invalid value '{value}'{from} for '{option}': {what}\n\n\
         For more information, try '--help'.\n"
    );
    Error::raw(error.kind(), message)
}

/// Which argument or variable is not UTF-8.
fn not_utf8(error: &Error, command: &Command) -> Error {
    let of_arguments = env::args_os().find(|argument| argument.to_str().is_none());
    let named = env::args_os().find_map(|name| {
        let name = name.into_string().ok()?;
        let found = command.find_subcommand(&name)?;
        Some(found.clone())
    });
    let all = named.iter().flat_map(Command::get_arguments);
    let variables = all
        .chain(command.get_arguments())
        .filter_map(clap::Arg::get_env);
    let mut of_variables =
        variables.filter(|name| env::var_os(name).is_some_and(|value| value.to_str().is_none()));
    let what = match (of_arguments, of_variables.next()) {
        (Some(argument), _) => format!("the argument {:?}", argument.to_string_lossy()),
        (None, Some(name)) => format!("the variable {}", name.to_string_lossy()),
        (None, None) => "an argument".to_owned(),
    };
    Error::raw(
        error.kind(),
        format!("{what} is not UTF-8: give it in UTF-8\n\nFor more information, try '--help'.\n"),
    )
}

/// The error for an argument too many, with what may have been meant.
fn with_hint(mut error: Error) -> Error {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let argument = unmarked(argument).to_owned();
    if argument.starts_with('-') {
        error.insert(ContextKind::InvalidArg, ContextValue::String(argument));
        return error;
    }
    let hint = match Path::new(&argument).is_file() {
        true => format!("a file is named by an option: --file '{argument}'"),
        false => "a text of several words stands between quotes: \"Tom had a ball.\"".to_owned(),
    };
    let hints = vec![hint.into()];
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(hints));
    error
}

fn needed(problem: &IntErrorKind, value: &str) -> &'static str {
    let digits = value.strip_prefix('-').unwrap_or_default();
    let is_negative = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    match problem {
        IntErrorKind::PosOverflow => "the number is too large",
        _ if is_negative => "the number is too small",
        _ => "a whole number is needed",
    }
}

/// The variable that the value of an option comes from, if it does.
fn variable(command: &Command, option: &str, value: &str) -> Option<String> {
    let given = |name: Option<&str>, short: Option<char>| {
        env::args_os().any(|argument| {
            let argument = argument.to_string_lossy();
            let long = name.is_some_and(|name| {
                let rest = argument
                    .strip_prefix("--")
                    .and_then(|rest| rest.strip_prefix(name));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            });
            let short = short.is_some_and(|short| argument.starts_with(&format!("-{short}")));
            long || short
        })
    };
    let arguments = command.get_subcommands().flat_map(Command::get_arguments);
    let mut arguments = arguments.chain(command.get_arguments());
    arguments.find_map(|argument| {
        let name = argument.get_env()?;
        let is_it = argument.to_string() == option
            && env::var_os(name).is_some_and(|found| found == value)
            && !given(argument.get_long(), argument.get_short());
        is_it.then(|| name.to_string_lossy().into_owned())
    })
}
