//! Generation: one session, or several in the same runs.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
};

use sllm::{Batch, BatchEvent, CancelHandle, FinishReason, Sentence};

use crate::{
    options::{RowOptions, SllmOptions},
    pointers::{array, put, shared},
    session::{Lease, SllmSession},
    status::{Failure, SllmStatus, run},
};

/// Why a generation ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SllmFinishReason {
    /// It ended with an error.
    Error = 0,
    /// The model predicted the end of the text.
    Stop = 1,
    /// The number of sentences asked for is reached.
    MaxSentences = 2,
    /// The number of tokens asked for is reached.
    MaxTokens = 3,
    /// The context is full.
    ContextFull = 4,
    /// A stop text was generated.
    StopText = 5,
    /// A handle was cancelled, or a callback returned nonzero.
    Cancelled = 6,
    /// The time limit has passed.
    TimeLimit = 7,
    /// A reason that this version has no code for.
    Other = 8,
}

impl From<FinishReason> for SllmFinishReason {
    fn from(reason: FinishReason) -> Self {
        match reason {
            FinishReason::Stop => Self::Stop,
            FinishReason::MaxSentences => Self::MaxSentences,
            FinishReason::MaxTokens => Self::MaxTokens,
            FinishReason::ContextFull => Self::ContextFull,
            FinishReason::StopText => Self::StopText,
            FinishReason::Cancelled => Self::Cancelled,
            FinishReason::TimeLimit => Self::TimeLimit,
            _ => Self::Other,
        }
    }
}

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

/// What came of the generation of a session.
#[repr(C)]
pub struct SllmResult {
    /// OK, or why it failed.
    pub status: SllmStatus,
    /// Why it ended.
    pub finish_reason: SllmFinishReason,
    /// Sentences that were generated.
    pub sentences: usize,
    /// Output tokens, ends of sentences included.
    pub tokens: usize,
    /// The seed: that of the options, or the one that was drawn.
    pub seed: u64,
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
struct Callbacks {
    on_sentence: SllmSentenceCallback,
    on_text: SllmTextCallback,
    user: *mut c_void,
}

impl Callbacks {
    /// Returns whether the generation is to end.
    fn text(self, row: usize, text: &str) -> bool {
        let Some(on_text) = self.on_text else {
            return false;
        };
        let ended = [text.as_bytes(), b"\0"].concat();
        // SAFETY: the text is valid during the call, and the caller keeps to the rules of the
        // header.
        unsafe { on_text(row, ended.as_ptr().cast(), text.len(), self.user) != 0 }
    }

    /// Returns whether the generation is to end.
    fn sentence(self, row: usize, sentence: Sentence) -> bool {
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

/// A session that is continued, and what came of it.
struct Row<'h> {
    lease: Lease<'h>,
    /// Ends it alone.
    cancel: CancelHandle,
    /// A callback has ended it.
    stopped: bool,
    sentences: usize,
    tokens: usize,
    result: Result<FinishReason, Failure>,
}

/// The rows of a batch. Their sessions go back in the end, also after a panic.
struct Rows<'h> {
    rows: Vec<Row<'h>>,
    batch: Batch,
    /// The index of the row with each id of the batch.
    indices: Vec<usize>,
}

impl<'h> Rows<'h> {
    fn join(&mut self, mut lease: Lease<'h>, options: &RowOptions) {
        let index = self.rows.len();
        let (options, cancel) = options.of_row(index);
        let mut result = Ok(FinishReason::Cancelled);
        if let Some(session) = lease.take() {
            match self.batch.join(session, options) {
                Ok(_) => self.indices.push(index),
                Err(refused) => {
                    lease.handle.put(refused.session);
                    result = Err(refused.error.into());
                }
            }
        }
        self.rows.push(Row {
            lease,
            cancel,
            stopped: false,
            sentences: 0,
            tokens: 0,
            result,
        });
    }

    /// Continue all sessions to their ends.
    fn run(&mut self, callbacks: Callbacks) {
        let (batch, rows, indices) = (&mut self.batch, &mut self.rows, &self.indices);
        while !batch.is_empty() {
            batch.step(|id, event| {
                let Some((index, row)) = indices
                    .get(id)
                    .and_then(|&index| Some((index, rows.get_mut(index)?)))
                else {
                    return;
                };
                match event {
                    BatchEvent::Text(text) if !row.stopped => {
                        row.stopped = callbacks.text(index, text);
                    }
                    BatchEvent::Sentence(sentence) => {
                        row.sentences += 1;
                        row.tokens += sentence.token_ids.len();
                        row.stopped = row.stopped || callbacks.sentence(index, sentence);
                    }
                    BatchEvent::Ended { session, result } => {
                        row.lease.handle.put(session);
                        row.result = result.map_err(Failure::from);
                    }
                    _ => {}
                }
                if row.stopped {
                    row.cancel.cancel();
                }
            });
        }
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        for (id, &index) in self.indices.iter().enumerate() {
            if let (Some(session), Some(row)) = (self.batch.leave(id), self.rows.get(index)) {
                row.lease.handle.put(session);
            }
        }
    }
}

/// Continue sessions.
///
/// # Safety
/// `options` is as in [`shared`], or NULL; `results` is NULL, or to memory for a result of each
/// session.
unsafe fn generate(
    sessions: &[&SllmSession],
    options: *const SllmOptions,
    callbacks: Callbacks,
    results: *mut SllmResult,
) -> Result<(), Failure> {
    let several = sessions.len() > 1;
    let of_row = |index, failure: Failure| match several {
        true => failure.of_row(index),
        false => failure,
    };
    // SAFETY: the rule of this function.
    let options = unsafe { options.as_ref() }.cloned().unwrap_or_default();
    let leases = sessions.iter().enumerate();
    let leases = leases.map(|(index, session)| {
        let lease = session.take();
        lease.map_err(|failure| of_row(index, failure))
    });
    let mut leases = leases.collect::<Result<Vec<_>, _>>()?;
    let Some(first) = leases.first_mut() else {
        return Ok(());
    };
    let model = first.session()?.model().clone();
    let (options, seed) = options.for_model(&model)?;
    let mut rows = Rows {
        rows: Vec::with_capacity(leases.len()),
        batch: Batch::new(&model)?,
        indices: Vec::with_capacity(leases.len()),
    };
    for lease in leases {
        rows.join(lease, &options);
    }
    rows.run(callbacks);
    let mut failed = None;
    for (index, row) in rows.rows.iter_mut().enumerate() {
        let result = std::mem::replace(&mut row.result, Ok(FinishReason::Cancelled));
        let status = result.as_ref().err().map_or(SllmStatus::Ok, |f| f.status);
        let reason = result
            .as_ref()
            .map_or(SllmFinishReason::Error, |&r| r.into());
        if !results.is_null() {
            let result = SllmResult {
                status,
                finish_reason: reason,
                sentences: row.sentences,
                tokens: row.tokens,
                seed: seed.wrapping_add(index as u64),
            };
            // SAFETY: the rule of this function.
            unsafe { put(results.wrapping_add(index), result) };
        }
        if let (Err(failure), None) = (result, &failed) {
            failed = Some(of_row(index, failure));
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Continue the context of a session.
///
/// Each sentence is part of the context when on_sentence gets it. After an
/// error the session holds the sentences that were complete.
///
/// options: NULL for default values.
/// on_sentence, on_text: called on this thread; NULL is allowed.
/// user: given to the callbacks.
/// result: gets what came of it, also if the generation fails after it began;
/// NULL is allowed.
///
/// Errors: INVALID_INPUT for an empty context, and for an option that the
/// model's kind does not have; BUSY, MODEL. A generation that is cancelled
/// is no error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_session_generate(
    session: *mut SllmSession,
    options: *const SllmOptions,
    on_sentence: SllmSentenceCallback,
    on_text: SllmTextCallback,
    user: *mut c_void,
    result: *mut SllmResult,
) -> SllmStatus {
    let callbacks = Callbacks {
        on_sentence,
        on_text,
        user,
    };
    // SAFETY: the caller keeps to the rules of the header.
    run(|| unsafe {
        let session = shared(session, "session")?;
        generate(&[session], options, callbacks, result)
    })
}

/// Continue several sessions of one model in the same runs of the graphs.
///
/// The first session has the seed of the options, each later one the next
/// number. A session that fails ends alone; the others continue.
///
/// sessions: [count], each one once.
/// results: memory for SllmResult [count]; NULL is allowed. They are written
/// unless no session was continued.
///
/// Returns the error of the first session that failed. Before any session is
/// continued: BUSY if one is in use or given twice. A session of another
/// model fails with INVALID_INPUT. Other arguments are as in
/// sllm_session_generate.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_generate_batch(
    sessions: *const *mut SllmSession,
    count: usize,
    options: *const SllmOptions,
    on_sentence: SllmSentenceCallback,
    on_text: SllmTextCallback,
    user: *mut c_void,
    results: *mut SllmResult,
) -> SllmStatus {
    let callbacks = Callbacks {
        on_sentence,
        on_text,
        user,
    };
    // SAFETY: the caller keeps to the rules of the header.
    run(|| unsafe {
        let pointers = array(sessions, count, "sessions")?;
        let sessions = pointers.iter().enumerate();
        let sessions = sessions.map(|(index, session)| {
            let session = session.cast_const();
            shared(session, &format!("sessions[{index}]"))
        });
        let sessions = sessions.collect::<Result<Vec<&SllmSession>, _>>()?;
        generate(&sessions, options, callbacks, results)
    })
}

/// Name of a finish reason, such as "max_sentences".
///
/// A static string; "unknown" for another number.
#[unsafe(no_mangle)]
pub extern "C" fn sllm_finish_reason_name(finish_reason: i32) -> *const c_char {
    use SllmFinishReason as Reason;
    const NAMES: [(Reason, &CStr); 9] = [
        (Reason::Error, c"error"),
        (Reason::Stop, c"stop"),
        (Reason::MaxSentences, c"max_sentences"),
        (Reason::MaxTokens, c"max_tokens"),
        (Reason::ContextFull, c"context_full"),
        (Reason::StopText, c"stop_text"),
        (Reason::Cancelled, c"cancelled"),
        (Reason::TimeLimit, c"time_limit"),
        (Reason::Other, c"other"),
    ];
    let name = NAMES
        .iter()
        .find(|(known, _)| *known as i32 == finish_reason);
    name.map_or(c"unknown", |(_, name)| *name).as_ptr()
}
