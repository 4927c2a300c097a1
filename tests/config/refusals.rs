//! Values and keys that are refused.

use serde_json::{Value, json};
use sllm_ort::{Error, config::ModelConfig, error::SchemaProblem};

use super::{opt, parse, sllm, svae};
use crate::edits::edited;

/// Each error as it is shown, for one change of a good configuration. `None` removes the key.
#[test]
fn refused() {
    let long = "x".repeat(200);
    let sllm_edits: Vec<(&str, Option<Value>)> = vec![
        ("/name", Some(json!(""))),
        ("/name", Some(json!("two\nlines"))),
        ("/name", Some(json!(long))),
        ("/kind", None),
        ("/kind", Some(json!("gpt"))),
        ("/kind", Some(json!(null))),
        ("/vocab_size", Some(json!(0))),
        ("/vocab_size", Some(json!(1 << 30))),
        ("/vocab_size", Some(json!(u64::MAX))),
        ("/vocab_size", Some(json!(-1))),
        ("/vocab_size", Some(json!(50272.0))),
        ("/vocab_size", Some(json!("50272"))),
        ("/hidden_size", None),
        ("/hidden_size", Some(json!(770))),
        ("/max_sentence_tokens", Some(json!(1))),
        ("/max_sentences", Some(json!(0))),
        ("/max_sentences", Some(json!(2049))),
        ("/tokens", Some(json!([2, 2, 1]))),
        ("/tokens/bos", Some(json!(50272))),
        ("/tokens/pad", None),
        ("/tokens/pad", Some(json!(u64::from(u32::MAX) + 1))),
        ("/tokens/unk", Some(json!(3))),
        ("/svae", None),
        ("/svae/layers", Some(json!(0))),
        ("/svae/heads", Some(json!(0))),
        ("/svae/heads", Some(json!(5))),
        ("/svae/learnable_add", Some(json!(0))),
        ("/svae/dropout", Some(json!(0.1))),
        ("/backbone/heads", Some(json!(7))),
        ("/backbone/max_positions", Some(json!(32))),
        ("/backbone/norm_first", None),
        ("/backbone/prefill_attention", Some(json!("sideways"))),
        ("/backbone/word_embed_size", Some(json!(768))),
        ("/reencode_bos", None),
        ("/max_sentnces", Some(json!(64))),
        ("/bad\nkey", Some(json!(64))),
    ];
    let opt_edits: Vec<(&str, Option<Value>)> = vec![
        ("/svae", Some(json!({}))),
        ("/backbone", None),
        ("/backbone/word_embed_size", None),
        ("/backbone/prefill_attention", Some(json!("bidirectional"))),
        ("/max_sentences", Some(json!(4096))),
        ("/reencode_bos", Some(json!("no"))),
    ];
    let messages = |base: Value, edits: Vec<(&str, Option<Value>)>| {
        let messages = edits.into_iter().map(|(key, value)| {
            let error = parse(&edited(&base, key, value.as_ref())).unwrap_err();
            assert!(matches!(error, Error::Schema { .. }), "{error:?}");
            error.to_string()
        });
        messages.collect::<Vec<_>>()
    };
    let mut all = messages(sllm(), sllm_edits);
    all.extend(messages(opt(), opt_edits));
    all.extend(messages(
        svae(),
        vec![
            ("/backbone", Some(json!({}))),
            ("/svae/heads", Some(json!(9))),
        ],
    ));
    assert!(all.iter().all(|message| !message.contains('\n')));
    insta::assert_snapshot!(all.join("\n"));
}

/// The message for a good configuration with several changes.
fn refusal(mut config: Value, changes: &[(&str, Value)]) -> (String, Vec<SchemaProblem>) {
    for (key, value) in changes {
        config = edited(&config, key, Some(value));
    }
    let error = parse(&config).unwrap_err();
    let message = error.to_string();
    let Error::Schema { problems, .. } = error else {
        panic!("{error:?}")
    };
    assert!(!message.contains('\n'), "{message}");
    (message, problems)
}

#[test]
fn every_problem_is_listed() {
    let changes = [
        ("/name", json!("two\nlines")),
        ("/tokens/eos", json!(60000)),
        ("/max_sentence_tokens", json!(1)),
        ("/svae/layers", json!(0)),
        ("/svae/heads", json!(7)),
        ("/backbone/ffn_size", json!(1 << 20)),
    ];
    let (message, problems) = refusal(sllm(), &changes);
    insta::assert_snapshot!(message, @r#"model.json: key `name` is "two\nlines", allowed is a string of 1 to 128 bytes without control characters; key `tokens.eos` is 60000, allowed is an id below vocab_size (50272); key `max_sentence_tokens` is 1, allowed is 2 to 65536; key `svae.layers` is 0, allowed is 1 to 1024; key `svae.heads` is 7, allowed is a divisor of hidden_size (768); key `backbone.ffn_size` is 1048576, allowed is 1 to 262144"#);
    assert_eq!(problems.len(), changes.len());
    assert!(problems.contains(&SchemaProblem::InvalidValue {
        key: "svae.heads".into(),
        value: "7".into(),
        allowed: "a divisor of hidden_size (768)".into(),
    }));
    // What another kind has, and what this kind lacks.
    insta::assert_snapshot!(refusal(svae(), &[("/kind", json!("sllm"))]).0, @"model.json: key `reencode_bos` is missing: add it, allowed is true or false; key `backbone` is missing: add it, allowed is an object with layers, heads, ...; key `max_sentences` is missing: add it, allowed is 1 or more");
    insta::assert_snapshot!(refusal(sllm(), &[("/kind", json!("opt"))]).0, @r#"model.json: key `svae` does not belong to a model of kind opt: remove it, or correct the kind; key `backbone.word_embed_size` is missing: add it, allowed is 1 or more; key `backbone.prefill_attention` is "bidirectional", allowed is "causal" in a model of kind opt"#);
    // A size that is wrong itself makes no other value wrong.
    let changes = [("/vocab_size", json!(0)), ("/hidden_size", json!(0))];
    insta::assert_snapshot!(refusal(sllm(), &changes).0, @"model.json: key `vocab_size` is 0, allowed is 1 to 1048576; key `hidden_size` is 0, allowed is 1 to 65536");
}

#[test]
fn a_list_of_problems_ends() {
    let zeros = [
        "/vocab_size",
        "/hidden_size",
        "/max_sentence_tokens",
        "/max_sentences",
        "/svae/layers",
        "/svae/heads",
        "/svae/slots",
        "/svae/ffn_size",
        "/svae/word_embed_size",
        "/backbone/layers",
        "/backbone/heads",
        "/backbone/ffn_size",
        "/backbone/max_positions",
    ];
    let changes = zeros.map(|key| (key, json!(0)));
    let (message, problems) = refusal(sllm(), &changes);
    assert!(problems.len() > 12, "{problems:#?}");
    assert!(message.ends_with(" more"), "{message}");
    assert_eq!(message.matches("; key `").count(), 11, "{message}");
}

#[test]
fn keys_that_are_given_twice() {
    for (text, key) in [
        (r#"{"a": 1, "a": 1}"#, "a"),
        (r#"{"a": 1, "b": {"c": 1, "c": 1}}"#, "b.c"),
        (r#"{"a": [{}, {"b": null, "b": 2}]}"#, "a[1].b"),
        (r#"{"a": {"x\u000ay": 1, "x\ny": 1}}"#, r"a.x\ny"),
    ] {
        let error = ModelConfig::from_json_str(text, "model.json").unwrap_err();
        let expected = format!("model.json: key `{key}` is given twice: remove one of them");
        assert_eq!(error.to_string(), expected);
    }
}

/// Values that serde reads by itself where the schema has others.
#[test]
fn no_list_is_an_object_and_null_is_a_value() {
    for (key, value) in [
        ("/tokens", json!([2, 2, 1])),
        ("/svae", json!([4, null, 12, 1536, 768, false])),
        ("/kind", json!({"sllm": null})),
        ("/backbone/prefill_attention", json!(["causal"])),
        ("/max_sentence_tokens", json!(null)),
        ("/svae", json!(null)),
        ("/svae/decoder_layers", json!(null)),
        ("/svae/slots", json!(null)),
        ("/reencode_mask", json!(null)),
    ] {
        let (message, problems) = refusal(sllm(), &[(key, value.clone())]);
        let dotted = key[1..].replace('/', ".");
        let start = format!("model.json: key `{dotted}` is {value}, allowed is ");
        assert!(message.starts_with(&start), "{message}");
        assert_eq!(problems.len(), 1);
    }
}
