//! `Model`: a loaded bundle.

use std::{
    ffi::CString,
    path::{Path, PathBuf},
};

use ndarray::{Array2, Axis, concatenate, s};
use numpy::{IntoPyArray, PyArray2, PyReadonlyArray2};
use pyo3::{
    exceptions::{PyRuntimeWarning, PyTypeError, PyUserWarning},
    prelude::*,
    pybacked::PyBackedStr,
    types::{PyDict, PyList, PyString, PyTuple},
};
use sllm_ort::{
    Appended, CancelHandle, Error, LoadOptions, ProviderOptions, Reconstruction, text::TextSentence,
};

use crate::{
    arguments::{Count, GenerateKeywords, Texts, seconds},
    batch::{Context, Rows},
    errors::{exception, refused},
    interrupt,
    session::Session,
    values,
};

/// Texts that are encoded together, as on the command line.
const ENCODED_TOGETHER: usize = 1024;
/// Vectors that are decoded together, as in the library.
const DECODED_TOGETHER: usize = 32;

/// A model: a bundle, loaded. It is immutable, and may be used from several threads at once.
///
/// The library of the installed package ``onnxruntime`` (or ``onnxruntime-gpu``) is loaded with the
/// first model, or the one that ``ORT_DYLIB_PATH`` or ``onnxruntime`` names.
#[pyclass(frozen, module = "sllm_ort")]
pub struct Model {
    loaded: sllm_ort::Model,
    /// Absolute.
    path: PathBuf,
    /// The keywords that it was loaded with.
    options: Py<PyDict>,
}

impl Model {
    pub fn loaded(&self) -> &sllm_ort::Model {
        &self.loaded
    }

    /// Do a part of the work at a time, until all is done or Ctrl-C.
    fn in_parts<T: Send>(
        &self,
        py: Python<'_>,
        parts: impl Iterator<Item = T> + Send,
        mut work: impl FnMut(&sllm_ort::Model, T) -> sllm_ort::Result<()> + Send,
    ) -> PyResult<()> {
        let cancel = CancelHandle::new();
        let mut result = Ok(());
        interrupt::run(py, &cancel, None, |_| {
            for part in parts {
                if cancel.is_cancelled() {
                    return;
                }
                result = work(&self.loaded, part);
                if result.is_err() {
                    return;
                }
            }
        })?;
        result.map_err(exception)
    }

    fn decode_all(
        &self,
        py: Python<'_>,
        vectors: &Array2<f32>,
    ) -> PyResult<Vec<(String, Vec<u32>)>> {
        let mut decoded = Vec::with_capacity(vectors.nrows());
        let starts = (0..vectors.nrows()).step_by(DECODED_TOGETHER);
        self.in_parts(py, starts, |model, start| {
            let end = vectors.nrows().min(start + DECODED_TOGETHER);
            let part = model.decode_vectors(vectors.slice(s![start..end, ..]));
            decoded.extend(part.map_err(|error| at_row(error, start))?);
            Ok(())
        })?;
        Ok(decoded)
    }

    /// Warn of texts that are cut short.
    fn warn_truncated(&self, py: Python<'_>, texts: &[PyBackedStr]) -> PyResult<()> {
        let pipeline = self.loaded.text_pipeline();
        for (index, text) in texts.iter().enumerate() {
            if let Some(tokens) = pipeline.truncated_tokens(text).map_err(exception)? {
                warn(py, &format!("text {index} is cut short to {tokens} tokens"))?;
            }
        }
        Ok(())
    }
}

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (path, *, provider = "auto", variant = None, threads = None, parallel_runs = None, spinning = None, device = None, memory_limit = None, engine_cache = None, onnxruntime = None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        provider: &str,
        variant: Option<String>,
        threads: Option<Count>,
        parallel_runs: Option<Count>,
        spinning: Option<f64>,
        device: Option<Count>,
        memory_limit: Option<Count>,
        engine_cache: Option<PathBuf>,
        onnxruntime: Option<PathBuf>,
    ) -> PyResult<Self> {
        let options = PyDict::new(py);
        options.set_item("provider", provider)?;
        options.set_item("variant", &variant)?;
        options.set_item("threads", threads.map(|Count(threads)| threads))?;
        let runs = parallel_runs.as_ref().map(|Count(runs)| *runs);
        options.set_item("parallel_runs", runs)?;
        options.set_item("spinning", spinning)?;
        options.set_item("device", device.map(|Count(device)| device))?;
        options.set_item("memory_limit", memory_limit.map(|Count(bytes)| bytes))?;
        options.set_item("engine_cache", &engine_cache)?;
        options.set_item("onnxruntime", &onnxruntime)?;

        let mut for_provider = ProviderOptions::default();
        if let Some(Count(device)) = device {
            // A larger one is refused as this one is.
            let device = u32::try_from(device).unwrap_or(u32::MAX);
            for_provider = for_provider.with_device(device).map_err(exception)?;
        }
        if let Some(Count(bytes)) = memory_limit {
            for_provider = for_provider.with_memory_limit(bytes).map_err(exception)?;
        }
        if let Some(folder) = engine_cache {
            for_provider = for_provider.with_engine_cache(folder).map_err(exception)?;
        }
        let mut load = LoadOptions::default()
            .with_provider(provider.parse().map_err(exception)?)
            .with_provider_options(for_provider);
        if let Some(variant) = variant {
            load = load.with_variant(variant);
        }
        if let Some(Count(threads)) = threads {
            load = load.with_threads(threads).map_err(exception)?;
        }
        if let Some(runs) = runs {
            load = load.with_parallel_runs(runs).map_err(exception)?;
        }
        if let Some(time) = spinning {
            let time = seconds("spinning", time)?;
            load = load.with_spinning(time).map_err(exception)?;
        }
        if let Some(library) = onnxruntime.map_or_else(|| installed_library(py), |p| Ok(Some(p)))? {
            load = load.with_onnxruntime(library);
        }
        let path = std::path::absolute(path)?;
        let loaded = py.detach(|| sllm_ort::Model::load(&path, load));
        let loaded = loaded.map_err(exception)?;
        for warning in loaded.warnings() {
            let category = py.get_type::<PyRuntimeWarning>();
            PyErr::warn(py, &category, &c_string(warning), 1)?;
        }
        Ok(Self {
            loaded,
            path,
            options: options.unbind(),
        })
    }

    /// A session with this prompt, or an empty one.
    #[pyo3(signature = (prompt = None))]
    fn session(this: Bound<'_, Self>, prompt: Option<String>) -> PyResult<Session> {
        let py = this.py();
        let mut session = this.get().loaded.session().map_err(exception)?;
        if let Some(prompt) = prompt {
            let cancel = CancelHandle::new();
            let mut appended = Ok(Appended::default());
            interrupt::run(py, &cancel, None, |_| {
                appended = session.append_cancellable(&prompt, &cancel);
            })?;
            warn_of(py, &appended.map_err(exception)?)?;
        }
        Ok(Session::new(this.unbind(), session))
    }

    /// Continue several contexts in the same runs of the graphs. Each is a prompt or a session.
    ///
    /// The keywords are those of ``Session.generate``, without ``on_text``. The first context has the
    /// seed, each later one the next number.
    #[pyo3(
        signature = (contexts, **options),
        text_signature = "($self, contexts, *, max_sentences=16, max_tokens=None, temperature=None, top_k=None, top_p=None, min_p=None, repetition_penalty=None, no_repeat_ngram=None, seed=None, stop=None, best_of=1, ignore_eos=False, avoid_repeats=None, time_limit=None, overflow='stop', log_probabilities=False)"
    )]
    fn generate_batch<'py>(
        &self,
        py: Python<'py>,
        contexts: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyList>> {
        if let Some(options) = options
            && options.contains("on_text")?
        {
            return Err(PyTypeError::new_err(
                "generate_batch() got an unexpected keyword argument 'on_text'",
            ));
        }
        let keywords =
            GenerateKeywords::read(py, "generate_batch", options, self.loaded.sampling())?;
        if contexts.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err(
                "a list of contexts is needed, not one str",
            ));
        }
        let contexts = contexts.try_iter()?.map(|context| Context::new(&context?));
        let contexts = contexts.collect::<PyResult<Vec<_>>>()?;
        let mut rows = Rows::default();
        let mut result = Ok(());
        interrupt::run(py, &keywords.cancel, None, |_| {
            result = rows.run(&self.loaded, contexts, &keywords);
        })?;
        result.map_err(exception)?;
        let mut continuations = Vec::new();
        for row in rows.finish() {
            warn_of(py, &row.appended)?;
            let reason = row.result.map_err(exception)?;
            continuations.push(values::continuation(py, row.sentences, reason)?);
        }
        PyList::new(py, continuations)
    }

    /// Encode texts, each as one sentence, to vectors: float32 ``[texts, hidden_size]``.
    fn encode<'py>(&self, py: Python<'py>, texts: Texts) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let Texts(texts) = texts;
        let mut encoded = Vec::new();
        self.in_parts(py, texts.chunks(ENCODED_TOGETHER), |model, texts| {
            encoded.push(model.encode(texts)?);
            Ok(())
        })?;
        if encoded.is_empty() {
            // It says what the model is no good for.
            encoded.push(self.loaded.encode::<&str>(&[]).map_err(exception)?);
        }
        self.warn_truncated(py, &texts)?;
        let views: Vec<_> = encoded.iter().map(|part| part.view()).collect();
        // The library gives each part the same width.
        let vectors = match concatenate(Axis(0), &views) {
            Ok(vectors) => vectors,
            Err(error) => return Err(refused("the vectors", error, "one width")),
        };
        Ok(vectors.into_pyarray(py))
    }

    /// Decode sentence vectors ``[sentences, hidden_size]`` greedily to texts.
    fn decode(&self, py: Python<'_>, vectors: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        let vectors = float_matrix(vectors)?;
        let decoded = self.decode_all(py, &vectors)?;
        Ok(decoded.into_iter().map(|(text, _)| text).collect())
    }

    /// Encode texts, each as one sentence, and decode their vectors again.
    fn reconstruct<'py>(&self, py: Python<'py>, texts: Texts) -> PyResult<Bound<'py, PyList>> {
        let Texts(texts) = texts;
        let mut reconstructed: Vec<Reconstruction> = Vec::new();
        self.in_parts(py, texts.chunks(DECODED_TOGETHER), |model, texts| {
            let pipeline = model.text_pipeline();
            let mut sentences: Vec<TextSentence<'_>> = Vec::new();
            for text in texts {
                for sentence in pipeline.one_sentence(text)? {
                    sentences.push(sentence?);
                }
            }
            reconstructed.extend(model.reconstruct(&sentences)?);
            Ok(())
        })?;
        self.warn_truncated(py, &texts)?;
        let values = reconstructed
            .into_iter()
            .map(|value| values::reconstruction(py, value));
        PyList::new(py, values.collect::<PyResult<Vec<_>>>()?)
    }

    /// The cosine similarity of the vectors of two texts: -1 to 1.
    fn similarity(&self, py: Python<'_>, one: &str, other: &str) -> PyResult<f32> {
        let similarity = py.detach(|| self.loaded.similarity(one, other));
        similarity.map_err(exception)
    }

    /// Decode ``steps`` equally spaced vectors between those of two texts, ends included.
    #[pyo3(signature = (start, end, steps = Count(5)), text_signature = "($self, start, end, steps=5)")]
    fn interpolate(
        &self,
        py: Python<'_>,
        start: &str,
        end: &str,
        steps: Count,
    ) -> PyResult<Vec<String>> {
        let texts = py.detach(|| self.loaded.interpolate(start, end, steps.0));
        texts.map_err(exception)
    }

    /// Cut a text into sentences as the model takes them.
    fn segment<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyList>> {
        let pipeline = self.loaded.text_pipeline();
        let sentences = py.detach(|| {
            pipeline
                .sentences(text)?
                .collect::<sllm_ort::Result<Vec<_>>>()
        });
        let sentences = sentences.map_err(exception)?.into_iter();
        let sentences = sentences.map(|value| values::text_sentence(py, value));
        PyList::new(py, sentences.collect::<PyResult<Vec<_>>>()?)
    }

    /// The directory of the bundle.
    #[getter]
    fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the model.
    #[getter]
    fn name(&self) -> &str {
        &self.loaded.config().name
    }

    /// ``sllm``, ``svae`` or ``opt``.
    #[getter]
    fn kind(&self) -> String {
        self.loaded.config().kind.to_string()
    }

    /// The name of the variant in use.
    #[getter]
    fn variant(&self) -> &str {
        self.loaded.variant()
    }

    /// The name of the execution provider in use.
    #[getter]
    fn provider(&self) -> &'static str {
        self.loaded.provider().name()
    }

    /// Numbers of a sentence vector.
    #[getter]
    fn hidden_size(&self) -> usize {
        self.loaded.config().hidden_size
    }

    /// Threads that work on one graph.
    #[getter]
    fn threads(&self) -> usize {
        self.loaded.threads()
    }

    /// Runs of a graph that are possible at the same time.
    #[getter]
    fn parallel_runs(&self) -> usize {
        self.loaded.parallel_runs()
    }

    /// A hash of all that the output depends on but the variant.
    #[getter]
    fn fingerprint(&self) -> String {
        self.loaded.fingerprint()
    }

    /// Path and options, from which the model is loaded again.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let load = py.import("sllm_ort._sllm_ort")?.getattr("unpickle_model")?;
        let arguments = (&self.path, self.options.bind(py)).into_pyobject(py)?;
        (load, arguments).into_pyobject(py)
    }

    fn __copy__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __deepcopy__<'py>(this: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        this
    }

    fn __repr__(&self) -> String {
        format!(
            "<Model {} of kind {}, variant {} on {}>",
            self.loaded.config().name,
            self.loaded.config().kind,
            self.loaded.variant(),
            self.loaded.provider(),
        )
    }
}

/// Load a pickled model.
#[pyfunction]
pub fn unpickle_model<'py>(
    path: Bound<'py, PyAny>,
    options: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let class = path.py().get_type::<Model>();
    class.call((path,), Some(options))
}

/// The library of the package onnxruntime, if nothing else was named or loaded before.
fn installed_library(py: Python<'_>) -> PyResult<Option<PathBuf>> {
    if sllm_ort::library_info().is_some() {
        return Ok(None);
    }
    let runtime = py.import("sllm_ort._runtime")?;
    runtime.call_method0("installed_library")?.extract()
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

fn warn_of(py: Python<'_>, appended: &Appended) -> PyResult<()> {
    if appended.truncated > 0 {
        let count = appended.truncated;
        warn(
            py,
            &format!("{count} sentences of the prompt were cut short"),
        )?;
    }
    if !appended.dropped.is_empty() {
        let text = &appended.dropped;
        warn(py, &format!("the unfinished sentence {text:?} was dropped"))?;
    }
    Ok(())
}

fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    let category = py.get_type::<PyUserWarning>();
    PyErr::warn(py, &category, &c_string(message), 1)
}

/// A text for Python's C functions; null characters are left out.
fn c_string(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().filter(|&byte| byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}
