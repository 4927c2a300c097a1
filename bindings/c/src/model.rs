//! Models: loading and description.

use std::ffi::c_char;

use serde_json::json;

use crate::{
    buffer::SllmBuffer,
    load_options::SllmLoadOptions,
    pointers::{free, make, path, shared},
    status::{SllmStatus, value},
    version,
};

/// A loaded model.
///
/// Threads: immutable, may be used by several threads at once. It may be
/// freed before its sessions: they keep what they need of it.
pub struct SllmModel(pub sllm::Model);

/// Load the bundle in a directory.
///
/// options: NULL for default values. It may be freed after the call.
/// out: a model to free with sllm_model_free.
///
/// Errors: INVALID_FILE for a bundle that is missing or damaged, UNSUPPORTED
/// for an unknown variant, RUNTIME if ONNX Runtime or the provider does not
/// start, MODEL if a graph cannot be loaded, IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_model_load(
    directory: *const c_char,
    options: *const SllmLoadOptions,
    out: *mut *mut SllmModel,
) -> SllmStatus {
    let load = || {
        // SAFETY: the caller keeps to the rules of the header.
        let (directory, options) = unsafe { (path(directory, "directory")?, options.as_ref()) };
        let options = options.map(SllmLoadOptions::to_options).unwrap_or_default();
        Ok(SllmModel(sllm::Model::load(directory, options)?))
    };
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, load) }
}

/// Free a model. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_model_free(model: *mut SllmModel) {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { free(model) };
}

/// Describe a model as JSON.
///
/// The keys: name, kind ("sllm", "svae" or "opt"), path, variant, provider,
/// threads, hidden_size, vocab_size, max_sentences, max_sentence_tokens,
/// fingerprint, generation (the default options), warnings (from loading),
/// onnxruntime (path, version, build).
///
/// out: a buffer to free with sllm_buffer_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_model_info(
    model: *const SllmModel,
    out: *mut *mut SllmBuffer,
) -> SllmStatus {
    let work = || {
        // SAFETY: the caller keeps to the rules of the header.
        let model = unsafe { shared(model, "model") }?;
        Ok(SllmBuffer::new(info(&model.0).to_string()))
    };
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, work) }
}

fn info(model: &sllm::Model) -> serde_json::Value {
    let config = model.config();
    let defaults = model.generation_defaults();
    let sampling = &defaults.sampling;
    json!({
        "name": config.name,
        "kind": config.kind.to_string(),
        "path": model.bundle().dir.display().to_string(),
        "variant": model.variant(),
        "provider": model.provider().name(),
        "threads": model.threads(),
        "hidden_size": config.hidden_size,
        "vocab_size": config.vocab_size,
        "max_sentences": config.max_sentences,
        "max_sentence_tokens": config.max_sentence_tokens,
        "fingerprint": model.fingerprint(),
        "generation": {
            "temperature": sampling.temperature(),
            "guidance_scale": sampling.guidance_scale(),
            "top_k": sampling.top_k(),
            "top_p": sampling.top_p(),
            "min_p": sampling.min_p(),
            "repetition_penalty": sampling.repetition_penalty(),
            "dry_multiplier": sampling.dry_multiplier(),
            "dry_base": sampling.dry_base(),
            "dry_allowed_length": sampling.dry_allowed_length(),
            "no_repeat_ngram": sampling.no_repeat_ngram(),
            "avoid_repeats": defaults.avoid_repeats,
        },
        "warnings": model.warnings(),
        "onnxruntime": version::info(),
    })
}

/// Length of a sentence vector; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_model_hidden_size(model: *const SllmModel) -> usize {
    // SAFETY: the caller keeps to the rules of the header.
    let model = unsafe { shared(model, "model") };
    value(0, || {
        model.map_or(0, |SllmModel(model)| model.config().hidden_size)
    })
}
