//! Progress bars on stderr, if it is a terminal.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};
use tracing::level_filters::LevelFilter;

const BYTES: &str = "{prefix} {wide_bar} {bytes} of {total_bytes}, {eta} left";
const RECORDS: &str = "{prefix} {wide_bar} {pos} of {len} records, {eta} left";
const ROUNDS: &str = "{wide_bar} {pos} of {len} rounds, {eta} left";

/// A bar for the bytes of a file, where bars are drawn.
pub fn bytes(name: &str) -> anyhow::Result<ProgressBar> {
    Ok(bar(BYTES)?.with_prefix(name.to_owned()))
}

/// A bar for the records of a file, where bars are drawn.
pub fn records(name: &str) -> anyhow::Result<ProgressBar> {
    Ok(bar(RECORDS)?.with_prefix(name.to_owned()))
}

/// A bar for rounds of a measurement, where bars are drawn.
pub fn rounds(count: u64) -> anyhow::Result<ProgressBar> {
    let bar = bar(ROUNDS)?;
    bar.set_length(count);
    Ok(bar)
}

fn bar(template: &str) -> anyhow::Result<ProgressBar> {
    if !are_drawn() {
        return Ok(ProgressBar::hidden());
    }
    Ok(ProgressBar::new(0).with_style(ProgressStyle::with_template(template)?))
}

/// On a terminal that has no lines of a log between them.
fn are_drawn() -> bool {
    io::stderr().is_terminal() && LevelFilter::current() == LevelFilter::OFF
}
