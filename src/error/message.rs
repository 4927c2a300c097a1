//! Pieces of error messages.

use std::{fmt::Display, path::Path};

/// Most problems of a graph or a JSON file that a message lists.
const SHOWN_PROBLEMS: usize = 12;
/// Length in bytes from which on further problems are only counted.
const SHOWN_PROBLEMS_BYTES: usize = 1200;
/// Longest message of a parser that is repeated, in characters.
const SHOWN_MESSAGE_CHARS: usize = 300;

/// Which file is not there, for a message.
pub(super) fn missing_file(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| {
        format!(" ({} is missing)", path.display())
    })
}

/// Where in a text, for a message.
pub(super) fn on_line(line: Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(" (line {line})"))
}

/// The first problems for a message; a signature of thousands of inputs may differ in each.
pub(super) fn first_of(problems: &[impl Display]) -> String {
    let mut text = String::new();
    for (index, problem) in problems.iter().enumerate() {
        if index == SHOWN_PROBLEMS || text.len() > SHOWN_PROBLEMS_BYTES {
            return format!("{text}; and {} more", problems.len() - index);
        }
        let separator = if index == 0 { "" } else { "; " };
        text.push_str(&format!("{separator}{problem}"));
    }
    text
}

/// What a parser said, on one line and shortened: it may repeat any part of a hostile file.
pub(crate) fn one_line(message: &impl Display) -> String {
    let text = message.to_string();
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN_MESSAGE_CHARS)
        .collect();
    match text.chars().nth(SHOWN_MESSAGE_CHARS) {
        None => clean,
        Some(_) => format!("{clean}..."),
    }
}

/// A list for a message: `a, b, c`, or `none`.
pub(crate) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let text = items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    if text.is_empty() {
        "none".to_owned()
    } else {
        text
    }
}
