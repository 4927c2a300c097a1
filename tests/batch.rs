//! Many contexts that go on together, against each of them alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use sllm_ort::{
    Batch, BatchEvent, Error, GenerateOptions, Model, SamplingOptions, Sentence, Session,
    config::ModelKind,
};
use support::load;

/// Bundles of models that generate, and variants of each. The shipped model rounds differently in a
/// batch in `cpu-int8`, and may say something else then.
const MODELS: [(&str, &[&str]); 8] = [
    ("tests/golden/bundle", &["portable", "cpu-int8"]),
    ("tests/golden/bundle-original", &["portable", "cpu-int8"]),
    ("tests/golden/bundle-fast", &["cpu-int8"]),
    ("tests/golden/bundle-half", &["cuda-fp16"]),
    ("tests/golden/bundle-opt", &["portable", "cpu-int8"]),
    ("tests/golden/bundle-opt-fast", &["cpu-int8"]),
    ("tests/golden/bundle-opt-half", &["cuda-fp16"]),
    ("models/sllm-stories", &["portable"]),
];
const PROMPTS: [&str; 5] = [
    "The cat sat on the hill. She ran to the tree. The end was near. ",
    "It is so. ",
    "One day, Tim found a shiny red ball. He was very happy. ",
    "The dog and the cat played. They had fun. Then it was night. They went home. They slept. ",
    "It is so. ",
];

/// The same for a context of few tokens.
const SHORT_PROMPTS: [&str; 5] = [
    "A cat. ",
    "It is so. ",
    "He ran. She sat. ",
    "So",
    "It is so. ",
];

/// Different lengths, choices and ends.
fn options() -> Vec<GenerateOptions> {
    let sampling = |seed| {
        let sampling = SamplingOptions::default().with_temperature(0.8).unwrap();
        let sampling = sampling.with_dry_multiplier(seed as f32 - 1.0).unwrap();
        sampling.with_seed(seed)
    };
    let options = GenerateOptions::default().with_max_sentences(8);
    vec![
        options.clone().with_ignore_eos(true),
        options.clone().with_sampling(sampling(1)),
        options.clone().with_max_sentences(1),
        options.clone().with_stop_text("e").unwrap(),
        options.with_ignore_eos(true).with_sampling(sampling(2)),
    ]
}

fn sessions(model: &Model) -> Vec<Session> {
    let prompts = match model.config().kind {
        ModelKind::Opt => SHORT_PROMPTS,
        _ => PROMPTS,
    };
    let session = |prompt: &str| {
        let mut session = model.session().unwrap();
        session.append(prompt).unwrap();
        session
    };
    prompts.map(session).into()
}

fn assert_same(found: &[Sentence], expected: &[Sentence], name: &str) {
    let ids = |sentences: &[Sentence]| -> Vec<Vec<u32>> {
        sentences.iter().map(|s| s.token_ids.clone()).collect()
    };
    assert_eq!(ids(found), ids(expected), "{name}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((&found.text, found.index), (&expected.text, expected.index));
        let difference = (found.stop_probability - expected.stop_probability).abs();
        assert!(difference < 1e-3, "{name}: {difference}");
    }
}

#[test]
fn a_batch_gives_what_each_context_gives_alone() {
    for (bundle, variants) in MODELS {
        for variant in variants {
            let model = load(bundle, variant);
            let mut alone = sessions(&model);
            let mut together = sessions(&model);
            // Twice, so that the second time begins with what the first one gave back.
            for time in ["first", "second"] {
                let mut found = vec![Vec::new(); PROMPTS.len()];
                let batch = together.iter_mut().zip(options());
                let reasons =
                    Session::generate_batch(batch, |number, sentence| found[number].push(sentence))
                        .unwrap();
                let all = alone.iter_mut().zip(&together).zip(options());
                for (number, ((alone, together), options)) in all.enumerate() {
                    let name = format!("{bundle} {variant}, {time}, {number}");
                    let mut generation = alone.generate(options);
                    let expected: Vec<_> = generation.by_ref().map(Result::unwrap).collect();
                    assert_same(&found[number], &expected, &name);
                    assert_eq!(Some(reasons[number]), generation.finish_reason(), "{name}");
                    assert_eq!(together.text(), alone.text(), "{name}");
                }
            }
        }
    }
}

#[test]
fn prompts_are_continued_in_their_order() {
    let model = load("models/sllm-stories", "portable");
    let options = GenerateOptions::default()
        .with_max_sentences(2)
        .with_sampling(SamplingOptions::default());
    let continuations = model.generate_batch(&PROMPTS, &options).unwrap();
    for (prompt, continuation) in PROMPTS.iter().zip(&continuations) {
        let mut session = model.session().unwrap();
        session.append(prompt).unwrap();
        let mut generation = session.generate(options.clone());
        let expected: Vec<_> = generation.by_ref().map(Result::unwrap).collect();
        assert_same(&continuation.sentences, &expected, prompt);
        assert_eq!(Some(continuation.finish_reason), generation.finish_reason());
    }
    assert_eq!(continuations[1], continuations[4]);
    assert!(
        model
            .generate_batch::<&str>(&[], &options)
            .unwrap()
            .is_empty()
    );
}

/// Also at the largest seed, after which they begin at 0.
#[test]
fn each_prompt_of_a_batch_has_its_own_seed() {
    let model = load("models/sllm-stories", "portable");
    let sampling = SamplingOptions::default().with_temperature(1.0).unwrap();
    let options = |seed| {
        GenerateOptions::default()
            .with_max_sentences(2)
            .with_sampling(sampling.clone().with_seed(seed))
    };
    let prompt = PROMPTS[2];
    let together = model
        .generate_batch(&[prompt; 3], &options(u64::MAX))
        .unwrap();
    for (continuation, seed) in together.iter().zip([u64::MAX, 0, 1]) {
        let mut session = model.session().unwrap();
        session.append(prompt).unwrap();
        let alone: Vec<_> = session
            .generate(options(seed))
            .map(Result::unwrap)
            .collect();
        assert_same(&continuation.sentences, &alone, &seed.to_string());
    }
    assert_ne!(together[0].sentences, together[1].sentences);
    assert_ne!(together[1].sentences, together[2].sentences);
}

#[test]
fn what_cannot_go_on_together_is_refused() {
    let one = load("tests/golden/bundle", "portable");
    let other = load("tests/golden/bundle", "portable");
    let opt = load("tests/golden/bundle-opt", "portable");
    let options = GenerateOptions::default;
    let generate = |sessions: &mut [Session]| {
        let batch = sessions.iter_mut().map(|session| (session, options()));
        Session::generate_batch(batch, |_, _| panic!("nothing is generated"))
    };
    let session = |model: &Model| {
        let mut session = model.session().unwrap();
        session.append("The cat sat. ").unwrap();
        session
    };
    let mixed = generate(&mut [session(&one), session(&other)]);
    assert!(matches!(mixed, Err(Error::MixedModels)), "{mixed:?}");
    let mut token_level = [session(&opt)];
    let batch = token_level
        .iter_mut()
        .map(|session| (session, options().with_best_of(2).unwrap()));
    let refused = Session::generate_batch(batch, |_, _| panic!("nothing is generated"));
    let Err(Error::BatchRow { row: 0, source }) = refused else {
        panic!("{refused:?}");
    };
    assert!(matches!(*source, Error::InvalidOption { .. }), "{source:?}");
    let mut with_an_empty_one = [session(&one), one.session().unwrap()];
    let empty = generate(&mut with_an_empty_one);
    assert!(matches!(empty, Err(Error::EmptyContext)), "{empty:?}");
    assert_eq!(with_an_empty_one[0].len(), 1);
}

/// Rows join while others are generated, and leave in the middle; each gives what it gives alone.
#[test]
fn rows_join_and_leave_between_steps() {
    for (bundle, variant) in [
        ("tests/golden/bundle", "portable"),
        ("tests/golden/bundle-original", "portable"),
        ("tests/golden/bundle-opt", "portable"),
    ] {
        let model = load(bundle, variant);
        let expected: Vec<Vec<Sentence>> = sessions(&model)
            .iter_mut()
            .zip(options())
            .map(|(session, options)| session.generate(options).map(Result::unwrap).collect())
            .collect();
        let mut waiting = sessions(&model)
            .into_iter()
            .zip(options())
            .rev()
            .collect::<Vec<_>>();
        let mut batch = Batch::new(&model).unwrap();
        let mut found = vec![Vec::new(); PROMPTS.len()];
        let mut streamed = vec![String::new(); PROMPTS.len()];
        let mut ended = 0;
        while !(waiting.is_empty() && batch.is_empty()) {
            if let Some((session, options)) = waiting.pop() {
                batch.join(session, options).unwrap();
            }
            batch.step(|row, event| match event {
                BatchEvent::Text(text) => streamed[row].push_str(text),
                BatchEvent::Sentence(sentence) => found[row].push(sentence),
                BatchEvent::Ended { session, result } => {
                    result.unwrap();
                    let new: String = found[row].iter().map(|s| s.text.as_str()).collect();
                    assert!(session.text().ends_with(&new), "{bundle}, {row}");
                    ended += 1;
                }
                _ => {}
            });
        }
        assert_eq!(ended, PROMPTS.len());
        for (row, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_same(found, expected, &format!("{bundle}, {row}"));
            let text: String = expected.iter().map(|s| s.text.as_str()).collect();
            assert_eq!(streamed[row], text, "{bundle}, {row}");
        }
    }
}

#[test]
fn a_row_that_leaves_keeps_what_was_given_out() {
    for bundle in ["tests/golden/bundle", "tests/golden/bundle-opt"] {
        let model = load(bundle, "portable");
        let options = GenerateOptions::default().with_ignore_eos(true);
        let mut batch = Batch::new(&model).unwrap();
        let mut all = sessions(&model);
        let prompt = all[0].text();
        let ids: Vec<usize> = all
            .drain(..2)
            .map(|session| batch.join(session, options.clone()).unwrap())
            .collect();
        let mut given = String::new();
        while given.is_empty() {
            batch.step(|row, event| match event {
                BatchEvent::Sentence(sentence) if row == ids[0] => given.push_str(&sentence.text),
                _ => {}
            });
        }
        let mut session = batch.leave(ids[0]).unwrap();
        assert_eq!(session.text(), prompt.clone() + &given);
        assert!(batch.leave(ids[0]).is_none());
        assert_eq!(batch.len(), 1);
        let mut alone = model.session().unwrap();
        alone.append(&prompt).unwrap();
        let expected: Vec<_> = alone
            .generate(options.clone().with_max_sentences(3))
            .collect();
        let expected: Vec<Sentence> = expected.into_iter().map(Result::unwrap).collect();
        let rest: Vec<_> = session.generate(options.with_max_sentences(2)).collect();
        let rest: Vec<Sentence> = rest.into_iter().map(Result::unwrap).collect();
        let ids = |sentences: &[Sentence]| -> Vec<Vec<u32>> {
            sentences.iter().map(|s| s.token_ids.clone()).collect()
        };
        assert_eq!(ids(&rest), ids(&expected[1..]), "{bundle}");
    }
}

#[test]
fn a_short_session_does_not_keep_the_memory_of_a_long_one() {
    let model = load("models/sllm-stories", "cpu-int8");
    let session = |sentences: usize| {
        let mut session = model.session().unwrap();
        session.append(&"It is so. ".repeat(sentences)).unwrap();
        session
    };
    let options = || {
        GenerateOptions::default()
            .with_ignore_eos(true)
            .with_max_sentences(2)
    };
    let mut alone = session(2);
    alone
        .generate(options())
        .for_each(|sentence| drop(sentence.unwrap()));
    let mut together = [session(2), session(120)];
    let batch = together.iter_mut().map(|session| (session, options()));
    Session::generate_batch(batch, |_, _| {}).unwrap();
    assert!(together[0].memory_bytes() <= alone.memory_bytes());
    together[1].clear().unwrap();
    assert_eq!(together[1].memory_bytes(), 0);
}

/// After a panic in a callback each session holds whole sentences, and can be continued.
#[test]
fn a_panic_in_a_callback_leaves_sessions_usable() {
    for bundle in ["tests/golden/bundle", "tests/golden/bundle-opt"] {
        let model = load(bundle, "portable");
        let options = || {
            GenerateOptions::default()
                .with_ignore_eos(true)
                .with_max_sentences(3)
        };
        let expected: Vec<String> = sessions(&model)
            .iter_mut()
            .map(|session| {
                session
                    .generate(options())
                    .for_each(|sentence| drop(sentence.unwrap()));
                session.text()
            })
            .collect();
        for panics_at in 0..4 {
            let mut found = sessions(&model);
            let mut calls = 0;
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let batch = found.iter_mut().map(|session| (session, options()));
                Session::generate_batch(batch, |_, _| {
                    calls += 1;
                    assert!(calls <= panics_at, "on purpose");
                })
            }));
            assert!(panicked.is_err());
            for (session, expected) in found.iter_mut().zip(&expected) {
                let text = session.text();
                assert!(
                    expected.starts_with(&text),
                    "{bundle}: {text:?}, {expected:?}"
                );
                while session.text().len() < expected.len() {
                    let more = options().with_max_sentences(1);
                    session
                        .generate(more)
                        .for_each(|sentence| drop(sentence.unwrap()));
                }
                assert_eq!(&session.text(), expected, "{bundle}, {panics_at}");
            }
            // The same in the middle of a sentence.
            let mut alone = sessions(&model).swap_remove(0);
            let before = alone.text();
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                alone
                    .generate(options())
                    .next_with(|_| panic!("on purpose"))
            }));
            assert!(panicked.is_err());
            assert_eq!(alone.text(), before);
            alone
                .generate(options())
                .for_each(|sentence| drop(sentence.unwrap()));
            assert_eq!(alone.text(), expected[0], "{bundle}");
        }
    }
}
