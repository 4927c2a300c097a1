//! Reasons for the end of a generation.

use std::ffi::{CStr, c_char};

use sllm::FinishReason;

/// Why a generation ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SllmFinishReason {
    /// The generation ended with an error.
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
