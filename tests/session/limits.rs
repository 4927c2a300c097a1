//! When a continuation ends: a full context, cancelling, limits.

use std::{
    thread,
    time::{Duration, Instant},
};

use sllm_ort::{CancelHandle, FinishReason, LoadOptions, Model, OverflowPolicy, Session};

use super::{TEXT, few, generate, ids, models, session, stories, text};

#[test]
fn a_full_context_may_lose_its_oldest_sentences() {
    let model = Model::load("tests/golden/bundle", LoadOptions::default()).unwrap();
    let limit = model.config().max_sentences.unwrap();
    let options = || few().with_max_sentences(30);
    let mut stopped = session(&model, TEXT);
    let mut generation = stopped.generate(options());
    assert!(generation.by_ref().all(|sentence| sentence.is_ok()));
    assert_eq!(generation.finish_reason(), Some(FinishReason::ContextFull));
    let mut going_on = session(&model, TEXT);
    let mut generation = going_on.generate(options().with_overflow(OverflowPolicy::DropOldest));
    let sentences: Vec<_> = generation.by_ref().map(Result::unwrap).collect();
    assert_eq!(generation.finish_reason(), Some(FinishReason::MaxSentences));
    assert_eq!(sentences.len(), 30);
    assert!(going_on.len() <= limit);
    // In a batch the same.
    let mut batched = [session(&model, TEXT), session(&model, "It is so. ")];
    let batch = batched
        .iter_mut()
        .map(|session| (session, options().with_overflow(OverflowPolicy::DropOldest)));
    let mut found = Vec::new();
    Session::generate_batch(batch, |number, sentence| {
        if number == 0 {
            found.push(sentence);
        }
    })
    .unwrap();
    assert_eq!(ids(&found), ids(&sentences));
    assert_eq!(batched[0].text(), going_on.text());
}

#[test]
fn a_cancelled_continuation_ends_at_once_and_leaves_the_session_usable() {
    for (name, model) in models() {
        let mut cancelled = session(&model, text(&model));
        let handle = CancelHandle::new();
        handle.cancel();
        let mut generation = cancelled.generate(few().with_cancel(handle));
        assert!(generation.next().is_none(), "{name}");
        assert_eq!(generation.finish_reason(), Some(FinishReason::Cancelled));
        let expected = generate(&mut session(&model, text(&model)), few());
        assert_eq!(generate(&mut cancelled, few()), expected, "{name}");
        let mut late = session(&model, text(&model));
        let mut generation = late.generate(few().with_time_limit(Duration::ZERO));
        assert!(generation.next().is_none(), "{name}");
        assert_eq!(generation.finish_reason(), Some(FinishReason::TimeLimit));
        assert_eq!(late.text(), text(&model));
    }
}

#[test]
fn a_continuation_is_cancelled_from_another_thread() {
    let model = stories();
    let handle = CancelHandle::new();
    let options = few()
        .with_max_sentences(usize::MAX)
        .with_overflow(OverflowPolicy::DropOldest)
        .with_cancel(handle.clone());
    let mut session = session(&model, TEXT);
    let generating = thread::spawn(move || {
        let mut generation = session.generate(options);
        assert!(generation.by_ref().all(|sentence| sentence.is_ok()));
        (generation.finish_reason(), Instant::now())
    });
    thread::sleep(Duration::from_millis(300));
    let cancelled = Instant::now();
    handle.cancel();
    let (reason, ended) = generating.join().unwrap();
    assert_eq!(reason, Some(FinishReason::Cancelled));
    // Some milliseconds on a machine that is not busy.
    let waited = ended.saturating_duration_since(cancelled);
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    println!("cancelled after {waited:?}");
}

/// A cancelled sentence costs a full context nothing.
#[test]
fn a_full_context_keeps_its_sentences_until_there_is_a_new_one() {
    let model = Model::load("tests/golden/bundle", LoadOptions::default()).unwrap();
    let mut full = session(&model, TEXT);
    let endless = || few().with_max_sentences(100);
    generate(&mut full, endless());
    let text = full.text();
    let handle = CancelHandle::new();
    let options = endless()
        .with_overflow(OverflowPolicy::DropOldest)
        .with_cancel(handle.clone());
    let mut generation = full.generate(options);
    assert!(generation.next_with(|_| handle.cancel()).is_none());
    assert_eq!(generation.finish_reason(), Some(FinishReason::Cancelled));
    assert_eq!(full.text(), text);
}

#[test]
fn tokens_are_limited() {
    for (name, model) in models() {
        let many = few().with_max_sentences(6);
        let whole = generate(&mut session(&model, text(&model)), many.clone());
        let all: Vec<u32> = ids(&whole).concat();
        for limit in [0, 1, 2, 5, 9, 14] {
            let mut limited = session(&model, text(&model));
            let mut generation = limited.generate(many.clone().with_max_tokens(Some(limit)));
            let found: Vec<_> = generation.by_ref().map(Result::unwrap).collect();
            let found_ids = ids(&found).concat();
            let name = format!("{name}, {limit}");
            assert!(found_ids.len() <= limit, "{name}");
            assert_eq!(found_ids, all[..found_ids.len()], "{name}");
            if all.len() > limit {
                assert_eq!(
                    generation.finish_reason(),
                    Some(FinishReason::MaxTokens),
                    "{name}"
                );
            }
            let said: String = found
                .iter()
                .map(|sentence| sentence.text.as_str())
                .collect();
            assert!(
                limited.text().trim_end().ends_with(said.trim_end()),
                "{name}"
            );
        }
    }
}
