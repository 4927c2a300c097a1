//! The one error type of the library.

mod bundle;
mod caught;
mod graph;
mod kind;
mod message;
mod runtime;
mod schema;
mod state;
mod text;

use std::{io, path::PathBuf, sync::Arc};

use crate::kind::ModelKind;
pub use bundle::BundleError;
pub(crate) use caught::caught;
pub use caught::panic_is_caught;
pub use graph::GraphError;
pub use kind::ErrorKind;
use message::first_of;
pub(crate) use message::{list, one_line};
pub use runtime::RuntimeError;
pub use schema::SchemaProblem;
pub(crate) use schema::{Problems, SHOWN_CHARS, shown};
pub use state::StateError;
pub use text::TextError;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of another library, kept as the source of one of ours.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong, with what was expected and what was found.
///
/// The message of a variant is one line that says what failed, where, and what to do. The cause is
/// in [`source`](std::error::Error::source) and not repeated in the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("cannot read {}: check that it exists and is readable", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: check that its folder exists, and that folder and file are writable", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is larger than its type allows.
    #[error("{} has {bytes} bytes, at most {limit} are allowed: check that it is the right file", .path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, or the number of bytes read when reading stopped.
        bytes: u64,
        /// The largest size that is accepted.
        limit: u64,
    },
    /// A text is not JSON.
    #[error(
        "{origin}: line {line}, column {column}: not valid JSON: correct it there, or export the bundle again"
    )]
    Json {
        /// The file that the text came from.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A configuration or manifest does not follow its schema.
    #[error("{origin}: {}", first_of(.problems))]
    Schema {
        /// The file.
        origin: String,
        /// All that is wrong; at least one problem.
        problems: Vec<SchemaProblem>,
    },
    /// A bundle is incomplete or damaged, or has no variant that fits.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A text cannot be used, or tokens cannot be decoded.
    #[error(transparent)]
    Text(#[from] TextError),
    /// ONNX Runtime or an execution provider is missing, or does not start.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A graph cannot be loaded, or its run failed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A saved session or evaluation cannot be used.
    #[error(transparent)]
    State(#[from] StateError),

    /// An operation needs a part that models of this kind lack.
    #[error("model {model} is of kind {kind} and has no {part}: use a model of kind {usable}")]
    WrongKind {
        /// Name of the model.
        model: String,
        /// Its kind.
        kind: ModelKind,
        /// The part that is missing.
        part: &'static str,
        /// The kinds that have it.
        usable: &'static str,
    },
    /// More positions than a cache may hold.
    #[error("a cache for {limit} positions cannot take {positions}")]
    CacheFull {
        /// Positions that it would hold.
        positions: usize,
        /// Positions that it may hold.
        limit: usize,
    },
    /// A vector is not a sentence vector of this model.
    #[error("a vector has {found} numbers, a sentence vector of this model has {expected}")]
    VectorSize {
        /// Its length.
        found: usize,
        /// The model's hidden size.
        expected: usize,
    },
    /// A vector passed by the caller contains NaN or infinity.
    #[error("vector {row} has a number that is not finite: correct it before it is decoded")]
    VectorNotFinite {
        /// The index of the vector, from 0.
        row: usize,
    },
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A context of a batch could not be continued.
    #[error("context {row} of the batch: {source}")]
    BatchRow {
        /// The index of the context, from 0.
        row: usize,
        /// What went wrong.
        source: Box<Error>,
    },
    /// A run shared by several contexts failed; each of them gets this error.
    #[error(transparent)]
    Shared(Arc<Error>),
    /// An empty context cannot be continued.
    #[error("there is nothing to continue: give a prompt of at least one sentence")]
    EmptyContext,
    /// A batch has contexts of different models.
    #[error("the sessions of a batch belong to several models: give those of one")]
    MixedModels,
    /// The text does not fit into the context.
    #[error(
        "the text has more {unit} than fit: the context holds {held} of at most {limit}: shorten the text"
    )]
    ContextFull {
        /// `sentences`, or `tokens` for a model of kind `opt`.
        unit: &'static str,
        /// How many the context holds.
        held: usize,
        /// How many it may hold.
        limit: usize,
    },
    /// An option is out of its range.
    #[error("{option} is {value}, allowed is {allowed}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// The value given.
        value: String,
        /// What it may be.
        allowed: String,
    },
}
