//! Keywords that a model is loaded with, and the installed ONNX Runtime.

use std::path::PathBuf;

use pyo3::prelude::*;
use sllm_ort::{LoadOptions, ProviderOptions};

use crate::{
    arguments::{Count, seconds},
    errors::exception,
};

/// The keywords that a model is loaded with; a dict in Python.
#[derive(IntoPyObjectRef)]
pub struct LoadKeywords {
    pub provider: String,
    pub variant: Option<String>,
    pub threads: Option<Count>,
    pub parallel_runs: Option<Count>,
    pub spinning: Option<f64>,
    pub device: Option<Count>,
    pub memory_limit: Option<Count>,
    pub engine_cache: Option<PathBuf>,
    pub onnxruntime: Option<PathBuf>,
}

impl LoadKeywords {
    /// The options that they stand for.
    ///
    /// # Errors
    /// `ArgumentError` for a value out of range.
    pub fn into_options(self, py: Python<'_>) -> PyResult<LoadOptions> {
        let mut for_provider = ProviderOptions::default();
        if let Some(Count(device)) = self.device {
            // A larger one is refused as this one is.
            let device = u32::try_from(device).unwrap_or(u32::MAX);
            for_provider = for_provider.with_device(device).map_err(exception)?;
        }
        if let Some(Count(bytes)) = self.memory_limit {
            for_provider = for_provider.with_memory_limit(bytes).map_err(exception)?;
        }
        if let Some(folder) = self.engine_cache {
            for_provider = for_provider.with_engine_cache(folder).map_err(exception)?;
        }
        let mut options = LoadOptions::default()
            .with_provider(self.provider.parse().map_err(exception)?)
            .with_provider_options(for_provider);
        if let Some(variant) = self.variant {
            options = options.with_variant(variant);
        }
        if let Some(Count(threads)) = self.threads {
            options = options.with_threads(threads).map_err(exception)?;
        }
        if let Some(Count(runs)) = self.parallel_runs {
            options = options.with_parallel_runs(runs).map_err(exception)?;
        }
        if let Some(time) = self.spinning {
            let time = seconds("spinning", time)?;
            options = options.with_spinning(time).map_err(exception)?;
        }
        let library = match self.onnxruntime {
            Some(library) => Some(library),
            None => installed_library(py)?,
        };
        if let Some(library) = library {
            options = options.with_onnxruntime(library);
        }
        Ok(options)
    }
}

/// The library of the package onnxruntime, if nothing else was named or loaded before.
fn installed_library(py: Python<'_>) -> PyResult<Option<PathBuf>> {
    if sllm_ort::library_info().is_some() {
        return Ok(None);
    }
    let runtime = py.import("sllm_ort._runtime")?;
    runtime.call_method0("installed_library")?.extract()
}
