//! What is wrong with a graph that ONNX Runtime loads or runs.

use std::path::PathBuf;

use super::{BoxedError, message::first_of};

/// What is wrong with a graph that ONNX Runtime loads or runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// ONNX Runtime refused a graph.
    #[error("{}: cannot be loaded with execution provider {provider:?}: export the bundle again, or use a newer ONNX Runtime", .path.display())]
    Load {
        /// The graph.
        path: PathBuf,
        /// The execution provider.
        provider: &'static str,
        /// What ONNX Runtime said.
        source: BoxedError,
    },
    /// A graph has other inputs, outputs or metadata than its role requires.
    #[error("{}: the graph does not have the expected signature: {}: export the bundle again", .path.display(), first_of(.problems))]
    Signature {
        /// The graph.
        path: PathBuf,
        /// All that differs, each as expected and as found.
        problems: Vec<String>,
    },
    /// A graph failed while it ran.
    #[error("{}: the run failed", .path.display())]
    Run {
        /// The graph.
        path: PathBuf,
        /// What ONNX Runtime said.
        source: BoxedError,
    },
    /// A graph's output contains NaN or infinity. A restored session may also be the cause: a
    /// snapshot can hold any finite numbers.
    #[error("{}: output {output} is not finite: the weights are damaged, or the precision is too low for them, try another variant", .path.display())]
    NotFinite {
        /// The graph.
        path: PathBuf,
        /// The output.
        output: &'static str,
    },
}
