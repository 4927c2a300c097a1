//! What a model of each kind has, lacks and may leave out.

use serde_json::{Value, json};
use sllm_ort::{
    Error,
    config::{ModelConfig, ModelKind, PrefillAttention},
};

use super::{opt, parse, sllm, svae};
use crate::edits::edited;

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
