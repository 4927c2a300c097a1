//! Progress bars on stderr, where somebody looks at it.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};
use tracing::level_filters::LevelFilter;

const BYTES: &str = "{prefix} {wide_bar} {bytes} of {total_bytes}, {eta} left";
const ROUNDS: &str = "{wide_bar} {pos} of {len} rounds, {eta} left";

/// A bar for the bytes of a file, where bars are drawn.
pub fn bytes(name: &str) -> anyhow::Result<ProgressBar> {
    if !are_drawn() {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template(BYTES)?;
    let bar = ProgressBar::new(0).with_style(style);
    Ok(bar.with_prefix(name.to_owned()))
}

/// A bar for rounds of a measurement, where bars are drawn.
pub fn rounds(count: u64) -> anyhow::Result<ProgressBar> {
    if !are_drawn() {
        return Ok(ProgressBar::hidden());
    }
    Ok(ProgressBar::new(count).with_style(ProgressStyle::with_template(ROUNDS)?))
}

/// On a terminal that has no lines of a log between them.
fn are_drawn() -> bool {
    io::stderr().is_terminal() && LevelFilter::current() == LevelFilter::OFF
}
