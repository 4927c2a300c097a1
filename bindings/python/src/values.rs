//! Results as the dataclasses of `sllm_ort/_values.py`.

use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyList, PyType},
};
use sllm_ort::{FinishReason, text::TextSentence};

const MODULE: &str = "sllm_ort._values";

type Class = PyOnceLock<Py<PyType>>;

pub fn sentence<'py>(py: Python<'py>, value: sllm_ort::Sentence) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: Class = Class::new();
    let class = CLASS.import(py, MODULE, "Sentence")?;
    class.call1((
        value.index,
        value.text,
        value.token_ids,
        value.stop_probability,
        value.log_probabilities,
    ))
}

pub fn continuation<'py>(
    py: Python<'py>,
    sentences: Vec<sllm_ort::Sentence>,
    reason: FinishReason,
) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: Class = Class::new();
    let sentences = sentences.into_iter().map(|value| sentence(py, value));
    let sentences = PyList::new(py, sentences.collect::<PyResult<Vec<_>>>()?)?;
    let class = CLASS.import(py, MODULE, "Continuation")?;
    class.call1((sentences, reason.as_str()))
}

pub fn appended<'py>(py: Python<'py>, value: sllm_ort::Appended) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: Class = Class::new();
    let class = CLASS.import(py, MODULE, "Appended")?;
    class.call1((value.sentences, value.truncated, value.dropped))
}

pub fn reconstruction<'py>(
    py: Python<'py>,
    value: sllm_ort::Reconstruction,
) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: Class = Class::new();
    let class = CLASS.import(py, MODULE, "Reconstruction")?;
    class.call1((
        value.input,
        value.input_ids,
        value.output,
        value.output_ids,
        value.exact,
    ))
}

pub fn text_sentence<'py>(py: Python<'py>, value: TextSentence<'_>) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: Class = Class::new();
    let class = CLASS.import(py, MODULE, "TextSentence")?;
    class.call1((value.text, value.ids, value.truncated))
}
