//! Products with weights of 4 and 8 bits on the processor, in place of ONNX Runtime's.
//!
//! [`product`] finds the nodes of a graph that are such products, and [`ranking`] those that rank a
//! large vocabulary, coarse to fine: the whole vocabulary with weights of 4 bits, the best tokens with
//! rows in float16. [`slot_attention`] finds the attention to the slots of a sentence vector, whose
//! keys and values are then computed once for a sentence ([`slot_memory`]), not for each token.
//! [`replace`] puts custom operators in their place and takes the weights out of the graph, [`packed`]
//! puts these into the order in which a [`kernel`] reads them, and [`operators`] run on ONNX Runtime's
//! own threads. The file of the graph stays as it is.

mod activations;
mod best;
mod huge_pages;
mod kernel;
mod onnx;
mod operators;
mod packed;
mod producers;
mod product;
mod ranking;
mod replace;
mod replaced;
mod slot_attention;
mod slot_memory;
#[cfg(test)]
mod tests;

pub use kernel::MatMulKernel;
pub(super) use operators::domain;
pub(super) use replace::Plan;
pub(super) use replaced::Replaced;
