//! Writing a file whole or not at all.

use std::{
    fs,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use tempfile::{Builder, NamedTempFile};

use crate::error::{Error, Result};

/// Write a file beside `path` and put it in its place: whoever reads `path` finds the old content
/// or the new one.
pub(crate) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut NamedTempFile>) -> io::Result<()>,
) -> Result<()> {
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    // A link stays one; what is no file, such as a device, is not replaced by one.
    let target = match fs::canonicalize(path) {
        Ok(target) if target.is_file() => target,
        Ok(_) => {
            return Err(failed(io::Error::other(
                "it is there and is no regular file",
            )));
        }
        Err(_) => path.to_owned(),
    };
    let folder = target
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = Builder::new();
    // As for any other new file: what the process's mask leaves of these.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut partial = builder
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    let mut buffered = BufWriter::new(&mut partial);
    write(&mut buffered)
        .and_then(|()| buffered.flush())
        .map_err(failed)?;
    drop(buffered);
    partial.as_file().sync_all().map_err(failed)?;
    partial
        .persist(&target)
        .map_err(|error| failed(error.error))?;
    Ok(())
}
