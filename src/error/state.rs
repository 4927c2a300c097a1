//! What is wrong with a saved session or evaluation.

use std::path::PathBuf;

/// What is wrong with a saved session or evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A file is not a saved session.
    #[error("{}: not a session of this program: {problem}", .path.display())]
    Session {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A context cannot be written as a snapshot.
    #[error("cannot write the session: {problem}")]
    Snapshot {
        /// What is wrong.
        problem: String,
    },
    /// A saved session belongs to another model.
    #[error("{}: was saved with another model than {model}: load it with the bundle that it was saved with", .path.display())]
    SessionModel {
        /// The file.
        path: PathBuf,
        /// The model in use.
        model: String,
    },
    /// A file is not a saved evaluation.
    #[error("{}: not the state of an evaluation: {problem}: name another file, or remove it to begin anew", .path.display())]
    Eval {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A saved evaluation is of another model, text or option, or was computed in another way.
    #[error("{}: is of an evaluation with another {what} ({found}, not {expected}): name another file, or remove it to begin anew", .path.display())]
    EvalMismatch {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the file has.
        found: String,
        /// What this evaluation has.
        expected: String,
    },
}
