//! What is wrong with ONNX Runtime or an execution provider.

use std::path::PathBuf;

use super::{BoxedError, message::missing_file};

/// What is wrong with ONNX Runtime or an execution provider.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// ONNX Runtime was not found in any of the places searched.
    #[error("ONNX Runtime cannot be loaded ({}): install it with `python3 -m pip install onnxruntime`, or name the library or its folder (ORT_DYLIB_PATH)", .attempts.join("; "))]
    NotFound {
        /// Each place that was searched, with what was wrong there.
        attempts: Vec<String>,
    },
    /// The process already uses another ONNX Runtime than the one requested.
    #[error("ONNX Runtime is already loaded from {}, a process cannot also use {}: load all models with the same library", .loaded.display(), .requested.display())]
    Conflict {
        /// The library in use.
        loaded: PathBuf,
        /// The one asked for.
        requested: PathBuf,
    },
    /// The loaded ONNX Runtime was built without an execution provider.
    #[error(
        "the ONNX Runtime in use has no execution provider {provider:?}{}: use a build of it that has, such as onnxruntime-gpu for cuda, or another provider",
        missing_file(.missing.as_deref())
    )]
    ProviderMissing {
        /// The execution provider.
        provider: &'static str,
        /// The expected path of the provider's own library, if the file is missing.
        missing: Option<PathBuf>,
    },
    /// An execution provider that the loaded ONNX Runtime has could not be started.
    #[error(
        "execution provider {provider:?} cannot start: {problem}: install what is missing, or use another provider"
    )]
    ProviderStart {
        /// The execution provider.
        provider: &'static str,
        /// The file that is missing, if it is known that one is.
        problem: String,
        /// What ONNX Runtime said.
        source: BoxedError,
    },
}
