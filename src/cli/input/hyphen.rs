//! Texts among the arguments that begin with a hyphen, told from options.

use std::{any::TypeId, ffi::OsString};

use clap::{Arg, Command};

/// Stands in front of an argument that begins with a hyphen and is a text; of private use.
const HYPHEN_TEXT: char = '\u{e000}';

/// The arguments as clap is to read them. A text that begins with a hyphen is marked where the
/// subcommand takes texts; one that follows an option is joined to it with `=`.
pub fn marked(arguments: impl Iterator<Item = OsString>, program: &Command) -> Vec<OsString> {
    let mut found: Vec<OsString> = Vec::new();
    let mut options = Options::new(program);
    let mut subcommand = None;
    let mut options_ended = false;
    let mut awaits_value = false;
    for argument in arguments {
        let text = match argument.to_str() {
            Some(text) if !options_ended => text,
            _ => {
                awaits_value = false;
                found.push(argument);
                continue;
            }
        };
        if awaits_value {
            awaits_value = false;
            match found.last_mut() {
                Some(option) if has_hyphen_and_space(text) => {
                    option.push("=");
                    option.push(text);
                }
                _ => found.push(argument),
            }
            continue;
        }
        if subcommand.is_none() {
            subcommand = program.find_subcommand(text);
            options
                .all
                .extend(subcommand.iter().flat_map(|c| c.get_arguments()));
        }
        options_ended = text == "--";
        let takes_text = subcommand.is_some_and(takes_text);
        match options.read(text) {
            Read::Text if takes_text => found.push(format!("{HYPHEN_TEXT}{text}").into()),
            read => {
                awaits_value = read == Read::AwaitsValue;
                found.push(argument);
            }
        }
    }
    found
}

/// The text without the mark.
pub fn unmarked(text: &str) -> &str {
    text.strip_prefix(HYPHEN_TEXT).unwrap_or(text)
}

fn has_hyphen_and_space(text: &str) -> bool {
    text.starts_with('-') && text.contains(char::is_whitespace)
}

fn takes_text(subcommand: &Command) -> bool {
    let mut positionals = subcommand.get_positionals();
    positionals.any(|argument| argument.get_value_parser().type_id() == TypeId::of::<String>())
}

/// What an argument is.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// A text that begins with a hyphen.
    Text,
    /// An option whose value is the next argument.
    AwaitsValue,
    Other,
}

/// The options of the program and of the subcommand.
struct Options<'c> {
    all: Vec<&'c Arg>,
}

impl<'c> Options<'c> {
    fn new(program: &'c Command) -> Self {
        Self {
            all: program.get_arguments().collect(),
        }
    }

    fn read(&self, text: &str) -> Read {
        let found = match (text.strip_prefix("--"), text.strip_prefix('-')) {
            (Some(name), _) => self.long(name),
            (None, Some(names)) => self.short(names),
            (None, None) => Read::Other,
        };
        let head = text.split(char::is_whitespace).next().unwrap_or_default();
        match found {
            Read::Text if head.len() == text.len() || head.contains('=') => Read::Other,
            found => found,
        }
    }

    fn long(&self, name: &str) -> Read {
        let is_it = |argument: &Arg| {
            let aliases = argument.get_all_aliases().unwrap_or_default();
            argument.get_long() == Some(name) || aliases.contains(&name)
        };
        match self.all.iter().find(|argument| is_it(argument)) {
            Some(argument) if argument.get_action().takes_values() => Read::AwaitsValue,
            Some(_) => Read::Other,
            None => Read::Text,
        }
    }

    /// Flags may stand in front of an option, and its value behind it: `-vfmy story.txt`.
    fn short(&self, names: &str) -> Read {
        let mut names = names.chars();
        while let Some(name) = names.next() {
            let is_it = |argument: &&&Arg| argument.get_short() == Some(name);
            match self.all.iter().find(is_it) {
                Some(argument) if !argument.get_action().takes_values() => {}
                Some(_) if names.as_str().is_empty() => return Read::AwaitsValue,
                Some(_) => return Read::Other,
                None => return Read::Text,
            }
        }
        Read::Other
    }
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, value_parser};

    use super::*;

    fn program() -> Command {
        let flag = Arg::new("verbose").short('v').action(ArgAction::Count);
        let file = Arg::new("file").short('f').long("file").alias("text");
        let path = Arg::new("path").value_parser(value_parser!(std::path::PathBuf));
        Command::new("program")
            .arg(flag)
            .subcommand(
                Command::new("run")
                    .arg(Arg::new("prompt"))
                    .arg(file.clone()),
            )
            .subcommand(Command::new("bench").arg(path).arg(file))
    }

    #[test]
    fn texts_that_begin_with_a_hyphen() {
        let read = |command: &str, arguments: &[&str]| -> Vec<String> {
            let given = ["program", command]
                .into_iter()
                .chain(arguments.iter().copied());
            let read = marked(given.map(OsString::from), &program());
            let read = read
                .into_iter()
                .skip(2)
                .map(|argument| argument.into_string().unwrap());
            read.map(|text| text.replace(HYPHEN_TEXT, "#")).collect()
        };
        for text in [
            "- a list",
            "-5 degrees outside",
            "--- it began",
            "-\nnew",
            "-v is",
        ] {
            assert_eq!(read("run", &[text]), [format!("#{text}")]);
            assert_eq!(read("bench", &[text]), [text], "no texts");
            assert_eq!(read("run", &["--", text]), ["--", text]);
            for option in ["-f", "--file", "--text", "-vf"] {
                let joined = [format!("{option}={text}")];
                assert_eq!(read("run", &[option, text]), joined);
            }
        }
        for other in [
            "-",
            "-x",
            "--seed",
            "--stop=a b",
            "a - b",
            " - a",
            "-n3",
            "-fmy story",
            "-vfa b",
        ] {
            assert_eq!(read("run", &[other]), [other]);
        }
    }
}
