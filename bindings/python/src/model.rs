//! `Model`: a loaded bundle.

use std::path::{Path, PathBuf};

use numpy::PyArray2;
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyDict, PyList, PyTuple},
};

use crate::{
    arguments::{Count, GenerateKeywords, Texts},
    batch::{Context, Rows},
    errors::{exception, file_error},
    interrupt,
    load_keywords::LoadKeywords,
    session::{self, Session},
    values, vectors, warnings,
};

/// A loaded bundle. It is immutable, and may be used by several threads at once.
///
/// The first model loads ONNX Runtime: the library that ``onnxruntime`` or ``ORT_DYLIB_PATH``
/// names, else that of the installed package ``onnxruntime`` (or ``onnxruntime-gpu``).
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
        let keywords = LoadKeywords {
            provider: provider.to_owned(),
            variant,
            threads,
            parallel_runs,
            spinning,
            device,
            memory_limit,
            engine_cache,
            onnxruntime,
        };
        let pickled = keywords.into_pyobject(py)?;
        let options = keywords.into_options(py)?;
        let path = std::path::absolute(&path).map_err(|error| {
            let message = format!("cannot use the path {path:?}: {error}");
            file_error(message, error.kind(), error.raw_os_error(), &path)
        })?;
        let loaded = py.detach(|| sllm_ort::Model::load(&path, options));
        let loaded = loaded.map_err(exception)?;
        warnings::of_loading(py, &loaded)?;
        Ok(Self {
            loaded,
            path,
            options: pickled.unbind(),
        })
    }

    /// A session with this prompt, or an empty one.
    #[pyo3(signature = (prompt = None))]
    fn session(this: Bound<'_, Self>, prompt: Option<String>) -> PyResult<Session> {
        let py = this.py();
        let mut session = this.get().loaded.session().map_err(exception)?;
        if let Some(prompt) = prompt {
            let appended = session::append(py, &mut session, &prompt)?;
            warnings::of_prompt(py, &appended)?;
        }
        Ok(Session::new(this.unbind(), session))
    }

    /// Continue several contexts in the same runs of the graphs. Each is a prompt or a session.
    ///
    /// The keywords are those of ``Session.generate``, without ``on_text``. The first context uses
    /// the seed, each later one the next number.
    #[pyo3(
        signature = (contexts, **options),
        text_signature = "($self, contexts, *, max_sentences=16, max_tokens=None, temperature=None, guidance_scale=None, top_k=None, top_p=None, min_p=None, repetition_penalty=None, dry_multiplier=None, dry_base=None, dry_allowed_length=None, no_repeat_ngram=None, seed=None, stop=None, best_of=1, ignore_eos=False, avoid_repeats=None, time_limit=None, overflow='stop', log_probabilities=False)"
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
        let contexts = Context::read_all(contexts)?;
        let mut rows = Rows::default();
        let mut result = Ok(());
        interrupt::run(py, &keywords.cancel, None, |_| {
            result = rows.run(&self.loaded, contexts, &keywords);
        })?;
        result.map_err(exception)?;
        let mut continuations = Vec::new();
        for row in rows.finish() {
            warnings::of_prompt(py, &row.appended)?;
            let reason = row.result.map_err(exception)?;
            continuations.push(values::continuation(py, row.sentences, reason)?);
        }
        PyList::new(py, continuations)
    }

    /// Encode texts, each as one sentence, to vectors: float32 ``[texts, hidden_size]``.
    fn encode<'py>(&self, py: Python<'py>, texts: Texts) -> PyResult<Bound<'py, PyArray2<f32>>> {
        vectors::encode(py, &self.loaded, texts)
    }

    /// Decode sentence vectors ``[sentences, hidden_size]`` greedily to texts.
    fn decode(&self, py: Python<'_>, vectors: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        vectors::decode(py, &self.loaded, vectors)
    }

    /// Encode texts, each as one sentence, and decode their vectors again.
    fn reconstruct<'py>(&self, py: Python<'py>, texts: Texts) -> PyResult<Bound<'py, PyList>> {
        vectors::reconstruct(py, &self.loaded, texts)
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

    /// Length of a sentence vector.
    #[getter]
    fn hidden_size(&self) -> usize {
        self.loaded.config().hidden_size
    }

    /// Threads that work on one graph.
    #[getter]
    fn threads(&self) -> usize {
        self.loaded.threads()
    }

    /// Maximum number of runs of a graph at the same time.
    #[getter]
    fn parallel_runs(&self) -> usize {
        self.loaded.parallel_runs()
    }

    /// A hash of all that the output depends on, except the variant.
    #[getter]
    fn fingerprint(&self) -> String {
        self.loaded.fingerprint()
    }

    /// Path and options, from which unpickling loads the model again.
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
