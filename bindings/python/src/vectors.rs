//! Sentence vectors, encoded and decoded in parts that Ctrl-C interrupts.

use ndarray::{Array2, Axis, concatenate, s};
use numpy::{IntoPyArray, PyArray2, PyReadonlyArray2};
use pyo3::{prelude::*, pybacked::PyBackedStr, types::PyList};
use sllm_ort::{CancelHandle, Error, Model, Reconstruction, text::TextSentence};

use crate::{
    arguments::Texts,
    errors::{exception, refused},
    interrupt, values, warnings,
};

/// Texts that are encoded together.
const ENCODED_TOGETHER: usize = 64;
/// Vectors that are decoded together, as in the library.
const DECODED_TOGETHER: usize = 32;

/// Encode texts, each as one sentence: `[texts, hidden]`.
pub fn encode<'py>(
    py: Python<'py>,
    model: &Model,
    Texts(texts): Texts,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let mut encoded = Vec::new();
    in_parts(py, texts.chunks(ENCODED_TOGETHER), |texts| {
        encoded.push(model.encode(texts)?);
        Ok(())
    })?;
    if encoded.is_empty() {
        // It says what the model is no good for.
        encoded.push(model.encode::<&str>(&[]).map_err(exception)?);
    }
    warnings::of_texts(py, model, &texts)?;
    let views: Vec<_> = encoded.iter().map(|part| part.view()).collect();
    // The library gives each part the same width.
    let vectors = match concatenate(Axis(0), &views) {
        Ok(vectors) => vectors,
        Err(error) => return Err(refused("the vectors", error, "one width")),
    };
    Ok(vectors.into_pyarray(py))
}

/// Decode vectors `[sentences, hidden]` greedily to texts.
pub fn decode(py: Python<'_>, model: &Model, vectors: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let vectors = float_matrix(vectors)?;
    let mut decoded = Vec::with_capacity(vectors.nrows());
    let starts = (0..vectors.nrows()).step_by(DECODED_TOGETHER);
    in_parts(py, starts, |start| {
        let end = vectors.nrows().min(start + DECODED_TOGETHER);
        let part = model.decode_vectors(vectors.slice(s![start..end, ..]));
        let part = part.map_err(|error| at_row(error, start))?;
        decoded.extend(part.into_iter().map(|(text, _)| text));
        Ok(())
    })?;
    Ok(decoded)
}

/// Encode texts, each as one sentence, and decode their vectors again.
pub fn reconstruct<'py>(
    py: Python<'py>,
    model: &Model,
    Texts(texts): Texts,
) -> PyResult<Bound<'py, PyList>> {
    let sentences = sentences(py, model, &texts)?;
    let mut reconstructed: Vec<Reconstruction> = Vec::new();
    in_parts(py, sentences.chunks(DECODED_TOGETHER), |sentences| {
        reconstructed.extend(model.reconstruct(sentences)?);
        Ok(())
    })?;
    warnings::of_texts(py, model, &texts)?;
    let values = reconstructed
        .into_iter()
        .map(|value| values::reconstruction(py, value));
    PyList::new(py, values.collect::<PyResult<Vec<_>>>()?)
}

/// Each text as one sentence.
///
/// # Errors
/// `ArgumentError` for a text that is none, or more than one.
fn sentences<'t>(
    py: Python<'_>,
    model: &Model,
    texts: &'t [PyBackedStr],
) -> PyResult<Vec<TextSentence<'t>>> {
    let pipeline = model.text_pipeline();
    let mut sentences = Vec::with_capacity(texts.len());
    let mut wrong = None;
    let numbered = texts.iter().enumerate();
    in_parts(py, numbered, |(index, text)| {
        let mut parts = pipeline.one_sentence(text)?;
        match (parts.next().transpose()?, parts.next()) {
            (Some(sentence), None) => sentences.push(sentence),
            (None, _) => {
                wrong.get_or_insert((index, "empty"));
            }
            (Some(_), Some(_)) => {
                wrong.get_or_insert((index, "longer than a sentence of this model"));
            }
        }
        Ok(())
    })?;
    match wrong {
        Some((index, problem)) => Err(refused(&format!("texts[{index}]"), problem, "one sentence")),
        None => Ok(sentences),
    }
}

/// Do a part of the work at a time, until all is done or Ctrl-C.
fn in_parts<T: Send>(
    py: Python<'_>,
    parts: impl Iterator<Item = T> + Send,
    mut work: impl FnMut(T) -> sllm_ort::Result<()> + Send,
) -> PyResult<()> {
    let cancel = CancelHandle::new();
    let mut result = Ok(());
    interrupt::run(py, &cancel, None, |_| {
        for part in parts {
            if cancel.is_cancelled() {
                return;
            }
            result = work(part);
            if result.is_err() {
                return;
            }
        }
    })?;
    result.map_err(exception)
}

/// An array of two dimensions of whatever NumPy makes one of.
fn float_matrix(vectors: &Bound<'_, PyAny>) -> PyResult<Array2<f32>> {
    let numpy = vectors.py().import("numpy")?;
    let array = numpy.call_method1("asarray", (vectors, "float32"))?;
    let matrix: PyReadonlyArray2<'_, f32> = array.extract().map_err(|_| {
        let shape = array.getattr("shape").map(|shape| shape.to_string());
        refused("vectors", shape.unwrap_or_default(), "of two dimensions")
    })?;
    Ok(matrix.as_array().to_owned())
}

/// An error of a part of some vectors, as one of all of them.
fn at_row(error: Error, start: usize) -> Error {
    match error {
        Error::VectorNotFinite { row } => Error::VectorNotFinite { row: start + row },
        error => error,
    }
}
