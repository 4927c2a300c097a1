//! Evaluation of sentence-level models on a text file: the library's figures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod eval_support;
mod support;

use std::{fs, path::Path, time::Duration};

use eval_support::{Folder, OTHER, STORY, figures, interrupted, many, model, records, run};
use serde_json::{Value, json};
use sllm_ort::{
    Error, Result,
    error::{StateError, TextError},
    eval::{EvalOptions, Evaluation},
};
use support::{TINY, TINY_ORIGINAL, copy_bundle, edit_manifest};

#[test]
fn exactness_is_that_of_reconstruct() {
    let folder = Folder::new();
    let text = records(&[STORY, OTHER, "Is it so; the end."]);
    let file = folder.file("text", &text);
    for bundle in [TINY, TINY_ORIGINAL] {
        for variant in ["portable", "cpu-int8"] {
            let model = model(bundle, variant);
            let found = run(&model, &file, &EvalOptions::default()).unwrap();
            let pipeline = model.text_pipeline();
            let sentences: Vec<_> = text
                .split("\n<|endoftext|>\n")
                .flat_map(|record| pipeline.sentences(record).unwrap())
                .collect::<Result<_>>()
                .unwrap();
            let expected = model.reconstruct(&sentences).unwrap();
            let exact = expected.iter().filter(|found| found.exact).count();
            assert_eq!(found.sentences, sentences.len() as u64);
            let expected = exact as f64 / sentences.len() as f64;
            let reconstruction = found.reconstruction.unwrap();
            assert_eq!(reconstruction.exact, expected, "{bundle} {variant}");
            assert!((0.2..0.99).contains(&expected), "{expected}");
            let counted: u64 = reconstruction
                .by_length
                .iter()
                .map(|bin| bin.sentences)
                .sum();
            assert_eq!(counted, found.sentences);
        }
    }
}

/// The tiny models were trained on this text: on each sentence, and on what follows the fourth.
#[test]
fn a_learned_text_is_predicted() {
    let folder = Folder::new();
    let file = folder.file("text", STORY);
    let found = run(&model(TINY, "portable"), &file, &EvalOptions::default()).unwrap();
    let next = found.next_sentence.clone().unwrap();
    assert_eq!((found.records, found.sentences, next.sentences), (1, 7, 6));
    assert_eq!(found.bytes, STORY.len() as u64);
    let bits = next.nll / std::f64::consts::LN_2;
    let bytes = STORY.len() - "Hello, ".len();
    assert_eq!(next.bytes, bytes as u64);
    assert!((next.bits_per_byte - bits / bytes as f64).abs() < 1e-12);
    assert!((next.perplexity - (next.nll / next.tokens as f64).exp()).abs() < 1e-12);
    // One window: the mean of its means is its own.
    assert!((next.perplexity - next.paper_perplexity).abs() < 1e-12);
    let reconstruction = found.reconstruction.unwrap();
    assert!(reconstruction.perplexity < 1.1, "{reconstruction:?}");
    let bits = reconstruction.nll / std::f64::consts::LN_2;
    assert!((reconstruction.bits_per_byte - bits / STORY.len() as f64).abs() < 1e-12);
    assert!(found.next_token.is_none());
    let stop = found.stop.unwrap();
    assert_eq!((stop.positions, stop.ends), (7, 1));
    assert!(found.next_sentence_bidirectional.is_none());
}

#[test]
fn a_bidirectional_prefill_is_reported_apart() {
    let folder = Folder::new();
    let file = folder.file("text", STORY);
    let model = model(TINY_ORIGINAL, "portable");
    let found = run(&model, &file, &EvalOptions::default()).unwrap();
    let (causal, seeing) = (
        found.next_sentence.unwrap(),
        found.next_sentence_bidirectional.unwrap(),
    );
    assert_eq!(causal.tokens, seeing.tokens);
    assert!((causal.nll - seeing.nll).abs() > 1e-3);
    assert!(seeing.note.unwrap().contains("sees the whole window"));
    assert_eq!(causal.note, None);
}

/// Interrupted after every batch, an evaluation ends with the same figures to the last bit.
#[test]
fn resumed_is_uninterrupted() {
    let folder = Folder::new();
    let state = folder.path("state");
    let one_record = many().replace("\n<|endoftext|>\n", " ");
    for (bundle, text) in [(TINY, many()), (TINY, one_record), (TINY_ORIGINAL, many())] {
        let file = folder.file("text", text);
        let model = model(bundle, "cpu-int8");
        for limit in [None, Some(40)] {
            let limited = |options: EvalOptions| match limit {
                Some(limit) => options.with_limit(limit).unwrap(),
                None => options,
            };
            let whole = run(&model, &file, &limited(EvalOptions::default())).unwrap();
            let options = limited(EvalOptions::default()).with_state(&state);
            let (resumed, runs) = interrupted(&model, &file, options);
            assert!(runs > 2, "{runs}");
            assert_eq!(figures(&resumed), figures(&whole));
            assert!(!state.exists());
        }
    }
}

#[test]
fn a_corrected_text_is_another_one() {
    let folder = Folder::new();
    let state = folder.path("state");
    let good = many();
    let mut bad = good.clone().into_bytes();
    *bad.last_mut().unwrap() = 0xff;
    let file = folder.file("text", &bad);
    let model = model(TINY, "cpu-int8");
    let options = EvalOptions::default()
        .with_state(&state)
        .with_state_interval(Duration::ZERO);
    match run(&model, &file, &options) {
        Err(Error::Text(TextError::NotUtf8 { byte, line, .. })) => {
            assert_eq!(byte, good.len() as u64 - 1);
            assert_eq!(line, Some(good.lines().count() as u64));
        }
        other => panic!("{other:?}"),
    }
    folder.file("text", &good);
    let again = run(&model, &file, &options);
    let what = "SHA-256 of the text";
    assert!(
        matches!(again, Err(Error::State(StateError::EvalMismatch { what: found, .. })) if found == what)
    );
    fs::remove_file(&state).unwrap();
    let resumed = run(&model, &file, &options).unwrap();
    let whole = run(&model, &file, &EvalOptions::default()).unwrap();
    assert_eq!(figures(&resumed), figures(&whole));
}

#[test]
fn a_state_of_something_else_is_refused() {
    let folder = Folder::new();
    let (text, other) = (
        folder.file("text", STORY),
        folder.file("other", STORY.to_uppercase()),
    );
    let state = folder.path("state");
    let tiny = model(TINY, "cpu-int8");
    let options = EvalOptions::default()
        .with_state(&state)
        .with_keep_state(true);
    let kept = run(&tiny, &text, &options).unwrap();
    assert!(state.exists());
    assert_eq!(run(&tiny, &text, &options).unwrap(), kept);

    let mismatch = |found: Result<Evaluation>| match found {
        Err(Error::State(StateError::EvalMismatch { what, .. })) => what,
        other => panic!("{other:?}"),
    };
    let limited = options.clone().with_limit(1).unwrap();
    assert_eq!(
        mismatch(run(&model(TINY_ORIGINAL, "cpu-int8"), &text, &options)),
        "model"
    );
    assert_eq!(
        mismatch(run(&model(TINY, "portable"), &text, &options)),
        "variant"
    );
    assert_eq!(
        mismatch(run(&tiny, &other, &options)),
        "SHA-256 of the text"
    );
    // The same text under another name is the same.
    assert!(run(&tiny, &folder.file("copy", STORY), &options).is_ok());
    assert_eq!(mismatch(run(&tiny, &text, &limited)), "limit of records");
    folder.file("text", STORY.to_owned() + " The end.");
    assert_eq!(mismatch(run(&tiny, &text, &options)), "size of the text");
    folder.file("text", STORY);

    let right: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    let mut newer = right.clone();
    newer["format_version"] = 99.into();
    // Two ways of computing are not mixed.
    for (key, other, expected) in [
        ("provider", json!("cuda"), "execution provider"),
        ("matmul_kernel", json!("other"), "matmul kernel"),
        ("program_version", json!("0.0.0"), "program version"),
    ] {
        let mut state = right.clone();
        assert!(state["subject"].get(key).is_some(), "{state}");
        state["subject"][key] = other;
        folder.file("state", state.to_string());
        assert_eq!(mismatch(run(&tiny, &text, &options)), expected);
    }
    let mut beyond = right.clone();
    beyond["progress"]["position"]["offset"] = 1000.into();
    let mut contradicting = right.clone();
    contradicting["progress"]["sums"]["reconstruction"]["sentences"] = 1_000_000.into();
    let mut countless = right.clone();
    countless["progress"]["sums"]["bytes"] = u64::MAX.into();
    for damaged in [
        json!([]).to_string(),
        "{".into(),
        newer.to_string(),
        beyond.to_string(),
        contradicting.to_string(),
        countless.to_string(),
    ] {
        folder.file("state", damaged);
        let found = run(&tiny, &text, &options);
        assert!(
            matches!(found, Err(Error::State(StateError::Eval { .. }))),
            "{found:?}"
        );
    }
    let nowhere = EvalOptions::default().with_state(folder.path("absent/state"));
    assert!(matches!(
        run(&tiny, &text, &nowhere),
        Err(Error::Write { .. })
    ));
}

#[test]
fn hostile_texts() {
    let folder = Folder::new();
    let tiny = model(TINY, "cpu-int8");
    let found = |path: &Path| run(&tiny, path, &EvalOptions::default());
    for nothing in ["", " \n\t\n", "<|endoftext|>\n\n<|endoftext|>\n"] {
        let file = folder.file("text", nothing);
        let state = folder.path("state");
        let options = EvalOptions::default().with_state(&state);
        let empty = run(&tiny, &file, &options);
        assert!(
            matches!(empty, Err(Error::Text(TextError::NoSentences { .. }))),
            "{empty:?}"
        );
        assert!(!state.exists());
    }
    let invisible = "\u{200b}\n<|endoftext|>\nOne. \n<|endoftext|>\n\u{feff}\u{2060}\n";
    let seen = found(&folder.file("text", invisible)).unwrap();
    assert_eq!((seen.records, seen.sentences, seen.bytes), (1, 1, 4));
    let late = many() + "\none\0";
    match found(&folder.file("text", &late)) {
        Err(Error::Text(TextError::Nul { byte, line, .. })) => {
            assert_eq!(byte, late.len() as u64 - 1);
            assert_eq!(line, Some(late.lines().count() as u64));
        }
        other => panic!("{other:?}"),
    }
    let directory = found(folder.0.path());
    assert!(
        matches!(directory, Err(Error::Read { .. })),
        "{directory:?}"
    );
    let absent = found(&folder.path("absent"));
    assert!(matches!(absent, Err(Error::Read { .. })), "{absent:?}");
    // A model with room for one token in a sentence, and a character that needs two.
    let short = folder.path("short");
    copy_bundle(TINY, &short);
    edit_manifest(&short, |manifest| {
        manifest["model"]["max_sentence_tokens"] = 2.into()
    });
    let short = model(short.to_str().unwrap(), "cpu-int8");
    let text = folder.file("text", "a, \naé.");
    match run(&short, &text, &EvalOptions::default()) {
        Err(Error::Text(TextError::Unusable { byte, source, .. })) => {
            assert_eq!(byte, 5);
            assert!(matches!(
                *source,
                Error::Text(TextError::CharacterTooLong { .. })
            ));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_not_measured_is_left_out() {
    let folder = Folder::new();
    let file = folder.file("text", "Hello, \n<|endoftext|>\n");
    let found = run(&model(TINY, "cpu-int8"), &file, &EvalOptions::default()).unwrap();
    let value = figures(&found);
    assert_eq!(value.get("next_sentence"), None);
    assert_eq!(value["stop"]["positions"], 1);
    assert_eq!(value["stop"]["ends"], 1);
    assert_eq!(
        value["reconstruction"]["by_length"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
