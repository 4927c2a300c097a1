//! Sentence vectors of texts, and texts of sentence vectors.

use std::ffi::c_char;

use ndarray::ArrayView2;
use sllm::text::TextSentence;

use crate::{
    model::SllmModel,
    pointers::{array, array_mut, give, make, put, shared, text, texts},
    status::{Failure, SllmStatus, run},
    texts::SllmTexts,
};

/// Texts that are encoded together, as on the command line.
const ENCODED_TOGETHER: usize = 64;

/// Encode texts, each as one sentence, to vectors.
///
/// texts: strings [count].
/// vectors: memory for float [count, hidden_size], which the caller owns.
/// After an error its content is unspecified.
/// capacity: how many floats vectors has room for.
/// truncated: gets how many texts were cut short, which only bundles whose
/// segmentation truncates do; NULL is allowed.
///
/// Errors: TOO_LONG for a text that does not fit one sentence, INVALID_INPUT
/// if capacity is too small, UNSUPPORTED for a model of kind "opt", MODEL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_model_encode(
    model: *const SllmModel,
    texts: *const *const c_char,
    count: usize,
    vectors: *mut f32,
    capacity: usize,
    truncated: *mut usize,
) -> SllmStatus {
    run(|| {
        // SAFETY: the caller keeps to the rules of the header.
        let (SllmModel(model), texts) =
            unsafe { (shared(model, "model")?, self::texts(texts, count, "texts")?) };
        let needed = count.checked_mul(model.config().hidden_size);
        let Some(needed) = needed.filter(|&needed| needed <= capacity) else {
            let allowed = format!("{count} times {} or more", model.config().hidden_size);
            return Err(Failure::refused("capacity", capacity, &allowed));
        };
        // SAFETY: the caller keeps to the rules of the header.
        let vectors = unsafe { array_mut(vectors, needed, "vectors") }?;
        if texts.is_empty() {
            // It says what the model is no good for.
            model.encode::<&str>(&[])?;
        }
        let mut rest = vectors;
        let mut cut = 0;
        for texts in texts.chunks(ENCODED_TOGETHER) {
            let encoded = model.encode(texts)?;
            // As many numbers as the bundle says, or the library gives an error.
            let (part, behind) = rest.split_at_mut(encoded.len().min(rest.len()));
            for (place, value) in part.iter_mut().zip(&encoded) {
                *place = *value;
            }
            rest = behind;
            for text in texts {
                cut += usize::from(model.text_pipeline().truncated_tokens(text)?.is_some());
            }
        }
        // SAFETY: the caller keeps to the rules of the header.
        unsafe { put(truncated, cut) };
        Ok(())
    })
}

/// Decode sentence vectors greedily to texts, with token ids.
///
/// vectors: float [count, hidden_size].
/// out: a list of count texts to free with sllm_texts_free. Token ids are
/// without bos, and with eos if it was generated.
///
/// Errors: INVALID_INPUT for NaN or infinity, UNSUPPORTED for a model of
/// kind "opt", MODEL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_model_decode(
    model: *const SllmModel,
    vectors: *const f32,
    count: usize,
    out: *mut *mut SllmTexts,
) -> SllmStatus {
    let work = || {
        // SAFETY: the caller keeps to the rules of the header.
        let SllmModel(model) = unsafe { shared(model, "model") }?;
        let hidden = model.config().hidden_size;
        let Some(length) = count.checked_mul(hidden) else {
            return Err(Failure::refused("count", count, "what memory can hold"));
        };
        // SAFETY: the caller keeps to the rules of the header.
        let vectors = unsafe { array(vectors, length, "vectors") }?;
        let vectors = ArrayView2::from_shape((count, hidden), vectors)
            .map_err(|error| Failure::refused("vectors", error, "[count, hidden_size]"))?;
        let decoded = model.decode_vectors(vectors)?.into_iter();
        Ok(decoded.map(|(text, ids)| (text, ids, false)).collect())
    };
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, work) }
}

/// Encode texts, each as one sentence, and decode their vectors again.
///
/// texts: strings [count].
/// exact: memory for bool [count], gets whether the token ids of each text were
/// reconstructed; NULL is allowed.
/// out: a list of the decoded texts, with the output tokens.
///
/// Errors: INVALID_INPUT for an empty text, else as sllm_model_encode.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_model_reconstruct(
    model: *const SllmModel,
    texts: *const *const c_char,
    count: usize,
    exact: *mut bool,
    out: *mut *mut SllmTexts,
) -> SllmStatus {
    let work = || {
        // SAFETY: the caller keeps to the rules of the header.
        let (SllmModel(model), texts) =
            unsafe { (shared(model, "model")?, self::texts(texts, count, "texts")?) };
        let pipeline = model.text_pipeline();
        let mut sentences: Vec<TextSentence<'_>> = Vec::with_capacity(texts.len());
        for (index, text) in texts.into_iter().enumerate() {
            let mut parts = pipeline
                .one_sentence(text)?
                .collect::<sllm::Result<Vec<_>>>()?;
            match (parts.pop(), parts.is_empty()) {
                (Some(sentence), true) => sentences.push(sentence),
                (None, _) => {
                    let name = format!("texts[{index}]");
                    return Err(Failure::refused(&name, "empty", "a sentence"));
                }
                (Some(_), false) => {
                    let message = format!("texts[{index}] does not fit one sentence of the model");
                    return Err(Failure::new(SllmStatus::TooLong, message));
                }
            }
        }
        let decoded = model.reconstruct(&sentences)?;
        for (index, reconstruction) in decoded.iter().enumerate().filter(|_| !exact.is_null()) {
            // SAFETY: the caller keeps to the rules of the header: there is room for one per text.
            unsafe { put(exact.wrapping_add(index), reconstruction.exact) };
        }
        let texts = decoded.into_iter();
        Ok(texts
            .map(|text| (text.output, text.output_ids, false))
            .collect())
    };
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, work) }
}

/// Compute the cosine similarity of two texts' vectors: -1 to 1.
///
/// Errors: as sllm_model_encode.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_model_similarity(
    model: *const SllmModel,
    one: *const c_char,
    other: *const c_char,
    similarity: *mut f32,
) -> SllmStatus {
    run(|| {
        // SAFETY: the caller keeps to the rules of the header.
        let (SllmModel(model), one, other) = unsafe {
            (
                shared(model, "model")?,
                text(one, "one")?,
                text(other, "other")?,
            )
        };
        let found = model.similarity(one, other)?;
        // SAFETY: the caller keeps to the rules of the header.
        unsafe { give(similarity, "similarity", found) }
    })
}

/// Decode equally spaced vectors between those of two texts, ends included.
///
/// steps: how many, 2 to 1024.
/// out: a list of steps texts to free with sllm_texts_free.
///
/// Errors: INVALID_INPUT for steps, else as sllm_model_encode.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_model_interpolate(
    model: *const SllmModel,
    start: *const c_char,
    end: *const c_char,
    steps: usize,
    out: *mut *mut SllmTexts,
) -> SllmStatus {
    let work = || {
        // SAFETY: the caller keeps to the rules of the header.
        let (SllmModel(model), start, end) = unsafe {
            (
                shared(model, "model")?,
                text(start, "start")?,
                text(end, "end")?,
            )
        };
        let texts = model.interpolate(start, end, steps)?.into_iter();
        Ok(texts.map(|text| (text, Vec::new(), false)).collect())
    };
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, work) }
}
