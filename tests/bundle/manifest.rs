//! Manifests that are refused.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sllm_ort::{Error, error::TextError};

use crate::{edits::edited, fixture::Fixture};

/// `tests/hostile/manifests.json`: changes of a good manifest, with the message of each.
#[test]
fn hostile_manifests() {
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let fixture = Fixture::new();
    let base = fixture.manifest();
    let table = fs::read_to_string(hostile.join("manifests.json")).unwrap();
    let mut lines = Vec::new();
    for edit in serde_json::from_str::<Vec<Value>>(&table).unwrap() {
        let changed = edited(&base, edit["at"].as_str().unwrap(), edit.get("set"));
        lines.push(format!(
            "{edit}\n  {}",
            fixture.refusal(&changed.to_string()).0
        ));
    }
    for name in ["cut-short.json", "deep.json", "not-utf8.json"] {
        fs::copy(hostile.join(name), fixture.path().join("sllm.json")).unwrap();
        let error = fixture.open().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Json { .. } | Error::Text(TextError::NotUtf8 { .. })
            ),
            "{name}: {error}"
        );
    }
    let text = lines.join("\n");
    assert_eq!(text.lines().count(), 2 * lines.len());
    insta::assert_snapshot!(text);
}

#[test]
fn every_problem_is_listed() {
    let fixture = Fixture::new();
    let mut manifest = fixture.manifest();
    manifest["model"]["svae"]["heads"] = json!(3);
    manifest["generation"] = json!({"temperature": -1.5, "top_p": 0, "top_k": 0});
    manifest["tokenizer"]["sha256"] = json!("abc");
    manifest["variants"][1]["name"] = json!("int8");
    manifest["variants"][1]["providers"] = json!([]);
    manifest["variants"][0]["graphs"]["encoder"]["external_data"][0]["file"] = json!("../data");
    manifest["variants"][0]["graphs"]["opt"] = fixture.entry("cpu/decoder.onnx");
    let (message, error) = fixture.refusal(&manifest.to_string());
    insta::assert_snapshot!(message, @r#"DIR/sllm.json: key `model.svae.heads` is 3, allowed is a divisor of hidden_size (8); key `generation.temperature` is -1.5, allowed is 0 (greedy) to 100; key `generation.top_p` is 0.0, allowed is above 0 to 1; key `generation.top_k` is 0, allowed is 1 or more; key `tokenizer.sha256` is "abc", allowed is 64 hexadecimal digits; key `variants[0].graphs.encoder.external_data[0].file` is "../data", allowed is a relative name, with `/`, that stays inside the bundle's directory: this one has an empty, `.` or `..` part; key `variants[0].graphs.opt` does not belong to a model of kind svae: remove it, or correct the kind; key `variants[1].name` is "int8", allowed is a name that no other variant has; key `variants[1].providers` is a list of 0 entries, allowed is 1 to 32 entries"#);
    let Error::Schema { problems, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(problems.len(), 9);
}

/// A key is found where it is, `provenance` included.
#[test]
fn a_key_that_is_given_twice() {
    let fixture = Fixture::new();
    let text = fixture.manifest().to_string();
    for (change, key) in [
        (r#""tokenizer":{"file":"x","#, "tokenizer.file"),
        (r#""provenance":{"a":[{"b":1,"b":2}],"#, "provenance.a[0].b"),
    ] {
        let start = &change[..change.find('{').unwrap() + 1];
        let (message, _) = fixture.refusal(&text.replacen(start, change, 1));
        let expected = format!("DIR/sllm.json: key `{key}` is given twice: remove one of them");
        assert_eq!(message, expected);
    }
}
