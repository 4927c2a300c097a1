//! What a configuration may say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod edits;

use edits::edited;
use serde_json::{Value, json};
use sllm_ort::{
    Error,
    config::{MAX_CONFIG_BYTES, ModelConfig, ModelKind, PrefillAttention},
    error::{SchemaProblem, TextError},
};

fn sllm() -> Value {
    json!({
        "name": "sllm-125m-h4", "kind": "sllm",
        "vocab_size": 50272, "hidden_size": 768, "max_sentence_tokens": 64, "max_sentences": 64,
        "tokens": {"bos": 2, "eos": 2, "pad": 1},
        "svae": {"layers": 4, "heads": 12, "ffn_size": 1536, "word_embed_size": 768, "learnable_add": false},
        "backbone": {"layers": 12, "heads": 12, "ffn_size": 3072, "norm_first": true, "max_positions": 2048,
                     "prefill_attention": "bidirectional"},
        "reencode_bos": false
    })
}

fn svae() -> Value {
    json!({
        "name": "svae-768-h1", "kind": "svae", "vocab_size": 50272, "hidden_size": 768, "max_sentence_tokens": 64,
        "tokens": {"bos": 2, "eos": 2, "pad": 1},
        "svae": {"layers": 1, "heads": 12, "ffn_size": 1536, "word_embed_size": 768, "learnable_add": true}
    })
}

fn opt() -> Value {
    json!({
        "name": "opt-350m", "kind": "opt", "vocab_size": 50272, "hidden_size": 1024,
        "tokens": {"bos": 2, "eos": 2, "pad": 1},
        "backbone": {"layers": 24, "heads": 16, "ffn_size": 4096, "norm_first": false, "max_positions": 2048,
                     "word_embed_size": 512}
    })
}

fn parse(config: &Value) -> sllm_ort::Result<ModelConfig> {
    ModelConfig::from_json_str(&config.to_string(), "model.json")
}

#[test]
fn three_kinds() {
    let sllm = parse(&sllm()).unwrap();
    assert_eq!(
        (sllm.name.as_str(), sllm.kind),
        ("sllm-125m-h4", ModelKind::Sllm)
    );
    assert_eq!(
        (
            sllm.require_max_sentence_tokens().unwrap(),
            sllm.require_max_sentences().unwrap()
        ),
        (64, 64)
    );
    assert_eq!(
        (sllm.svae_head_size(), sllm.backbone_head_size()),
        (Some(64), Some(64))
    );
    assert_eq!(
        sllm.require_backbone().unwrap().prefill_attention,
        PrefillAttention::Bidirectional
    );
    assert!(!sllm.reencode_bos && sllm.require_svae().unwrap().layers == 4);

    let svae = parse(&svae()).unwrap();
    assert!(svae.kind == ModelKind::Svae && svae.require_svae().unwrap().learnable_add);
    assert_eq!(
        (svae.backbone_head_size(), svae.max_sentences),
        (None, None)
    );

    let opt = parse(&opt()).unwrap();
    let backbone = opt.require_backbone().unwrap();
    assert_eq!(
        (opt.kind, backbone.word_embed_size),
        (ModelKind::Opt, Some(512))
    );
    assert_eq!(backbone.prefill_attention, PrefillAttention::Causal);
    assert_eq!(
        (opt.svae_head_size(), opt.backbone_head_size()),
        (None, Some(64))
    );
}

#[test]
fn parts_that_a_kind_lacks() {
    let (sllm, svae, opt) = (
        parse(&sllm()).unwrap(),
        parse(&svae()).unwrap(),
        parse(&opt()).unwrap(),
    );
    let errors = [
        opt.require_svae().unwrap_err(),
        opt.require_max_sentence_tokens().unwrap_err(),
        svae.require_backbone().unwrap_err(),
        svae.require_max_sentences().unwrap_err(),
    ];
    assert!(
        errors
            .iter()
            .all(|error| matches!(error, Error::WrongKind { .. }))
    );
    insta::assert_snapshot!(errors[0], @"model opt-350m is of kind opt and has no sentence encoder and decoder: use a model of kind svae or sllm");

    // A configuration that was changed by hand is checked by `validate`.
    let mut headless = sllm.clone();
    headless.backbone = None;
    insta::assert_snapshot!(headless.validate("x").unwrap_err(), @"x: key `backbone` is missing: add it, allowed is an object with layers, heads, ...");
    let mut wide = sllm;
    wide.hidden_size = 100;
    insta::assert_snapshot!(wide.validate("x").unwrap_err(), @"x: key `svae.heads` is 12, allowed is a divisor of hidden_size (100); key `backbone.heads` is 12, allowed is a divisor of hidden_size (100)");
}

#[test]
fn written_and_read_again() {
    for config in [sllm(), svae(), opt()] {
        let config = parse(&config).unwrap();
        let again = parse(&serde_json::to_value(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }
}

#[test]
fn settings_without_a_meaning_may_be_there() {
    for config in [svae(), opt()] {
        for (key, value) in [
            ("/max_sentences", json!(64)),
            ("/reencode_bos", json!(true)),
        ] {
            parse(&edited(&config, key, Some(&value))).unwrap();
        }
    }
    parse(&edited(&opt(), "/max_sentence_tokens", Some(&json!(64)))).unwrap();
    parse(&edited(
        &opt(),
        "/backbone/prefill_attention",
        Some(&json!("causal")),
    ))
    .unwrap();
}

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

#[test]
fn an_editor_may_have_saved_it() {
    let text = serde_json::to_string_pretty(&sllm()).unwrap();
    let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let found = ModelConfig::from_json_str(&windows, "model.json").unwrap();
    assert_eq!(found, parse(&sllm()).unwrap());
}

#[test]
fn texts_that_are_no_configuration() {
    for text in ["", "{", "[1", "{\"name\": nul}", &"[".repeat(100_000)] {
        let error = ModelConfig::from_json_str(text, "model.json").unwrap_err();
        assert!(matches!(error, Error::Json { .. }), "{text:.20}: {error:?}");
        assert!(std::error::Error::source(&error).is_some());
    }
    let error = ModelConfig::from_json_str("{\n \"name\" 3}", "model.json").unwrap_err();
    insta::assert_snapshot!(error, @"model.json: line 2, column 9: not valid JSON: correct it there, or export the bundle again");
    for text in ["[]", "3", "null", "\"sllm\""] {
        let error = ModelConfig::from_json_str(text, "model.json").unwrap_err();
        assert!(matches!(error, Error::Schema { .. }), "{text}: {error:?}");
    }
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.json");
    assert!(matches!(
        ModelConfig::from_file(&path),
        Err(Error::Read { .. })
    ));
    assert!(matches!(
        ModelConfig::from_file(dir.path()),
        Err(Error::Read { .. })
    ));
    std::fs::write(&path, sllm().to_string()).unwrap();
    assert_eq!(
        ModelConfig::from_file(&path).unwrap(),
        parse(&sllm()).unwrap()
    );
    std::fs::write(&path, [0xff; 3]).unwrap();
    assert!(matches!(
        ModelConfig::from_file(&path),
        Err(Error::Text(TextError::NotUtf8 { byte: 0, .. }))
    ));
    std::fs::write(&path, " ".repeat(MAX_CONFIG_BYTES as usize + 1)).unwrap();
    assert!(matches!(
        ModelConfig::from_file(&path),
        Err(Error::FileTooLarge { .. })
    ));
}

/// Every configuration that is in the repository.
#[test]
fn configs() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let config = ModelConfig::from_file(&path).unwrap();
            assert_eq!(
                path.file_stem().unwrap().to_str(),
                Some(config.name.as_str())
            );
            count += 1;
        }
    }
    assert!(count >= 21, "{count}");
}

/// The table of arXiv 2408.00655, in millions, and the digit to which it is rounded.
#[test]
fn a_generated_sentence_is_masked_as_it_has_bos_unless_said_otherwise() {
    for bos in [false, true] {
        let mut json = sllm();
        json["reencode_bos"] = bos.into();
        let read = |json: &Value| ModelConfig::from_json_str(&json.to_string(), "test").unwrap();
        assert_eq!(read(&json).reencode_mask, bos);
    }
    let mut json = sllm();
    json["reencode_mask"] = true.into();
    let read = ModelConfig::from_json_str(&json.to_string(), "test").unwrap();
    assert!(read.reencode_mask && !read.reencode_bos);
    json["reencode_bos"] = true.into();
    json["reencode_mask"] = false.into();
    let refused = ModelConfig::from_json_str(&json.to_string(), "test");
    assert!(matches!(refused, Err(Error::Schema { .. })), "{refused:?}");
}

#[test]
fn parameters_are_those_of_the_paper() {
    for (name, millions, digit) in [
        ("sllm-125m-h1", 214, 1),
        ("sllm-125m-h2", 226, 1),
        ("sllm-125m-h4", 250, 1),
        ("sllm-350m-h1", 429, 1),
        ("sllm-350m-h2", 450, 1),
        ("sllm-350m-h4", 492, 1),
        ("sllm-1.3b-h1", 1610, 10),
        ("sllm-1.3b-h2", 1690, 10),
    ] {
        let config = ModelConfig::from_file(format!("configs/{name}.json")).unwrap();
        let found = config.parameters();
        assert_eq!(found.total, found.encoder + found.backbone + found.decoder);
        let unit = digit * 1_000_000;
        assert_eq!((found.total + unit / 2) / unit * digit, millions, "{name}");
    }
    // By hand, with D = 768, V = 50272: embeddings V D, a layer of the encoder 4 (D D + D) + 2 D F +
    // F + D + 4 D, its norm 2 D; the decoder has another attention and norm, and V (D + 1).
    let config = ModelConfig::from_file("configs/sllm-125m-h1.json").unwrap();
    let found = config.parameters();
    let parts = [found.encoder, found.backbone, found.decoder];
    assert_eq!(parts, [43_337_472, 86_630_402, 84_359_008]);
}
