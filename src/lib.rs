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

mod backbone;
pub mod bench;
pub mod bundle;
mod candidates;
pub mod config;
mod decoder;
mod encoder;
pub mod error;
pub mod eval;
mod generation;
mod hash;
mod model;
mod opt;
mod plot;
mod runtime;
mod sampling;
mod session;
pub mod stats;
pub mod text;
mod whole_file;

pub use error::{Error, Result};
pub use generation::{
    CancelHandle, Continuation, FinishReason, GenerateOptions, Generation, GenerationDefaults,
    Sentence, WhenFull,
};
pub use model::{LoadOptions, Model, Reconstruction};
pub use runtime::{
    LibraryInfo, Placement, Provider, ProviderChoice, ProviderOptions, ShapeProfiles, SizeRange,
    data_folder, library_info, load_library,
};
pub use sampling::{REPETITION_WINDOW, SamplingOptions};
pub use session::{Appended, Session};
pub use whole_file::check_writable;
