//! The C library `sllm_ort`: the functions that `include/sllm_ort.h` declares.
//!
//! A handle is a boxed value. Functions take references to it only, and a session is taken out of
//! its handle while it is used, so that a second use at the same time is an error.

#![deny(missing_docs)]
// The header states, for all functions together, what a caller must keep to.
#![allow(clippy::missing_safety_doc)]

mod batch;
mod buffer;
mod callbacks;
mod cancel;
mod finish_reason;
mod generation;
mod load_options;
mod logits;
mod model;
mod options;
mod pointers;
mod sampling;
mod segment;
mod session;
mod snapshot;
mod status;
mod texts;
mod vectors;
mod version;
