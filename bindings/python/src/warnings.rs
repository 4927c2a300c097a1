//! Python's warnings: of loading, and of texts that are cut short.

use std::ffi::CString;

use pyo3::{
    PyTypeInfo,
    exceptions::{PyRuntimeWarning, PyUserWarning},
    prelude::*,
    pybacked::PyBackedStr,
};
use sllm_ort::{Appended, Model};

use crate::errors::exception;

/// Warn of what did not work as hoped while a model was loaded.
pub fn of_loading(py: Python<'_>, model: &Model) -> PyResult<()> {
    let mut warnings = model.warnings().iter();
    warnings.try_for_each(|warning| warn::<PyRuntimeWarning>(py, warning))
}

/// Warn of what was not appended of a prompt.
pub fn of_prompt(py: Python<'_>, appended: &Appended) -> PyResult<()> {
    if appended.truncated > 0 {
        let count = appended.truncated;
        let message = format!("{count} sentences of the prompt were cut short");
        warn::<PyUserWarning>(py, &message)?;
    }
    if !appended.dropped.is_empty() {
        let text = &appended.dropped;
        let message = format!("the unfinished sentence {text:?} was dropped");
        warn::<PyUserWarning>(py, &message)?;
    }
    Ok(())
}

/// Warn of texts, each one sentence, that are cut short.
pub fn of_texts(py: Python<'_>, model: &Model, texts: &[PyBackedStr]) -> PyResult<()> {
    let pipeline = model.text_pipeline();
    for (index, text) in texts.iter().enumerate() {
        if let Some(tokens) = pipeline.truncated_tokens(text).map_err(exception)? {
            let message = format!("text {index} is cut short to {tokens} tokens");
            warn::<PyUserWarning>(py, &message)?;
        }
    }
    Ok(())
}

fn warn<Category: PyTypeInfo>(py: Python<'_>, message: &str) -> PyResult<()> {
    PyErr::warn(py, &py.get_type::<Category>(), &c_string(message), 1)
}

/// A text for Python's C functions; null characters are left out.
fn c_string(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().filter(|&byte| byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}
