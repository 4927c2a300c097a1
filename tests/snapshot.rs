//! Snapshots of contexts: exact in every variant, and refused if they are damaged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use safetensors::{Dtype, SafeTensors};
use sllm_ort::{
    Error, GenerateOptions, Model, Sentence, Session, config::ModelKind, error::StateError,
};
use support::{load, snapshots::changed};

const MODELS: [(&str, &[&str]); 8] = [
    ("tests/golden/bundle", &["portable", "cpu-int8"]),
    ("tests/golden/bundle-original", &["portable", "cpu-int8"]),
    ("tests/golden/bundle-fast", &["cpu-int8"]),
    ("tests/golden/bundle-half", &["cuda-fp16"]),
    ("tests/golden/bundle-opt", &["portable", "cpu-int8"]),
    ("tests/golden/bundle-opt-fast", &["cpu-int8"]),
    ("tests/golden/bundle-opt-half", &["cuda-fp16"]),
    ("models/sllm-stories", &["portable", "cpu-int8"]),
];

fn prompted(model: &Model) -> Session {
    let mut session = model.session().unwrap();
    let prompt = match model.config().kind {
        ModelKind::Opt => "A cat. It is. ",
        _ => "The cat sat on the hill. She ran to the tree. ",
    };
    session.append(prompt).unwrap();
    session
}

fn generate(session: &mut Session, sentences: usize) -> Vec<Sentence> {
    let options = GenerateOptions::default()
        .with_ignore_eos(true)
        .with_max_sentences(sentences);
    session.generate(options).map(Result::unwrap).collect()
}

#[test]
fn a_restored_context_continues_as_the_saved_one() {
    for (bundle, variants) in MODELS {
        for variant in variants {
            let model = load(bundle, variant);
            let mut session = prompted(&model);
            for time in 0..3 {
                let bytes = session.to_bytes().unwrap();
                let mut restored = Session::from_bytes(&model, &bytes).unwrap();
                let name = format!("{bundle} {variant}, {time}");
                assert_eq!(restored.text(), session.text(), "{name}");
                assert_eq!(restored.len(), session.len(), "{name}");
                assert_eq!(restored.tokens(), session.tokens(), "{name}");
                assert_eq!(restored.to_bytes().unwrap(), bytes, "{name}");
                // Rewinding needs the runs too.
                let mut rewound = session.fork().unwrap();
                rewound.rewind(1).unwrap();
                let mut restored_rewound = restored.fork().unwrap();
                restored_rewound.rewind(1).unwrap();
                assert_eq!(
                    generate(&mut restored_rewound, 1),
                    generate(&mut rewound, 1),
                    "{name}"
                );
                let expected = generate(&mut session, 2);
                assert_eq!(generate(&mut restored, 2), expected, "{name}");
            }
        }
    }
}

#[test]
fn a_snapshot_of_another_variant_is_computed_again() {
    for bundle in ["tests/golden/bundle", "tests/golden/bundle-opt"] {
        let (portable, int8) = (load(bundle, "portable"), load(bundle, "cpu-int8"));
        let session = prompted(&portable);
        let restored = Session::from_bytes(&int8, &session.to_bytes().unwrap()).unwrap();
        assert_eq!(restored.text(), session.text());
        assert_eq!(restored.model().variant(), "cpu-int8");
        let mut restored = restored;
        assert_eq!(generate(&mut restored, 2).len(), 2);
    }
}

#[test]
fn an_empty_context_is_restored() {
    for bundle in ["tests/golden/bundle", "tests/golden/bundle-opt"] {
        let model = load(bundle, "portable");
        let bytes = model.session().unwrap().to_bytes().unwrap();
        assert!(Session::from_bytes(&model, &bytes).unwrap().is_empty());
    }
}

#[test]
fn another_models_snapshot_is_refused() {
    let bytes = prompted(&load("tests/golden/bundle", "portable"))
        .to_bytes()
        .unwrap();
    for other in ["tests/golden/bundle-original", "tests/golden/bundle-opt"] {
        let refused = Session::from_bytes(&load(other, "portable"), &bytes);
        assert!(
            matches!(refused, Err(Error::State(StateError::SessionModel { .. }))),
            "{refused:?}"
        );
    }
    let autoencoder = load("tests/golden/bundle-svae", "portable");
    assert!(Session::from_bytes(&autoencoder, &bytes).is_err());
}

#[test]
fn damaged_snapshots_are_refused() {
    for bundle in ["tests/golden/bundle", "tests/golden/bundle-opt"] {
        let model = load(bundle, "portable");
        let mut session = prompted(&model);
        generate(&mut session, 1);
        let good = session.to_bytes().unwrap();
        let refused = |bytes: &[u8], what: &str| {
            let error = Session::from_bytes(&model, bytes).unwrap_err();
            let message = error.to_string();
            assert!(message.starts_with("the bytes: "), "{what}: {message}");
            assert!(!message.contains('\n'), "{what}: {message}");
        };
        for length in (0..good.len()).step_by(97) {
            refused(&good[..length], "cut short");
        }
        // A bit of a number that stays finite.
        let mut flipped = good.clone();
        let last = flipped.len() - 2;
        flipped[last] ^= 1;
        refused(&flipped, "a changed bit");
        let tensors = SafeTensors::deserialize(&good).unwrap();
        for name in tensors.names() {
            let nan = |found: &str, _: Dtype, data: &mut Vec<u8>| {
                if found == name && name != "logit_ids" {
                    data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
                }
            };
            if name != "logit_ids" {
                refused(&changed(&good, &nan, ("", "")), name);
            }
            // A tensor of no values does not have the shape that is stated, and is left out.
            let gone = |found: &str, _: Dtype, data: &mut Vec<u8>| {
                if found == name {
                    data.clear();
                }
            };
            if !name.ends_with("logit_ids") {
                let bytes = changed(&good, &gone, ("", ""));
                // Without its first tensor the cache is computed again.
                match name == "key.0" {
                    true => assert!(Session::from_bytes(&model, &bytes).is_ok()),
                    false => refused(&bytes, name),
                }
            }
        }
        for text in [
            ("\"format_version\":2", "\"format_version\":3"),
            ("\"ids\":[", "\"ids\":[4294967295,"),
            ("\"text\":", "\"texts\":"),
            ("\"ids\":[", "\"ids\":[-1,"),
        ] {
            refused(&changed(&good, &|_, _, _| {}, text), text.1);
        }
    }
}
