//! What a caller can do about an error.

use super::Error;

/// What sort of thing went wrong, for a caller that treats errors alike.
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
    /// The model is of a kind, or a variant, that does not do this.
    Unsupported,
    /// ONNX Runtime or an execution provider is missing, or does not start.
    Runtime,
    /// A graph failed, or gave what it must not give.
    Model,
    /// The work was cancelled.
    Cancelled,
}

impl Error {
    /// What sort of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        use ErrorKind as Kind;
        match self {
            Self::Read { .. } | Self::Write { .. } => Kind::Io,
            Self::InvalidOption { .. }
            | Self::VectorSize { .. }
            | Self::VectorNotFinite { .. }
            | Self::EmptyContext
            | Self::MixedModels
            | Self::SentenceLimit { .. }
            | Self::Encode { .. }
            | Self::Decode { .. }
            | Self::UnknownCharacter { .. }
            | Self::CharacterTooLong { .. }
            | Self::NotText { .. }
            | Self::NoSentences { .. }
            | Self::UnusableText { .. }
            | Self::EvalStateMismatch { .. } => Kind::InvalidInput,
            Self::TextTooLarge { .. }
            | Self::SentenceTooLong { .. }
            | Self::ContextFull { .. }
            | Self::CacheFull { .. } => Kind::TooLong,
            Self::FileTooLarge { .. }
            | Self::Json { .. }
            | Self::Schema { .. }
            | Self::BundleNotFound { .. }
            | Self::BundleNotDirectory { .. }
            | Self::ManifestMissing { .. }
            | Self::FileOutside { .. }
            | Self::FormatVersion { .. }
            | Self::BundleFile { .. }
            | Self::LfsPointer { .. }
            | Self::HashMismatch { .. }
            | Self::MalformedGraph { .. }
            | Self::UnlistedExternalData { .. }
            | Self::TokenizerLoad { .. }
            | Self::TokenizerMismatch { .. }
            | Self::SessionFile { .. }
            | Self::Snapshot { .. }
            | Self::SessionModel { .. }
            | Self::EvalState { .. } => Kind::InvalidFile,
            Self::WrongKind { .. }
            | Self::UnknownVariant { .. }
            | Self::NoVariantForProvider { .. }
            | Self::NoGraph { .. } => Kind::Unsupported,
            Self::RuntimeNotFound { .. }
            | Self::RuntimeConflict { .. }
            | Self::ProviderMissing { .. }
            | Self::ProviderStart { .. } => Kind::Runtime,
            Self::GraphLoad { .. }
            | Self::GraphSignature { .. }
            | Self::GraphRun { .. }
            | Self::NotFinite { .. } => Kind::Model,
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
