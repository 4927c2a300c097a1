// On docs.rs the files that README links to are among the sources of the package, of which the model
// is no part. The first definition of a link holds.
#![cfg_attr(
    docsrs,
    doc = "[docs/speed.md]: https://docs.rs/crate/sllm-ort/latest/source/docs/speed.md"
)]
#![cfg_attr(
    docsrs,
    doc = "[docs/original-checkpoint.md]: https://docs.rs/crate/sllm-ort/latest/source/docs/original-checkpoint.md"
)]
#![cfg_attr(
    docsrs,
    doc = "[docs/training.md]: https://docs.rs/crate/sllm-ort/latest/source/docs/training.md"
)]
#![cfg_attr(
    docsrs,
    doc = "[docs/concurrency.md]: https://docs.rs/crate/sllm-ort/latest/source/docs/concurrency.md"
)]
#![cfg_attr(
    docsrs,
    doc = "[examples]: https://docs.rs/crate/sllm-ort/latest/source/examples/"
)]
#![cfg_attr(
    docsrs,
    doc = "[tests/embedding]: https://docs.rs/crate/sllm-ort/latest/source/tests/embedding/"
)]
#![cfg_attr(docsrs, doc = "[model card]: #the-shipped-model")]
#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
// What only evaluation and benchmark call stays beside what it belongs to.
#![cfg_attr(not(feature = "measure"), allow(dead_code))]

mod batch;
#[cfg(feature = "measure")]
pub mod bench;
pub mod bundle;
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
mod logits;
mod model;
#[cfg(feature = "measure")]
mod plot;
mod runtime;
mod sampling;
mod session;
#[cfg(feature = "measure")]
pub mod stats;
pub mod text;

pub use batch::{Batch, BatchEvent, JoinError};
pub use context::Appended;
pub use embed::Reconstruction;
pub use error::{Error, Result};
pub use fs::check_writable;
#[expect(deprecated)]
pub use generate::WhenFull;
pub use generate::{
    CancelHandle, Continuation, FinishReason, GenerateOptions, GenerationDefaults, OverflowPolicy,
    Sentence,
};
pub use generation::Generation;
pub use model::{LoadOptions, Model};
pub use runtime::{
    LibraryInfo, Placement, Provider, ProviderChoice, ProviderOptions, ShapeProfiles, SizeRange,
    data_folder, library_info, load_library,
};
pub use sampling::{REPETITION_WINDOW, SamplingOptions};
pub use session::{Appender, Session};
