//! Segmentation of a text into sentences.

use std::ffi::c_char;

use crate::{
    model::SllmModel,
    pointers::{make, shared, text},
    status::SllmStatus,
    texts::{SllmTexts, entry},
};

/// Cut a text into sentences as the model takes them, with token ids.
///
/// out: a list to free with sllm_texts_free. Token ids are without bos and
/// eos.
///
/// Errors: TOO_LONG for a text of more than 64 MiB, INVALID_INPUT for a
/// character that the tokenizer does not know.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_model_segment(
    model: *const SllmModel,
    text: *const c_char,
    out: *mut *mut SllmTexts,
) -> SllmStatus {
    let work = || {
        // SAFETY: the caller keeps to the rules of the header.
        let (SllmModel(model), text) =
            unsafe { (shared(model, "model")?, self::text(text, "text")?) };
        let sentences = model.text_pipeline().sentences(text)?;
        Ok(sentences
            .map(|sentence| sentence.map(entry))
            .collect::<sllm::Result<_>>()?)
    };
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, work) }
}
