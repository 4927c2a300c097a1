//! Runs sentence-level language models on [ONNX Runtime](https://onnxruntime.ai).
//!
//! A sentence-level language model (SLLM, [arXiv 2408.00655](https://arxiv.org/abs/2408.00655))
//! encodes each sentence to one vector, predicts the vector of the next sentence, and decodes that to
//! text. Its KV cache has one entry per sentence.
//!
//! | type | is |
//! |---|---|
//! | [`Model`] | a loaded bundle: immutable, shared between threads |
//! | [`Session`] | one context: text, sentence vectors and KV cache |
//! | [`Generation`] | a continuation in progress: an iterator of [`Sentence`]s |
//! | [`Batch`] | sessions that are continued together |
//! | [`GenerateOptions`], [`SamplingOptions`] | how a context is continued |
//! | [`bundle::Bundle`] | the files of a model, not loaded |
//! | [`text::TextPipeline`] | text to sentences of tokens, and back |
//!
//! # Continue a text
//!
//! ```no_run
//! use sllm_ort::{GenerateOptions, LoadOptions, Model};
//!
//! let model = Model::load("models/sllm-stories", LoadOptions::default())?;
//! let mut session = model.session()?;
//! session.append("Once upon a time, there was a little fox. ")?;
//! let mut generation = session.generate(GenerateOptions::default().with_max_sentences(4));
//! while let Some(sentence) = generation.next_with(|text| print!("{text}")) {
//!     sentence?;
//! }
//! println!("\n{:?}", generation.finish_reason());
//! # Ok::<(), sllm_ort::Error>(())
//! ```
//!
//! # Sentences and vectors
//!
//! ```no_run
//! # let model = sllm_ort::Model::load("models/sllm-stories", Default::default())?;
//! let vectors = model.encode(&["The fox was happy. ", "The fox was sad. "])?;
//! let (text, _) = model.decode(vectors.row(0))?;
//! let similarity = model.similarity("The fox was happy. ", "The fox was sad. ")?;
//! # Ok::<(), sllm_ort::Error>(())
//! ```
//!
//! # Features
//!
//! | feature | adds | default |
//! |---|---|---|
//! | `measure` | the modules `eval`, `bench` and `stats` | with `cli` |
//! | `cli` | the program `sllm-ort` | yes |
//! | `serve` | its command `serve`, with `cli` | yes |
//!
//! # ONNX Runtime
//!
//! ONNX Runtime is loaded with the first model: from the path in [`LoadOptions`] or
//! `ORT_DYLIB_PATH`, or from the usual places. [`load_library`] loads it earlier. A process uses
//! one ONNX Runtime.

#![deny(missing_docs, clippy::print_stderr)]
// `clippy.toml` allows it in functions that are tests; their helpers may do it too.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
// What only evaluation and benchmark call stays beside what it belongs to.
#![cfg_attr(not(feature = "measure"), allow(dead_code))]

mod batch;
#[cfg(feature = "measure")]
pub mod bench;
pub mod bundle;
mod cancel;
pub mod config;
mod context;
mod embed;
pub mod error;
#[cfg(feature = "measure")]
pub mod eval;
mod fs;
mod generate;
mod generation;
mod graphs;
mod hash;
mod json;
mod kind;
mod logits;
mod model;
mod number;
#[cfg(feature = "measure")]
mod plot;
mod protobuf;
mod runtime;
mod sampling;
mod session;
#[cfg(feature = "measure")]
pub mod stats;
pub mod text;

pub use batch::{Batch, BatchEvent, JoinError};
pub use cancel::CancelHandle;
pub use context::{AppendProgress, Appended};
pub use embed::{Reconstruction, cosine_similarity};
pub use error::{Error, ErrorKind, Result};
pub use fs::check_writable;
#[expect(deprecated)]
pub use generate::WhenFull;
pub use generate::{
    Continuation, FinishReason, GenerateOptions, LogitsHook, OverflowPolicy, Sentence,
};
pub use generation::{Generation, OwnedGeneration};
pub use logits::Logits;
pub use model::{LoadOptions, Model};
pub use runtime::{
    LibraryInfo, MatMulKernel, Provider, ProviderAssignment, ProviderChoice, ProviderOptions,
    ShapeProfiles, SizeRange, data_folder, library_info, load_library,
};
pub use sampling::{GenerationDefaults, REPETITION_WINDOW, SamplingOptions};
pub use session::{Appender, Session};

/// The examples of the README are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use ndarray;
