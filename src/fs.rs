//! Reading files with a limit, and writing them whole or not at all.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};

use crate::error::{Error, Result, TextError};

/// Read a file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Read`], [`Error::FileTooLarge`].
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to see that the file is too large.
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
    if bytes.len() as u64 > limit {
        return Err(Error::FileTooLarge {
            path: path.to_owned(),
            bytes: bytes.len() as u64,
            limit,
        });
    }
    Ok(bytes)
}

/// Read a UTF-8 file of at most `limit` bytes.
///
/// # Errors
/// Those of [`read_bytes`], [`TextError::NotUtf8`].
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read_bytes(path, limit)?).map_err(|error| {
        Error::Text(TextError::NotUtf8 {
            path: path.to_owned(),
            byte: error.utf8_error().valid_up_to() as u64,
            line: None,
        })
    })
}

/// How a file begins that Git LFS has not fetched yet.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Whether `content` stands in place of a file that Git LFS has not fetched yet.
pub(crate) fn is_lfs_pointer(content: &[u8]) -> bool {
    content.starts_with(LFS_POINTER)
}

/// Links that are followed to find a file that is not there yet.
const MAX_LINKS: usize = 32;

/// Where a result goes.
enum Target {
    /// A file, there already with these permissions or not, that is replaced by a whole one.
    File(PathBuf, Option<Permissions>),
    /// A pipe or a device: it is written into.
    Stream(File),
}

/// Write a file beside `path` and put it in its place: whoever reads `path` finds the old content
/// or the new one. A link stays one, and its file is written; a pipe or a device is written into. A
/// read-only file is refused; the permissions of one that is replaced stay.
///
/// # Errors
/// [`Error::Write`], with the path as it was given.
pub(crate) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    match target(path).map_err(failed)? {
        Target::Stream(file) => {
            let mut buffered = BufWriter::new(file);
            write(&mut buffered)
                .and_then(|()| buffered.flush())
                .map_err(failed)
        }
        Target::File(target, permissions) => {
            let mut partial = partial(&target).map_err(failed)?;
            let mut buffered = BufWriter::new(partial.as_file_mut());
            write(&mut buffered)
                .and_then(|()| buffered.flush())
                .map_err(failed)?;
            drop(buffered);
            let file = partial.as_file();
            // A private file stays one.
            if let Some(permissions) = permissions {
                file.set_permissions(permissions).map_err(failed)?;
            }
            file.sync_all().map_err(failed)?;
            partial
                .persist(&target)
                .map_err(|error| failed(error.error))?;
            Ok(())
        }
    }
}

/// Check that a file can be written at `path`, before the work that produces it.
///
/// # Errors
/// [`Error::Write`].
pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let checked = match fs::metadata(path) {
        Ok(data) if !data.is_file() && !data.is_dir() => Ok(()),
        _ => target(path).and_then(|target| match target {
            Target::File(target, _) => partial(&target).map(|_| ()),
            Target::Stream(_) => Ok(()),
        }),
    };
    checked.map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}

/// What `path` stands for, links followed.
fn target(path: &Path) -> io::Result<Target> {
    if !is_file_name(path) && !path.exists() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "there is no such folder, and no file can have this name",
        ));
    }
    let mut place = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::metadata(&place) {
            Ok(data) if data.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(data) if data.is_file() => {
                check_replaceable(&place, &data)?;
                let place = fs::canonicalize(&place)?;
                return Ok(Target::File(place, Some(data.permissions())));
            }
            Ok(_) => {
                return OpenOptions::new()
                    .write(true)
                    .open(&place)
                    .map(Target::Stream);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // A link to a file that is not there, or no link and no file.
            Err(_) => match fs::read_link(&place) {
                Ok(link) => place = folder(&place).join(link),
                Err(_) => return Ok(Target::File(place, None)),
            },
        }
    }
    Err(io::Error::other("too many links"))
}

/// Whether a path ends with a name, not as that of a folder does: `a/`, `a/.`, `..`.
fn is_file_name(path: &Path) -> bool {
    let whole = path.as_os_str().as_encoded_bytes();
    path.file_name()
        .is_some_and(|name| whole.ends_with(name.as_encoded_bytes()))
}

/// Refuse to replace a file that could not be written into: whoever protected it meant that.
fn check_replaceable(path: &Path, data: &Metadata) -> io::Result<()> {
    let opened = OpenOptions::new().write(true).open(path);
    let refused = opened.as_ref().is_err_and(|error| {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
    });
    // An administrator may open it all the same.
    if data.permissions().readonly() || refused {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the file is read-only: make it writable, or name another one",
        ));
    }
    opened.map(|_| ())
}

/// A new file beside `target`. Its errors are the system's own: those of `tempfile` name a file that
/// nobody knows.
fn partial(target: &Path) -> io::Result<NamedTempFile> {
    // As for any other new file, the process's mask says who may read it.
    Builder::new().make_in(folder(target), |path| {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).open(path)
    })
}

fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(all(test, unix))]
mod tests {
    use std::{io::Read as _, os::unix::fs::symlink, thread};

    use super::*;

    fn write(path: &Path, text: &str) -> Result<()> {
        write_whole(path, |file| file.write_all(text.as_bytes()))
    }

    #[test]
    fn links_are_followed_and_stay_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("below")).unwrap();
        fs::write(at("old"), "old").unwrap();
        // To a file, to none yet, through another link, relative to the link's own folder.
        for (link, to) in [
            ("a", "old"),
            ("b", "new"),
            ("c", "b2"),
            ("b2", "below/new"),
            ("below/d", "../up"),
        ] {
            symlink(to, at(link)).unwrap();
        }
        for (link, file) in [
            ("a", "old"),
            ("b", "new"),
            ("c", "below/new"),
            ("below/d", "up"),
        ] {
            check_writable(at(link)).unwrap();
            write(&at(link), link).unwrap();
            assert!(at(link).is_symlink(), "{link}");
            assert_eq!(fs::read_to_string(at(file)).unwrap(), link);
            assert!(!at(file).is_symlink());
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("loop", at("loop")).unwrap();
        symlink("nowhere/file", at("lost")).unwrap();
        for path in [
            at("loop"),
            at("lost"),
            folder.path().to_owned(),
            at("no/file"),
            at("no/"),
            at("no/."),
            at("no/.."),
        ] {
            for result in [check_writable(&path), write(&path, "x")] {
                let error = result.unwrap_err();
                let Error::Write {
                    path: named,
                    source,
                } = &error
                else {
                    panic!("{error:?}");
                };
                assert_eq!(*named, path);
                assert!(!source.to_string().contains(".tmp"), "{source}");
            }
        }
        assert!(at("loop").is_symlink() && at("lost").is_symlink());
    }

    #[test]
    fn a_read_only_file_is_refused_and_permissions_stay() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let link = folder.path().join("link");
        symlink("file", &link).unwrap();
        fs::write(&path, "old").unwrap();
        for mode in [0o444, 0o400, 0o555] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            for path in [&path, &link] {
                for result in [check_writable(path), write(path, "new")] {
                    let Err(Error::Write { source, .. }) = result else {
                        panic!("{result:?}");
                    };
                    assert!(source.to_string().contains("read-only"), "{source}");
                }
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        }
        for mode in [0o600, 0o644, 0o664] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            write(&path, "new").unwrap();
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn pipes_and_devices_are_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        check_writable(&pipe).unwrap();
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut text = String::new();
                File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        write(&pipe, "through").unwrap();
        assert_eq!(reader.join().unwrap(), "through");
        write(Path::new("/dev/null"), "gone").unwrap();
        assert!(fs::metadata("/dev/null").is_ok_and(|data| !data.is_file()));
    }
}
