//! Bundles whose files are in memory.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

/// What messages call the directory of such a bundle.
pub(super) const MEMORY: &str = "<memory>";

/// The content of a file; cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum FileBytes {
    Static(&'static [u8]),
    Shared(Arc<[u8]>),
}

impl FileBytes {
    /// The content on its own; a copy of what is part of the program.
    pub fn shared(&self) -> Arc<[u8]> {
        match self {
            Self::Static(bytes) => Arc::from(*bytes),
            Self::Shared(bytes) => bytes.clone(),
        }
    }
}

impl From<Cow<'static, [u8]>> for FileBytes {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => Self::Static(bytes),
            Cow::Owned(bytes) => Self::Shared(bytes.into()),
        }
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
