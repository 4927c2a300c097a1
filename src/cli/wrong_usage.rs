//! What clap says of wrong values, in words that say what is allowed, and where a value comes from.

use std::{
    env,
    error::Error as _,
    fmt,
    num::{IntErrorKind, ParseFloatError, ParseIntError},
};

use clap::{
    Command, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

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

/// The error, with a sentence of our own where it is about a number, or about a variable.
pub fn explained(error: Error, mut command: Command) -> Error {
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
