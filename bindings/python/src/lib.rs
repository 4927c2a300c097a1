//! The native module of the Python package `sllm_ort`.
//!
//! Every method that runs a graph releases the interpreter's lock. A session is taken out of its
//! Python object while it is used, so that a second use at the same time is an error.

mod arguments;
mod batch;
mod errors;
mod generation;
mod interrupt;
mod lease;
mod load_keywords;
mod model;
mod session;
mod values;
mod vectors;
mod warnings;

use pyo3::prelude::*;

#[pymodule]
mod _sllm_ort {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::generation::Generation;
    #[pymodule_export]
    use super::model::{Model, unpickle_model};
    #[pymodule_export]
    use super::session::Session;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
