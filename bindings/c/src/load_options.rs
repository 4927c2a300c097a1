//! How a model is loaded.

use std::{ffi::c_char, time::Duration};

use sllm::{LoadOptions, ProviderOptions};

use crate::{
    pointers::{exclusive, free, make, path, text},
    status::{Failure, SllmStatus, run},
};

/// How a model is loaded.
///
/// Threads: used by one thread at a time. Several sllm_model_load may read
/// it at once.
#[derive(Clone, Default)]
pub struct SllmLoadOptions {
    load: LoadOptions,
    provider: ProviderOptions,
}

impl SllmLoadOptions {
    pub fn to_options(&self) -> LoadOptions {
        let load = self.load.clone();
        load.with_provider_options(self.provider.clone())
    }
}

/// A time in seconds.
pub fn seconds(option: &str, seconds: f64) -> Result<Duration, Failure> {
    let duration = Duration::try_from_secs_f64(seconds);
    duration.map_err(|_| Failure::refused(option, seconds, "0 or more seconds"))
}

/// Change options.
///
/// # Safety
/// As [`exclusive`].
unsafe fn set(
    options: *mut SllmLoadOptions,
    change: impl FnOnce(&mut SllmLoadOptions) -> Result<(), Failure>,
) -> SllmStatus {
    run(|| {
        // SAFETY: the same rule.
        change(unsafe { exclusive(options, "options") }?)
    })
}

/// Make options with default values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_options_new(out: *mut *mut SllmLoadOptions) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, || Ok(SllmLoadOptions::default())) }
}

/// Set the execution provider: "auto" (default), "cpu", "cuda" and so on.
///
/// Errors: INVALID_INPUT for another name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_options_set_provider(
    options: *mut SllmLoadOptions,
    provider: *const c_char,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set(options, |options| {
            let provider = text(provider, "provider")?.parse()?;
            options.load = options.load.clone().with_provider(provider);
            Ok(())
        })
    }
}

/// Set the variant of the bundle; default: the first one for the provider.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_options_set_variant(
    options: *mut SllmLoadOptions,
    variant: *const c_char,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set(options, |options| {
            let variant = text(variant, "variant")?;
            options.load = options.load.clone().with_variant(variant);
            Ok(())
        })
    }
}

/// Set the threads that work on one graph, 1 to 1024.
///
/// Default: 1 for a model narrower than 512, else all processors up to 4.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_options_set_threads(
    options: *mut SllmLoadOptions,
    threads: usize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set(options, |options| {
            options.load = options.load.clone().with_threads(threads)?;
            Ok(())
        })
    }
}

/// Set the maximum number of runs of a graph at the same time, 1 to 64.
///
/// For threads that share a model. The runs share the weights that
/// the library's own kernels use; each has its own copy of the others.
/// The number is capped so that each run has processors for all of its threads.
/// Default: 1.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_options_set_parallel_runs(
    options: *mut SllmLoadOptions,
    runs: usize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set(options, |options| {
            options.load = options.load.clone().with_parallel_runs(runs)?;
            Ok(())
        })
    }
}

/// Set how long an idle thread spins before it sleeps, in seconds: 0 to 1.
///
/// Default: 0.0002.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_options_set_spinning(
    options: *mut SllmLoadOptions,
    spinning: f64,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set(options, |options| {
            let spinning = seconds("spinning", spinning)?;
            options.load = options.load.clone().with_spinning(spinning)?;
            Ok(())
        })
    }
}

/// Set the number of the GPU, 0 to 1023. For CUDA and TensorRT.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_options_set_device(
    options: *mut SllmLoadOptions,
    device: u32,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set(options, |options| {
            options.provider = options.provider.clone().with_device(device)?;
            Ok(())
        })
    }
}

/// Set the limit of GPU memory for each graph, in bytes, at least 1 MiB.
///
/// For CUDA.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_options_set_memory_limit(
    options: *mut SllmLoadOptions,
    bytes: usize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set(options, |options| {
            options.provider = options.provider.clone().with_memory_limit(bytes)?;
            Ok(())
        })
    }
}

/// Set the directory that caches the engines of TensorRT.
///
/// Errors: INVALID_INPUT for what is not a directory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_options_set_engine_cache(
    options: *mut SllmLoadOptions,
    directory: *const c_char,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set(options, |options| {
            let directory = path(directory, "directory")?;
            options.provider = options.provider.clone().with_engine_cache(directory)?;
            Ok(())
        })
    }
}

/// Set the ONNX Runtime library or its folder, instead of searching for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_options_set_onnxruntime(
    options: *mut SllmLoadOptions,
    library: *const c_char,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set(options, |options| {
            let library = path(library, "library")?;
            options.load = options.load.clone().with_onnxruntime(library);
            Ok(())
        })
    }
}

/// Free options. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_load_options_free(options: *mut SllmLoadOptions) {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { free(options) };
}
