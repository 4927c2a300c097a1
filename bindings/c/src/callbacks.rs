//! Callbacks that get sentences and text while they are generated.

use std::{
    ffi::{c_char, c_int, c_void},
    ptr,
};

use sllm::Sentence;

/// A generated sentence. It is valid until the callback returns.
#[repr(C)]
pub struct SllmSentence {
    /// Index of its session in the batch; 0 if there is one session.
    pub row: usize,
    /// Its index within this generation, from 0.
    pub index: usize,
    /// Its text with the white space that ends it: UTF-8, ended by a NUL.
    pub text: *const c_char,
    /// Bytes of text, without the NUL.
    pub length: usize,
    /// Output tokens [token_count]: without bos, with eos if generated.
    pub token_ids: *const u32,
    /// Number of output tokens.
    pub token_count: usize,
    /// Log-probability of each output token [token_count]; NULL unless
    /// sllm_options_set_log_probabilities asked for it.
    pub log_probabilities: *const f32,
    /// Probability, before this sentence, that the text is over: 0 to 1.
    pub stop_probability: f32,
}

/// Gets each sentence when it is complete and part of the context.
///
/// A nonzero return value ends the generation of this session, with
/// CANCELLED as finish reason and OK as status, and no callback of the
/// session is called again. It must not unwind (C++ exceptions, longjmp).
pub type SllmSentenceCallback =
    Option<unsafe extern "C" fn(sentence: *const SllmSentence, user: *mut c_void) -> c_int>;

/// Gets each piece of text as it is decoded, in whole characters.
///
/// row: index of its session in the batch; 0 if there is one session.
/// text: UTF-8 of length bytes, ended by a NUL; valid until it returns.
///
/// A nonzero return value ends the generation of this session as that of
/// SllmSentenceCallback does. The sentence that is not complete is dropped.
pub type SllmTextCallback = Option<
    unsafe extern "C" fn(
        row: usize,
        text: *const c_char,
        length: usize,
        user: *mut c_void,
    ) -> c_int,
>;

/// The functions of the caller.
#[derive(Clone, Copy)]
pub struct Callbacks {
    pub on_sentence: SllmSentenceCallback,
    pub on_text: SllmTextCallback,
    pub user: *mut c_void,
}

impl Callbacks {
    /// Give a piece of text to the caller.
    ///
    /// Returns whether the generation is to end.
    pub fn text(self, row: usize, text: &str) -> bool {
        let Some(on_text) = self.on_text else {
            return false;
        };
        let ended = [text.as_bytes(), b"\0"].concat();
        // SAFETY: the text is valid during the call, and the caller keeps to the rules of the
        // header.
        unsafe { on_text(row, ended.as_ptr().cast(), text.len(), self.user) != 0 }
    }

    /// Give a sentence to the caller.
    ///
    /// Returns whether the generation is to end.
    pub fn sentence(self, row: usize, sentence: Sentence) -> bool {
        let Some(on_sentence) = self.on_sentence else {
            return false;
        };
        let length = sentence.text.len();
        let text = [sentence.text.as_bytes(), b"\0"].concat();
        let log_probabilities = sentence.log_probabilities.as_deref();
        let sentence = SllmSentence {
            row,
            index: sentence.index,
            text: text.as_ptr().cast(),
            length,
            token_ids: sentence.token_ids.as_ptr(),
            token_count: sentence.token_ids.len(),
            log_probabilities: log_probabilities.map_or(ptr::null(), <[f32]>::as_ptr),
            stop_probability: sentence.stop_probability,
        };
        // SAFETY: the sentence is valid during the call, and the caller keeps to the rules of the
        // header.
        unsafe { on_sentence(&sentence, self.user) != 0 }
    }
}
