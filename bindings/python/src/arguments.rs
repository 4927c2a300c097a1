//! Arguments: counts, seconds, and the keywords of a generation.

use std::time::Duration;

use pyo3::{
    Borrowed,
    exceptions::{PyOverflowError, PyTypeError},
    prelude::*,
    pybacked::PyBackedStr,
    types::{PyDict, PyString},
};
use sllm_ort::{CancelHandle, GenerateOptions, OverflowPolicy, SamplingOptions};

use crate::errors::{exception, refused};

/// A whole number from 0; a negative one is a `ValueError`.
#[derive(Clone, Copy, IntoPyObjectRef)]
pub struct Count(pub usize);

impl<'py> FromPyObject<'_, 'py> for Count {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match value.extract::<usize>() {
            Ok(count) => Ok(Self(count)),
            Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
                Err(refused("a count", &*value, "0 or more"))
            }
            Err(error) => Err(error),
        }
    }
}

/// A sequence of texts. One text alone is a sequence too, of characters, and is refused.
pub struct Texts(pub Vec<PyBackedStr>);

impl<'py> FromPyObject<'_, 'py> for Texts {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if value.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err(
                "a list of texts is needed, not one str",
            ));
        }
        value.extract().map(Self)
    }
}

/// A time in seconds.
pub fn seconds(option: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| refused(option, seconds, "0 or more seconds"))
}

/// The keywords of a generation, and what they give.
pub struct GenerateKeywords {
    pub options: GenerateOptions,
    pub sampling: SamplingOptions,
    pub cancel: CancelHandle,
    pub on_text: Option<Py<PyAny>>,
}

impl GenerateKeywords {
    /// Read the keywords of `function`, over the sampling options of a bundle.
    ///
    /// # Errors
    /// `TypeError` for an unknown keyword and a value of a wrong type, `ArgumentError` for a value
    /// out of range.
    pub fn read(
        py: Python<'_>,
        function: &str,
        keywords: Option<&Bound<'_, PyDict>>,
        defaults: &SamplingOptions,
    ) -> PyResult<Self> {
        let cancel = CancelHandle::new();
        let mut read = Self {
            options: GenerateOptions::default().with_cancel(cancel.clone()),
            sampling: defaults.clone(),
            cancel,
            on_text: None,
        };
        let mut seed = None;
        for (keyword, value) in keywords.into_iter().flat_map(|keywords| keywords.iter()) {
            let keyword: String = keyword.extract()?;
            if keyword == "seed" {
                seed = (!value.is_none())
                    .then(|| count(&keyword, &value))
                    .transpose()?;
            } else {
                read = read.with(function, &keyword, &value)?;
            }
        }
        // As on the command line, another one each time.
        let seed = match seed {
            Some(seed) => seed,
            None => py
                .import("secrets")?
                .call_method1("randbits", (32,))?
                .extract()?,
        };
        read.sampling = read.sampling.with_seed(seed);
        Ok(read)
    }

    fn with(mut self, function: &str, keyword: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        match keyword {
            "max_sentences" => {
                self.options = self.options.with_max_sentences(count(keyword, value)?);
            }
            "max_tokens" => {
                if !value.is_none() {
                    self.options = self.options.with_max_tokens(Some(count(keyword, value)?));
                }
            }
            "log_probabilities" => {
                let wanted = typed(keyword, value)?;
                self.options = self.options.with_log_probabilities(wanted);
            }
            "ignore_eos" => self.options = self.options.with_ignore_eos(typed(keyword, value)?),
            "best_of" => {
                let best_of = self.options.with_best_of(count(keyword, value)?);
                self.options = best_of.map_err(exception)?;
            }
            "avoid_repeats" => {
                if let Some(avoid) = typed(keyword, value)? {
                    self.options = self.options.with_avoid_repeats(avoid);
                }
            }
            "time_limit" => {
                if let Some(limit) = typed(keyword, value)? {
                    self.options = self.options.with_time_limit(seconds(keyword, limit)?);
                }
            }
            "overflow" => {
                let policy = overflow(&typed::<String>(keyword, value)?)?;
                self.options = self.options.with_overflow(policy);
            }
            "stop" => {
                for text in stop_texts(keyword, value)? {
                    self.options = self.options.with_stop_text(text).map_err(exception)?;
                }
            }
            "temperature" | "guidance_scale" | "top_p" | "min_p" | "repetition_penalty"
            | "dry_multiplier" | "dry_base" => {
                if let Some(value) = typed(keyword, value)? {
                    self.sampling = match keyword {
                        "temperature" => self.sampling.with_temperature(value),
                        "guidance_scale" => self.sampling.with_guidance_scale(value),
                        "top_p" => self.sampling.with_top_p(value),
                        "min_p" => self.sampling.with_min_p(value),
                        "repetition_penalty" => self.sampling.with_repetition_penalty(value),
                        "dry_multiplier" => self.sampling.with_dry_multiplier(value),
                        _ => self.sampling.with_dry_base(value),
                    }
                    .map_err(exception)?;
                }
            }
            "top_k" | "no_repeat_ngram" | "dry_allowed_length" => {
                if !value.is_none() {
                    let value = count(keyword, value)?;
                    self.sampling = match keyword {
                        "top_k" => self.sampling.with_top_k(Some(value)),
                        "no_repeat_ngram" => self.sampling.with_no_repeat_ngram(Some(value)),
                        _ => self.sampling.with_dry_allowed_length(value),
                    }
                    .map_err(exception)?;
                }
            }
            "on_text" => {
                if !value.is_none() && !value.is_callable() {
                    return Err(PyTypeError::new_err(
                        "argument 'on_text': it is not callable",
                    ));
                }
                self.on_text = (!value.is_none()).then(|| value.clone().unbind());
            }
            _ => {
                return Err(PyTypeError::new_err(format!(
                    "{function}() got an unexpected keyword argument '{keyword}'"
                )));
            }
        }
        Ok(self)
    }

    /// The options with sampling, of the row of a batch that has this index.
    pub fn of_row(&self, row: u64) -> GenerateOptions {
        let seed = self.sampling.seed().wrapping_add(row);
        self.options
            .clone()
            .with_sampling(self.sampling.clone().with_seed(seed))
    }
}

/// A value of the type that a keyword takes.
fn typed<'py, T>(keyword: &str, value: &Bound<'py, PyAny>) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    value
        .extract()
        .map_err(|error| named(keyword, value, error))
}

/// A whole number from 0.
fn count<T>(keyword: &str, value: &Bound<'_, PyAny>) -> PyResult<T>
where
    T: for<'a, 'py> FromPyObject<'a, 'py, Error = PyErr>,
{
    let number = value.extract();
    number.map_err(
        |error: PyErr| match error.is_instance_of::<PyOverflowError>(value.py()) {
            true => refused(keyword, value, "0 or more, of 64 bits"),
            false => named(keyword, value, error),
        },
    )
}

/// A `TypeError` that names its keyword, as those of other arguments do.
fn named(keyword: &str, value: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let py = value.py();
    match error.is_instance_of::<PyTypeError>(py) {
        true => PyTypeError::new_err(format!("argument '{keyword}': {}", error.value(py))),
        false => error,
    }
}

fn overflow(name: &str) -> PyResult<OverflowPolicy> {
    match name {
        "stop" => Ok(OverflowPolicy::Stop),
        "drop_oldest" => Ok(OverflowPolicy::DropOldest),
        _ => Err(refused(
            "overflow",
            format!("{name:?}"),
            "\"stop\" or \"drop_oldest\"",
        )),
    }
}

/// None, one text, or a sequence of texts.
fn stop_texts(keyword: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if value.is_none() {
        Ok(Vec::new())
    } else if value.is_instance_of::<PyString>() {
        Ok(vec![typed(keyword, value)?])
    } else {
        typed(keyword, value)
    }
}
