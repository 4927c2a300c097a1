//! Results on stdout; warnings and errors, each on one line, on stderr.

use std::{
    error::Error as _,
    fmt::Display,
    io::{self, Write as _},
};

use serde::Serialize;
use serde_json::Value;
use sllm_ort::{Error, Model};

use super::signals;

/// Bytes that a pipe takes at once when it takes any (`PIPE_BUF`).
const PIPE_BYTES: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };
/// Longest cause that is shown behind an error's own line, in characters.
const CAUSE_CHARS: usize = 300;

/// Print one JSON object on a line of stdout.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to_stdout(&line)
}

/// Print a piece of text on stdout at once, so that it is seen as it comes.
pub fn piece(text: &str) -> io::Result<()> {
    to_stdout(text.as_bytes())
}

pub fn line(text: &str) -> io::Result<()> {
    to_stdout(format!("{text}\n").as_bytes())
}

pub fn lines(lines: &[String]) -> io::Result<()> {
    lines.iter().try_for_each(|text| line(text))
}

/// Write at once; a reader who does not read is waited for until a signal comes.
fn to_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut write = || {
        for part in bytes.chunks(PIPE_BYTES) {
            signals::wait_for_writing(&stdout)?;
            stdout.write_all(part)?;
            stdout.flush()?;
        }
        Ok(())
    };
    write().map_err(|error: io::Error| {
        io::Error::new(error.kind(), format!("cannot write to stdout: {error}"))
    })
}

/// Write a line to stderr. Where that fails, nobody can be told.
pub fn to_stderr(line: &impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Print the fields of an object, one a line.
pub fn fields(object: &Value) -> io::Result<()> {
    let mut lines = Vec::new();
    flatten("", object, &mut lines);
    let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in lines {
        line(&format!("{key:width$}  {}", one_line(&value)))?;
    }
    Ok(())
}

/// How many of the graphs' nodes the provider in use runs.
pub fn provider_assignment(model: &Model) -> Value {
    let assignment = model.provider_assignment();
    serde_json::json!({
        "on_provider": assignment.of(model.provider()),
        "all": assignment.total(),
        "by_provider": assignment.nodes,
    })
}

/// A size for people, such as `1.2 MiB`, in the largest unit that it has one of.
pub fn size(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    // What is rounded to 1024.0 of one unit is 1.0 of the next.
    let next = 1024.0 - 0.05;
    if bytes.round() < 1024.0 {
        return format!("{} B", bytes.round());
    }
    let mut size = bytes / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    for larger in units {
        if size < next {
            break;
        }
        size /= 1024.0;
        unit = Some(larger);
    }
    format!("{size:.1} {}", unit.unwrap_or(&"KiB"))
}

/// A number of things, such as `1 thread` or `2 threads`.
pub fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

pub fn warn(text: &str) {
    to_stderr(&format_args!("sllm-ort: warning: {}", one_line(text)));
}

/// Say that the end of a text was left out, if it was.
pub fn warn_dropped(dropped: &str) {
    if !dropped.is_empty() {
        warn(&format!("the unfinished sentence {dropped:?} was dropped"));
    }
}

/// Print what failed, with its first cause, or with `verbose` the whole chain of causes.
pub fn report(error: &anyhow::Error, verbose: bool) {
    let mut causes = error.chain().skip(1).map(ToString::to_string);
    if verbose {
        to_stderr(&format_args!(
            "sllm-ort: error: {}",
            one_line(&error.to_string())
        ));
        causes.for_each(|cause| to_stderr(&format_args!("  caused by: {}", cause.trim_end())));
    } else {
        let cause = causes
            .next()
            .map(|cause| format!(": {}", shortened(&cause)));
        to_stderr(&format_args!(
            "sllm-ort: error: {}{}",
            one_line(&error.to_string()),
            cause.unwrap_or_default()
        ));
    }
}

fn shortened(cause: &str) -> String {
    let cause = one_line(cause);
    match cause.char_indices().nth(CAUSE_CHARS) {
        Some((end, _)) => format!("{}... (-v shows all)", &cause[..end]),
        None => cause,
    }
}

/// An error with its first cause, on one line.
pub fn with_cause(error: &Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}"));
    one_line(&format!("{error}{}", cause.unwrap_or_default()))
}

/// The text without line breaks and other control characters.
pub fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
        .trim_end()
        .to_owned()
}

/// A row of a table: its name, and a figure for each model, which may have none.
pub type Row = (String, Vec<Option<String>>);

/// Aligned lines: names on the left, figures on the right of their columns. A row without any
/// figure is left out.
pub fn table(rows: &[Row]) -> Vec<String> {
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|(_, figures)| figures.iter().any(Option::is_some))
        .collect();
    let shown = |figure: &Option<String>| figure.clone().unwrap_or_else(|| "-".into());
    let width = |texts: &mut dyn Iterator<Item = String>| {
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let first = width(&mut rows.iter().map(|(name, _)| name.clone()));
    let columns = rows.iter().map(|(_, figures)| figures.len()).max();
    let widths: Vec<usize> = (0..columns.unwrap_or(0))
        .map(|column| {
            let figures = rows.iter().filter_map(|(_, figures)| figures.get(column));
            width(&mut figures.map(shown))
        })
        .collect();
    let line = |(name, figures): &&Row| {
        let figures = figures.iter().map(shown).zip(&widths);
        let figures = figures.map(|(figure, &width)| format!("  {figure:>width$}"));
        format!("{name:first$}{}", figures.collect::<String>())
    };
    rows.iter().map(line).collect()
}

/// Nested keys as dotted ones, in order.
fn flatten(prefix: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let separator = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{separator}{key}"), value, lines);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (number, item) in items.iter().enumerate() {
                flatten(&format!("{prefix}[{number}]"), item, lines);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            lines.push((prefix.to_owned(), items.join(", ")));
        }
        other => lines.push((prefix.to_owned(), plain(other))),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        for (bytes, expected) in [
            (0.0, "0 B"),
            (81.6, "82 B"),
            (1023.0, "1023 B"),
            (1023.7, "1.0 KiB"),
            (1024.0, "1.0 KiB"),
            (1536.0, "1.5 KiB"),
            (1_048_524.0, "1023.9 KiB"),
            (1_048_570.0, "1.0 MiB"),
            (1_310_720.0, "1.2 MiB"),
            (67_108_864.0, "64.0 MiB"),
            (5e9, "4.7 GiB"),
            (1e18, "888.2 PiB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }
}
