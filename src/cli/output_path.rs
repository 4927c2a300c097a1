//! Files that results are written to.

use std::{io, path::Path};

use anyhow::bail;
use sllm_ort::check_writable;

/// Check that a result can be written to `path`, before the work that makes it.
pub fn check(path: &Path) -> anyhow::Result<()> {
    if path == Path::new("-") {
        bail!("a result is not written to stdout: name a file (./- for one that is called -)");
    }
    if is_stdout(path) {
        bail!(
            "{} is where stdout goes, too, and one would overwrite the other: name a file",
            path.display()
        );
    }
    Ok(check_writable(path)?)
}

/// Whether stdout goes to the same file, pipe or terminal.
#[cfg(unix)]
fn is_stdout(path: &Path) -> bool {
    use std::io::IsTerminal as _;

    use rustix::fs::{FileType, fstat, stat};
    let stdout = io::stdout();
    let (Ok(result), Ok(found)) = (stat(path), fstat(&stdout)) else {
        return false;
    };
    // Of devices, /dev/null takes both.
    let is_device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
    (result.st_dev, result.st_ino) == (found.st_dev, found.st_ino)
        && (!is_device || stdout.is_terminal())
}

#[cfg(not(unix))]
fn is_stdout(_: &Path) -> bool {
    false
}
