//! Functions that make, change and free options.

use std::ffi::{c_char, c_void};

use sllm::OverflowPolicy;

use super::{SllmOptions, set, set_generate, set_sampling};
use crate::{
    cancel::SllmCancel,
    load_options::seconds,
    logits::{SllmLogitsHook, hook},
    pointers::{free, make, text},
    status::{Failure, SllmStatus},
};

/// Make options with default values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_new(out: *mut *mut SllmOptions) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { make(out, || Ok(SllmOptions::default())) }
}

/// Set the maximum number of new sentences; default: 16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_max_sentences(
    options: *mut SllmOptions,
    max_sentences: usize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_generate(options, |generate| {
            Ok(generate.with_max_sentences(max_sentences))
        })
    }
}

/// Set the maximum number of output tokens, ends of sentences included.
///
/// The sentence that reaches the limit is cut there. Default: no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_max_tokens(
    options: *mut SllmOptions,
    max_tokens: usize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_generate(options, |generate| {
            Ok(generate.with_max_tokens(Some(max_tokens)))
        })
    }
}

/// Set the temperature, 0 to 100; 0 is greedy.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_temperature(
    options: *mut SllmOptions,
    temperature: f32,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { set_sampling(options, |sampling| sampling.temperature = Some(temperature)) }
}

/// Set the scale of classifier-free guidance, 1 (none) to 10.
///
/// Above 1, sentences keep closer to the context, and each is decoded twice.
/// Only in kind "sllm", for models that are trained for it.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_guidance_scale(
    options: *mut SllmOptions,
    guidance_scale: f32,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_sampling(options, |sampling| {
            sampling.guidance_scale = Some(guidance_scale)
        })
    }
}

/// Sample from the top_k best tokens only; 1 or more.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_top_k(
    options: *mut SllmOptions,
    top_k: usize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { set_sampling(options, |sampling| sampling.top_k = Some(top_k)) }
}

/// Sample from the fewest best tokens whose total probability reaches top_p;
/// above 0 to 1 (all).
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_top_p(
    options: *mut SllmOptions,
    top_p: f32,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { set_sampling(options, |sampling| sampling.top_p = Some(top_p)) }
}

/// Sample only from tokens with at least min_p times the best one's
/// probability; 0 (all) to 1.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_min_p(
    options: *mut SllmOptions,
    min_p: f32,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { set_sampling(options, |sampling| sampling.min_p = Some(min_p)) }
}

/// Set the repetition penalty on the last 64 tokens, 1 (none) to 10.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_repetition_penalty(
    options: *mut SllmOptions,
    repetition_penalty: f32,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_sampling(options, |sampling| {
            sampling.repetition_penalty = Some(repetition_penalty)
        })
    }
}

/// Set the multiplier of DRY, a penalty on repeated sequences; 0 (none) to 10.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_dry_multiplier(
    options: *mut SllmOptions,
    dry_multiplier: f32,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_sampling(options, |sampling| {
            sampling.dry_multiplier = Some(dry_multiplier)
        })
    }
}

/// Set the base of DRY: the penalty's growth factor per token, 1 to 10.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_dry_base(
    options: *mut SllmOptions,
    dry_base: f32,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { set_sampling(options, |sampling| sampling.dry_base = Some(dry_base)) }
}

/// Set the shortest sequence that DRY penalizes, 1 to 50 tokens.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_dry_allowed_length(
    options: *mut SllmOptions,
    dry_allowed_length: usize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_sampling(options, |sampling| {
            sampling.dry_allowed_length = Some(dry_allowed_length)
        })
    }
}

/// Never repeat a sequence of this many tokens; 1 or more.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_no_repeat_ngram(
    options: *mut SllmOptions,
    no_repeat_ngram: usize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_sampling(options, |sampling| {
            sampling.no_repeat_ngram = Some(no_repeat_ngram)
        })
    }
}

/// Set the seed of the first session; each later one has the next number.
///
/// Default: a new random seed each time; SllmResult has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_seed(options: *mut SllmOptions, seed: u64) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set(options, |options| {
            options.seed = Some(seed);
            Ok(())
        })
    }
}

/// Add a stop text, before which a generation ends; at most 16.
///
/// The text that is given out while a sentence is decoded has no part of it. A
/// sentence that was given out before it was complete stays whole.
///
/// Errors: INVALID_INPUT for an empty text, and for one too many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_add_stop(
    options: *mut SllmOptions,
    stop: *const c_char,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_generate(options, |generate| {
            let stop = text(stop, "stop")?;
            Ok(generate.with_stop_text(stop)?)
        })
    }
}

/// Decode each sentence best_of times and keep the likeliest; 1 to 256.
///
/// Its text is emitted once it is chosen. Above 1, the temperature must be
/// above 0. Default: 1.
///
/// Errors: INVALID_INPUT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_best_of(
    options: *mut SllmOptions,
    best_of: usize,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { set_generate(options, |generate| Ok(generate.with_best_of(best_of)?)) }
}

/// Ignore a predicted end of the text, and continue; default: false.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_ignore_eos(
    options: *mut SllmOptions,
    ignore_eos: bool,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { set_generate(options, |generate| Ok(generate.with_ignore_eos(ignore_eos))) }
}

/// Do not repeat a whole sentence of the context.
///
/// Default: as the bundle says, else true above temperature 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_avoid_repeats(
    options: *mut SllmOptions,
    avoid_repeats: bool,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_generate(options, |generate| {
            Ok(generate.with_avoid_repeats(avoid_repeats))
        })
    }
}

/// End a generation after this time, in seconds; default: no limit.
///
/// The unfinished sentence is dropped.
///
/// Errors: INVALID_INPUT for a negative number, NaN or infinity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_time_limit(
    options: *mut SllmOptions,
    time_limit: f64,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_generate(options, |generate| {
            let time_limit = seconds("time_limit", time_limit)?;
            Ok(generate.with_time_limit(time_limit))
        })
    }
}

/// Set what to do when the context is full: "stop" (default) or "drop_oldest".
///
/// "drop_oldest" drops the oldest quarter of the sentences.
///
/// Errors: INVALID_INPUT for another name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_overflow(
    options: *mut SllmOptions,
    overflow: *const c_char,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_generate(options, |generate| {
            let policy = match text(overflow, "overflow")? {
                "stop" => OverflowPolicy::Stop,
                "drop_oldest" => OverflowPolicy::DropOldest,
                name => {
                    let allowed = "\"stop\" or \"drop_oldest\"";
                    return Err(Failure::refused("overflow", format!("{name:?}"), allowed));
                }
            };
            Ok(generate.with_overflow(policy))
        })
    }
}

/// Compute the log-probability of each output token; default: false.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_log_probabilities(
    options: *mut SllmOptions,
    log_probabilities: bool,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_generate(options, |generate| {
            Ok(generate.with_log_probabilities(log_probabilities))
        })
    }
}

/// End generations when this handle is cancelled; NULL for none.
///
/// The handle may be freed before the options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_cancel(
    options: *mut SllmOptions,
    cancel: *const SllmCancel,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set(options, |options| {
            let cancel = cancel.as_ref().map(|SllmCancel(cancel)| cancel.clone());
            options.cancel = cancel.unwrap_or_default();
            Ok(())
        })
    }
}

/// Set a function that changes logits before each token is chosen.
///
/// It is called by each thread that generates with these options, with
/// user. Both must stay valid while the options, or a generation with them,
/// are in use.
///
/// hook: not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_set_logits_hook(
    options: *mut SllmOptions,
    hook: SllmLogitsHook,
    user: *mut c_void,
) -> SllmStatus {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe {
        set_generate(options, |generate| {
            let Some(function) = hook else {
                return Err(Failure::new(SllmStatus::NullPointer, "hook is NULL"));
            };
            let hook = self::hook(function, user);
            Ok(generate.with_logits_hook(hook))
        })
    }
}

/// Free options. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sllm_options_free(options: *mut SllmOptions) {
    // SAFETY: the caller keeps to the rules of the header.
    unsafe { free(options) };
}
