//! Weights of a graph that are not in its own file.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    sync::Arc,
};

/// Where the external data of a graph is.
pub(crate) enum ExternalData {
    /// In files of a folder.
    Folder(PathBuf),
    /// In memory, by its path relative to the graph; empty if the graph has none.
    Memory(Vec<(String, Arc<[u8]>)>),
}

impl ExternalData {
    /// Part of a file, if the file has so many bytes.
    pub fn read(&self, name: &str, offset: u64, length: usize) -> Option<Vec<u8>> {
        match self {
            Self::Folder(folder) => {
                let mut file = File::open(folder.join(name)).ok()?;
                // Nothing is allocated for what is not there.
                if file.metadata().ok()?.len().checked_sub(offset)? < length as u64 {
                    return None;
                }
                file.seek(SeekFrom::Start(offset)).ok()?;
                let mut data = vec![0; length];
                file.read_exact(&mut data).ok()?;
                Some(data)
            }
            Self::Memory(files) => {
                let (_, content) = files.iter().find(|(known, _)| known == name)?;
                let start = usize::try_from(offset).ok()?;
                Some(content.get(start..start.checked_add(length)?)?.to_vec())
            }
        }
    }

    /// The files in memory.
    pub fn in_memory(&self) -> &[(String, Arc<[u8]>)] {
        match self {
            Self::Folder(_) => &[],
            Self::Memory(files) => files,
        }
    }
}
