//! Files of a bundle: checks of their paths and hashes.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    MAX_MANIFEST_BYTES,
    memory::{FileBytes, MEMORY},
};
use crate::error::{BundleError, Error, Result};
use crate::fs::{is_lfs_pointer, read_text};
use crate::hash::hexadecimal;

/// Longest file name in a manifest, in bytes.
const MAX_FILE_NAME_BYTES: usize = 1024;
/// Bytes read and hashed at a time: hashed while they are still in the processor's cache.
const CHUNK_BYTES: usize = 256 << 10;

/// A file of a bundle with the hash of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BundleFile {
    /// Name in the manifest: relative to the bundle's directory, with `/`.
    pub name: String,
    /// Path inside the bundle's directory, without symbolic links. For a bundle in memory, the name
    /// that messages use.
    pub path: PathBuf,
    /// SHA-256 of the content according to the manifest, in lower-case hexadecimal.
    pub sha256: String,
    /// In a bundle in memory.
    content: Option<FileBytes>,
}

/// Where the files of a bundle are.
pub(super) enum Files {
    /// In this directory, whose path is free of symbolic links.
    Directory(PathBuf),
    /// In memory, by name.
    Memory(BTreeMap<String, FileBytes>),
}

impl Files {
    pub fn directory(dir: &Path) -> Result<Self> {
        let root = dir.canonicalize().map_err(|source| Error::Read {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Self::Directory(root))
    }

    /// Finds a file by its name, which [`name_problem`] allows.
    pub fn find(&self, file: &mut BundleFile) -> Result<()> {
        match self {
            Self::Directory(root) => file.path = path_inside(root, &file.name)?,
            Self::Memory(files) => {
                file.path = Path::new(MEMORY).join(&file.name);
                file.content = files.get(&file.name).cloned();
                if file.content.is_none() {
                    let path = file.path.clone();
                    return Err(Error::Bundle(BundleError::MissingFile {
                        path,
                        source: None,
                    }));
                }
            }
        }
        Ok(())
    }
}

/// Where the regular file `name` is in `root`; both free of symbolic links.
fn path_inside(root: &Path, name: &str) -> Result<PathBuf> {
    let joined = root.join(name);
    let path = joined.canonicalize().map_err(|source| {
        Error::Bundle(BundleError::MissingFile {
            path: joined.clone(),
            source: Some(source),
        })
    })?;
    if !path.starts_with(root) {
        return Err(Error::Bundle(BundleError::FileOutside {
            path: joined,
            target: path,
        }));
    }
    if !path.is_file() {
        return Err(Error::Bundle(BundleError::MissingFile {
            path,
            source: None,
        }));
    }
    Ok(path)
}

impl BundleFile {
    /// A file that [`Files::find`] is to look for.
    pub(super) fn new(name: String, sha256: String) -> Self {
        Self {
            name,
            path: PathBuf::new(),
            sha256,
            content: None,
        }
    }

    /// Reads the file, of at most `limit` bytes, and checks its hash in the same pass.
    ///
    /// # Errors
    /// [`BundleError::HashMismatch`] if the file was cut short or changed, [`Error::FileTooLarge`],
    /// [`Error::Read`].
    pub fn read_verified(&self, limit: u64) -> Result<Vec<u8>> {
        self.verified(limit).map(Cow::into_owned)
    }

    /// As [`read_verified`](Self::read_verified), without a copy of what is in memory already.
    pub(crate) fn verified(&self, limit: u64) -> Result<Cow<'_, [u8]>> {
        if let Some(content) = &self.content {
            self.scan(limit, |_, _| {})?;
            return Ok(Cow::Borrowed(content));
        }
        let mut bytes = Vec::new();
        self.scan(limit, |size, chunk| {
            if bytes.is_empty() {
                // The size is only a hint: the file may change between the two calls.
                bytes.reserve_exact(usize::try_from(size.min(limit)).unwrap_or(0));
            }
            bytes.extend_from_slice(chunk);
        })?;
        Ok(Cow::Owned(bytes))
    }

    /// The content, if it is in memory; its hash may be wrong.
    pub(super) fn content(&self) -> Option<&FileBytes> {
        self.content.as_ref()
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> io::Result<u64> {
        match &self.content {
            Some(content) => Ok(content.len() as u64),
            None => Ok(fs::metadata(&self.path)?.len()),
        }
    }

    /// Checks the hash of the file, of any size, without keeping its content.
    ///
    /// # Errors
    /// [`BundleError::HashMismatch`] if the file was cut short or changed, [`Error::Read`].
    pub fn verify(&self) -> Result<()> {
        self.scan(u64::MAX, |_, _| {})
    }

    /// Hands the content to `take` with the file's size, piece by piece, and checks the hash at the
    /// end.
    fn scan(&self, limit: u64, mut take: impl FnMut(u64, &[u8])) -> Result<()> {
        let failed = |source| Error::Read {
            path: self.path.clone(),
            source,
        };
        let size = self.size().map_err(failed)?;
        let mut file: Box<dyn Read + '_> = match &self.content {
            Some(content) => Box::new(&content[..]),
            None => Box::new(File::open(&self.path).map_err(failed)?),
        };
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        let (mut bytes, mut is_pointer) = (0u64, false);
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(failed(e)),
            };
            bytes = bytes.saturating_add(count as u64);
            if bytes > limit {
                return Err(Error::FileTooLarge {
                    path: self.path.clone(),
                    bytes: bytes.max(size),
                    limit,
                });
            }
            let chunk = buffer.get(..count).unwrap_or_default();
            is_pointer |= bytes == count as u64 && is_lfs_pointer(chunk);
            hasher.update(chunk);
            take(size, chunk);
        }
        let found = hexadecimal(&hasher.finalize());
        if found == self.sha256 {
            return Ok(());
        }
        if is_pointer {
            return Err(Error::Bundle(BundleError::LfsPointer {
                path: self.path.clone(),
            }));
        }
        Err(Error::Bundle(BundleError::HashMismatch {
            path: self.path.clone(),
            expected: self.sha256.clone(),
            found,
        }))
    }
}

/// The text of the manifest in `path`, which must be a regular file inside of `dir`.
pub(super) fn read_manifest(dir: &Path, path: &Path) -> Result<String> {
    let failed = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let root = dir.canonicalize().map_err(failed)?;
    let target = path.canonicalize().map_err(failed)?;
    if !target.starts_with(&root) {
        return Err(Error::Bundle(BundleError::FileOutside {
            path: path.to_owned(),
            target,
        }));
    }
    // Opening a pipe would wait for a writer.
    if !target.metadata().map_err(failed)?.is_file() {
        let path = path.to_owned();
        return Err(Error::Bundle(BundleError::ManifestNotFile { path }));
    }
    read_text(path, MAX_MANIFEST_BYTES)
}

/// What forbids a file name, if anything does. Checked on the text, so that a bundle is safe on
/// every system.
pub(super) fn name_problem(name: &str) -> Option<&'static str> {
    if name.len() > MAX_FILE_NAME_BYTES {
        return Some("has a name that is too long");
    }
    if name.chars().any(char::is_control) {
        return Some("has a control character in its name");
    }
    if name.contains('\\') || name.contains(':') {
        return Some("has a backslash or a colon in its name");
    }
    // Windows allows none of them, and ONNX Runtime takes external data in `*/_ORT_MEM_ADDR_/*` for
    // an address in memory.
    if name.contains(['*', '?', '"', '<', '>', '|']) {
        return Some("has one of * ? \" < > | in its name");
    }
    if name.starts_with('/') {
        return Some("is absolute");
    }
    let mut parts = name.split('/');
    parts
        .any(|part| matches!(part, "" | "." | ".."))
        .then_some("has an empty, `.` or `..` part")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in [
            "a.onnx",
            "cpu-int8/encoder.onnx",
            "...",
            "a b",
            "été/模型.onnx",
        ] {
            assert_eq!(name_problem(good), None, "{good:?}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a\\b",
            "C:x",
            "a\nb",
            "a\0",
            "*/_ORT_MEM_ADDR_/*",
            "a?",
        ] {
            assert!(name_problem(bad).is_some(), "{bad:?}");
        }
        assert!(name_problem(&"x".repeat(MAX_FILE_NAME_BYTES + 1)).is_some());
    }
}
