//! Generation: one session, or several in the same runs.

use std::ffi::c_void;

use crate::{
    batch::Rows,
    callbacks::{Callbacks, SllmSentenceCallback, SllmTextCallback},
    finish_reason::SllmFinishReason,
    options::SllmOptions,
    pointers::{array, put, shared},
    session::SllmSession,
    status::{Failure, SllmStatus, run},
};

/// The result of the generation of a session.
#[repr(C)]
pub struct SllmResult {
    /// OK, or why it failed.
    pub status: SllmStatus,
    /// Why the generation ended.
    pub finish_reason: SllmFinishReason,
    /// Sentences that were generated.
    pub sentences: usize,
    /// Output tokens, ends of sentences included.
    pub tokens: usize,
    /// The seed: that of the options, or a random one.
    pub seed: u64,
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
    let options = options.for_model(&model)?;
    let mut rows = Rows::new(&model, leases.len())?;
    for lease in leases {
        rows.join(lease, &options);
    }
    rows.run(callbacks);
    let mut failed = None;
    for (index, row) in rows.finish().into_iter().enumerate() {
        let (status, finish_reason) = match &row.result {
            Ok(reason) => (SllmStatus::Ok, SllmFinishReason::from(*reason)),
            Err(failure) => (failure.status, SllmFinishReason::Error),
        };
        if !results.is_null() {
            let result = SllmResult {
                status,
                finish_reason,
                sentences: row.sentences,
                tokens: row.tokens,
                seed: options.seed_of(index),
            };
            // SAFETY: the rule of this function.
            unsafe { put(results.wrapping_add(index), result) };
        }
        if let (Err(failure), None) = (row.result, &failed) {
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
/// result: gets the result, also if the generation fails after it began; NULL
/// is allowed.
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
