//! Categories of errors.

use super::{BundleError, Error, StateError, TextError};

/// The category of an error, for callers that handle similar errors alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file could not be read or written.
    Io,
    /// An argument, option or text of the caller is not allowed.
    InvalidInput,
    /// Text or context is longer than the model or the library allows.
    TooLong,
    /// A bundle, configuration, session or other file is damaged, or of another version.
    InvalidFile,
    /// The model's kind or variant does not support this.
    Unsupported,
    /// ONNX Runtime or an execution provider is missing, or does not start.
    Runtime,
    /// A graph failed, or its output is invalid.
    Model,
    /// The work was cancelled.
    Cancelled,
}

impl Error {
    /// The category of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        use ErrorKind as Kind;
        match self {
            Self::Read { .. } | Self::Write { .. } => Kind::Io,
            Self::InvalidOption { .. }
            | Self::VectorSize { .. }
            | Self::VectorNotFinite { .. }
            | Self::EmptyContext
            | Self::MixedModels => Kind::InvalidInput,
            Self::ContextFull { .. } | Self::CacheFull { .. } => Kind::TooLong,
            Self::FileTooLarge { .. } | Self::Json { .. } | Self::Schema { .. } => {
                Kind::InvalidFile
            }
            Self::Bundle(
                BundleError::UnknownVariant { .. }
                | BundleError::NoVariantForProvider { .. }
                | BundleError::NoGraph { .. },
            )
            | Self::WrongKind { .. } => Kind::Unsupported,
            Self::Bundle(_) => Kind::InvalidFile,
            Self::Text(TextError::TooLarge { .. } | TextError::SentenceTooLong { .. }) => {
                Kind::TooLong
            }
            Self::Text(_) => Kind::InvalidInput,
            Self::Runtime(_) => Kind::Runtime,
            Self::Graph(_) => Kind::Model,
            Self::State(StateError::EvalMismatch { .. }) => Kind::InvalidInput,
            Self::State(_) => Kind::InvalidFile,
            Self::Cancelled => Kind::Cancelled,
            Self::BatchRow { source, .. } => source.kind(),
            Self::Shared(source) => source.kind(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_within_another_keeps_its_kind() {
        let row = Error::BatchRow {
            row: 1,
            source: Box::new(Error::Shared(Error::Cancelled.into())),
        };
        assert_eq!(row.kind(), ErrorKind::Cancelled);
        assert_eq!(Error::EmptyContext.kind(), ErrorKind::InvalidInput);
    }
}
