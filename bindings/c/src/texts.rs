//! Lists of texts.

use std::{ffi::c_char, ptr};

use sllm::text::TextSentence;

use crate::{
    pointers::{free, shared},
    status::value,
};

/// A text of a list.
#[repr(C)]
pub struct SllmText {
    /// UTF-8, ended by a NUL.
    pub text: *const c_char,
    /// Bytes of text, without the NUL.
    pub length: usize,
    /// Token ids [token_count]; NULL where the function gives none.
    pub token_ids: *const u32,
    /// Number of token ids.
    pub token_count: usize,
    /// Whether the token ids are only the beginning of the text.
    pub truncated: bool,
}

/// Texts that a function has returned.
///
/// Threads: immutable, may be used by several threads at once.
pub struct SllmTexts {
    /// Into `owned`.
    views: Vec<SllmText>,
    /// Texts with their NUL, and token ids. Their memory does not move with the list.
    _owned: Vec<(Vec<u8>, Vec<u32>)>,
}

/// A text with its token ids, and whether these are only its beginning.
pub type Entry = (String, Vec<u32>, bool);

impl FromIterator<Entry> for SllmTexts {
    fn from_iter<I: IntoIterator<Item = Entry>>(texts: I) -> Self {
        let mut views = Vec::new();
        let mut owned = Vec::new();
        for (text, ids, truncated) in texts {
            let length = text.len();
            let mut text = text.into_bytes();
            text.push(0);
            views.push(SllmText {
                text: text.as_ptr().cast(),
                length,
                token_ids: match ids.is_empty() {
                    true => ptr::null(),
                    false => ids.as_ptr(),
                },
                token_count: ids.len(),
                truncated,
            });
            owned.push((text, ids));
        }
        Self {
            views,
            _owned: owned,
        }
    }
}

/// A sentence of a text as an entry.
pub fn entry(sentence: TextSentence<'_>) -> Entry {
    (sentence.text.to_owned(), sentence.ids, sentence.truncated)
}

/// Number of texts; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_texts_count(texts: *const SllmTexts) -> usize {
    // SAFETY: the caller keeps to the rules of the header.
    let texts = unsafe { shared(texts, "texts") };
    value(0, || texts.map_or(0, |texts| texts.views.len()))
}

/// The text with this index, which stays valid until the list is freed.
///
/// NULL if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_texts_get(texts: *const SllmTexts, index: usize) -> *const SllmText {
    // SAFETY: the caller keeps to the rules of the header.
    let texts = unsafe { shared(texts, "texts") };
    value(ptr::null(), || {
        let text = texts.ok().and_then(|texts| texts.views.get(index));
        text.map_or(ptr::null(), ptr::from_ref)
    })
}

/// Free a list of texts. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_texts_free(texts: *mut SllmTexts) {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { free(texts) };
}
