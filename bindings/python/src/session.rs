//! `Session`: a context that grows.

use std::path::PathBuf;

use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};
use sllm_ort::{Appended, CancelHandle};

use crate::{
    arguments::{Count, GenerateKeywords},
    errors::exception,
    generation::Generation,
    interrupt,
    lease::Slot,
    model::Model,
    values,
};

/// A context that grows: a prompt and generated sentences.
///
/// ``Model.session`` makes one. One thread at a time may use it: a second use at the same time, also
/// from the loop over a generation that has not ended, raises ``BusyError``.
#[pyclass(frozen, module = "sllm_ort")]
pub struct Session {
    model: Py<Model>,
    slot: Slot,
}

impl Session {
    pub fn new(model: Py<Model>, session: sllm_ort::Session) -> Self {
        Self {
            model,
            slot: Slot::new(session),
        }
    }

    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    fn look<T>(&self, look: impl FnOnce(&sllm_ort::Session) -> T) -> PyResult<T> {
        Ok(look(self.slot.take()?.session()?))
    }

    /// Use the session with the interpreter's lock released.
    fn work<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut sllm_ort::Session) -> sllm_ort::Result<T> + Send,
    ) -> PyResult<T> {
        let mut lease = self.slot.take()?;
        let session = lease.session()?;
        py.detach(|| work(session)).map_err(exception)
    }
}

#[pymethods]
impl Session {
    /// Restore a session from a file that ``save`` wrote with the same model.
    #[staticmethod]
    fn load(py: Python<'_>, model: Bound<'_, Model>, path: PathBuf) -> PyResult<Self> {
        let loaded = model.get().loaded();
        let session = py.detach(|| sllm_ort::Session::load(loaded, path));
        Ok(Self::new(model.unbind(), session.map_err(exception)?))
    }

    /// Restore a session from bytes that ``to_bytes`` returned with the same model.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, model: Bound<'_, Model>, data: &[u8]) -> PyResult<Self> {
        let loaded = model.get().loaded();
        let session = py.detach(|| sllm_ort::Session::from_bytes(loaded, data));
        Ok(Self::new(model.unbind(), session.map_err(exception)?))
    }

    /// Cut a text into sentences and append them.
    ///
    /// Ctrl-C ends it, and leaves the session as it was.
    fn append<'py>(&self, py: Python<'py>, text: String) -> PyResult<Bound<'py, PyAny>> {
        let mut lease = self.slot.take()?;
        let session = lease.session()?;
        values::appended(py, append(py, session, &text)?)
    }

    /// Continue the context: an iterator over its new sentences.
    ///
    /// A keyword that is None, the default of most, has the value of the model's bundle.
    /// ``on_text`` is called with each piece of text as it is decoded.
    #[pyo3(
        signature = (**options),
        text_signature = "($self, *, max_sentences=16, max_tokens=None, temperature=None, guidance_scale=None, top_k=None, top_p=None, min_p=None, repetition_penalty=None, dry_multiplier=None, dry_base=None, dry_allowed_length=None, no_repeat_ngram=None, seed=None, stop=None, best_of=1, ignore_eos=False, avoid_repeats=None, time_limit=None, overflow='stop', log_probabilities=False, on_text=None)"
    )]
    fn generate(
        &self,
        py: Python<'_>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Generation> {
        let model = self.model.get().loaded();
        let keywords = GenerateKeywords::read(py, "generate", options, model.sampling())?;
        Generation::start(self.slot.take()?, keywords)
    }

    /// A separate session with the same context.
    fn fork(&self, py: Python<'_>) -> PyResult<Self> {
        let session = self.work(py, |session| session.fork())?;
        Ok(Self::new(self.model.clone_ref(py), session))
    }

    /// Remove the last sentences, or all if there are fewer.
    #[pyo3(signature = (sentences = Count(1)), text_signature = "($self, sentences=1)")]
    fn rewind(&self, py: Python<'_>, sentences: Count) -> PyResult<()> {
        self.work(py, |session| session.rewind(sentences.0))
    }

    /// Remove the first sentences, or all if there are fewer.
    #[pyo3(signature = (sentences = Count(1)), text_signature = "($self, sentences=1)")]
    fn drop_oldest(&self, py: Python<'_>, sentences: Count) -> PyResult<()> {
        self.work(py, |session| session.drop_oldest(sentences.0))
    }

    /// Remove the whole context, and release its memory.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        self.work(py, sllm_ort::Session::clear)
    }

    /// Write the session to a file, whole or not at all.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.work(py, |session| session.save(path))
    }

    /// The session as bytes, which ``from_bytes`` restores.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.work(py, |session| session.to_bytes())?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The model.
    #[getter]
    fn model(&self, py: Python<'_>) -> Py<Model> {
        self.model.clone_ref(py)
    }

    /// The text of the context: all that was appended and generated.
    #[getter]
    fn text(&self) -> PyResult<String> {
        self.look(sllm_ort::Session::text)
    }

    /// The texts of the sentences of the context.
    #[getter]
    fn sentences(&self) -> PyResult<Vec<String>> {
        self.look(|session| session.sentences().map(str::to_owned).collect())
    }

    /// Number of tokens of the context.
    #[getter]
    fn tokens(&self) -> PyResult<usize> {
        self.look(sllm_ort::Session::tokens)
    }

    /// How many more sentences (in kind ``opt`` tokens) the context can hold.
    #[getter]
    fn remaining(&self) -> PyResult<usize> {
        self.look(sllm_ort::Session::remaining)
    }

    /// Memory of the KV cache, in bytes.
    #[getter]
    fn memory_bytes(&self) -> PyResult<usize> {
        self.look(sllm_ort::Session::memory_bytes)
    }

    fn __len__(&self) -> PyResult<usize> {
        self.look(sllm_ort::Session::len)
    }

    fn __repr__(&self) -> String {
        let name = &self.model.get().loaded().config().name;
        match self.look(|session| (session.len(), session.tokens())) {
            Ok((sentences, tokens)) => {
                format!("<Session of {name}: {sentences} sentences, {tokens} tokens>")
            }
            Err(_) => format!("<Session of {name}, in use>"),
        }
    }
}

/// Append a text to a session, which Ctrl-C ends.
pub fn append(py: Python<'_>, session: &mut sllm_ort::Session, text: &str) -> PyResult<Appended> {
    let cancel = CancelHandle::new();
    let mut appended = Ok(Appended::default());
    interrupt::run(py, &cancel, None, |_| {
        appended = session.append_cancellable(text, &cancel);
    })?;
    appended.map_err(exception)
}
