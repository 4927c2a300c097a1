//! Many sessions in many threads on one model give what one thread gives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{sync::Barrier, thread};

use sllm_ort::{GenerateOptions, LoadOptions, Model, Result, SamplingOptions};

const THREADS: usize = 64;
const SESSIONS: usize = 25;
/// Different contexts and options; session `n` of each thread has those of `n % KINDS`.
const KINDS: usize = 10;
const PROMPTS: [&str; 5] = [
    "Hello, ",
    "the cat sat on the hill. ",
    "hello world. the cat sat. ",
    "one. two. three. four. ",
    "a. ",
];

fn options(kind: usize) -> Result<GenerateOptions> {
    let temperature = if kind < PROMPTS.len() { 0.0 } else { 1.5 };
    let sampling = SamplingOptions::default()
        .with_temperature(temperature)?
        .with_seed(kind as u64);
    Ok(GenerateOptions::default()
        .with_max_sentences(2)
        .with_ignore_eos(true)
        .with_sampling(sampling))
}

/// The ids of a continuation.
fn ids(model: &Model, kind: usize) -> Result<Vec<Vec<u32>>> {
    let mut session = model.session()?;
    session.append(PROMPTS[kind % PROMPTS.len()])?;
    session
        .generate(options(kind)?)
        .map(|sentence| sentence.map(|sentence| sentence.token_ids))
        .collect()
}

fn all_threads_agree(bundle: &str) {
    for runs in [1, 2] {
        let options = LoadOptions::default().with_threads(1).unwrap();
        let options = options.with_parallel_runs(runs).unwrap();
        all_threads_of_a_model_agree(&Model::load(bundle, options).unwrap());
    }
}

fn all_threads_of_a_model_agree(model: &Model) {
    let expected: Vec<_> = (0..KINDS).map(|kind| ids(model, kind).unwrap()).collect();
    assert!(expected.iter().all(|sentences| !sentences.is_empty()));
    let greedy_differ = (1..PROMPTS.len()).any(|kind| expected[kind] != expected[0]);
    assert!(
        greedy_differ,
        "all alike, so that nothing could be mixed up"
    );
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (model, expected, start) = (model.clone(), &expected, &start);
            scope.spawn(move || {
                start.wait();
                for session in 0..SESSIONS {
                    let kind = (thread + session) % KINDS;
                    let found = ids(&model, kind).unwrap();
                    assert_eq!(found, expected[kind], "thread {thread}, session {session}");
                }
            });
        }
    });
}

#[test]
fn sentences() {
    all_threads_agree("tests/golden/bundle");
}

#[test]
fn sentences_that_see_each_other() {
    all_threads_agree("tests/golden/bundle-original");
}

#[test]
fn tokens() {
    all_threads_agree("tests/golden/bundle-opt");
}
