//! Results on stdout; warnings and errors, each on one line, on stderr.

use std::io::{self, Write as _};

use serde::Serialize;

/// Longest cause that is shown behind an error's own line, in characters.
const CAUSE_CHARS: usize = 300;

/// Print one JSON object on a line of stdout.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    io::stdout().write_all(&line)
}

/// Print a piece of text on stdout at once, so that it is seen as it comes.
pub fn piece(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

pub fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

pub fn warn(text: &str) {
    eprintln!("sllm-ort: warning: {}", one_line(text));
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
        eprintln!("sllm-ort: error: {}", one_line(&error.to_string()));
        causes.for_each(|cause| eprintln!("  caused by: {}", cause.trim_end()));
    } else {
        let cause = causes
            .next()
            .map(|cause| format!(": {}", shortened(&cause)));
        eprintln!(
            "sllm-ort: error: {}{}",
            one_line(&error.to_string()),
            cause.unwrap_or_default()
        );
    }
}

fn shortened(cause: &str) -> String {
    let cause = one_line(cause);
    match cause.char_indices().nth(CAUSE_CHARS) {
        Some((end, _)) => format!("{}... (-v shows all)", &cause[..end]),
        None => cause,
    }
}

/// The text without line breaks and other control characters.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
        .trim_end()
        .to_owned()
}

/// Lines of aligned columns: names on the left, figures on the right of theirs.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        cells
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:width$}"),
                _ => format!("  {cell:>width$}"),
            })
            .collect::<String>()
    };
    rows.iter().map(line).collect()
}
