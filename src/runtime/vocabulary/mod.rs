//! The vocabulary kernel: ranks all tokens of a large vocabulary, coarse to fine, in place of the
//! nodes that do so in a graph.
//!
//! A graph that ranks has the output projection twice: with weights of 4 bits, and with rows in
//! float16. The whole vocabulary is ranked with the former, and the best tokens get their logits from
//! the latter. [`pattern`] finds the nodes in a graph and puts one custom operator in their place,
//! which [`operator`] runs on ONNX Runtime's own threads. The file of the graph stays as it is.

mod activations;
mod best;
mod kernel;
mod operator;
mod packed;
mod pattern;
#[cfg(test)]
mod tests;

pub use kernel::VocabularyKernel;
pub(super) use operator::domain;
pub(super) use pattern::with_operator;
