//! Damaged bundles and sessions: one clear error each, never a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use sllm_ort::{
    Error, LoadOptions, Model, Session,
    error::{BundleError, GraphError, RuntimeError, StateError, TextError},
};
use support::{TINY, copy_bundle, edit_manifest, failure, program, sha256};

/// A change of a JSON file.
type Edit = fn(&mut Value);

/// The manifest's entry of a graph of the first variant, `cpu-int8`.
fn entry<'m>(manifest: &'m mut Value, graph: &str) -> &'m mut Value {
    &mut manifest["variants"][0]["graphs"][graph]
}

/// What loading the tiny model says after `damage`, through the library and the program.
fn damaged(damage: impl FnOnce(&Path)) -> (Error, String) {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle");
    copy_bundle(TINY, &bundle);
    damage(&bundle);
    let error = Model::load(&bundle, LoadOptions::default()).unwrap_err();
    let line = failure(program().args(["run", "hello", "--model"]).arg(&bundle));
    (error, line)
}

/// Write other bytes over a graph; with a right hash they reach ONNX Runtime.
fn replace_graph(bundle: &Path, graph: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = bundle.join(format!("cpu-int8/{graph}.onnx"));
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn a_truncated_or_edited_graph_does_not_match_its_hash() {
    let half = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    for change in [half as fn(&mut Vec<u8>), flip] {
        let (error, line) = damaged(|bundle| replace_graph(bundle, "decoder", change));
        assert!(
            matches!(error, Error::Bundle(BundleError::HashMismatch { .. })),
            "{error:?}"
        );
        assert!(line.contains("decoder.onnx"), "{line}");
    }
}

#[test]
fn a_broken_graph_with_a_right_hash_is_refused_by_onnx_runtime() {
    for size in [0, 1, 1000, 20_000] {
        let (error, line) = damaged(|bundle| {
            replace_graph(bundle, "encoder", |bytes| bytes.truncate(size));
            let hash = sha256(&bundle.join("cpu-int8/encoder.onnx"));
            edit_manifest(bundle, |manifest| {
                entry(manifest, "encoder")["sha256"] = json!(hash)
            });
        });
        let refused = matches!(
            error,
            Error::Graph(GraphError::Load { .. })
                | Error::Bundle(BundleError::MalformedGraph { .. })
                | Error::Graph(GraphError::Signature { .. })
        );
        assert!(refused, "{size}: {error:?}");
        assert!(line.contains("encoder.onnx"), "{line}");
    }
}

#[test]
fn swapped_graphs_do_not_have_the_signature() {
    let (error, line) = damaged(|bundle| {
        edit_manifest(bundle, |manifest| {
            let encoder = entry(manifest, "encoder").take();
            let decoder = entry(manifest, "decoder").take();
            *entry(manifest, "encoder") = decoder;
            *entry(manifest, "decoder") = encoder;
        });
    });
    assert!(
        matches!(error, Error::Graph(GraphError::Signature { .. })),
        "{error:?}"
    );
    assert!(
        line.contains("expected \"encoder\", found \"decoder\""),
        "{line}"
    );
}

#[test]
fn a_manifest_cannot_lead_outside_or_lie() {
    let table: [(&str, Edit, &str); 5] = [
        (
            "outside",
            |m| entry(m, "encoder")["file"] = json!("../encoder.onnx"),
            "stays inside",
        ),
        (
            "absolute",
            |m| entry(m, "encoder")["file"] = json!("/etc/passwd"),
            "stays inside",
        ),
        (
            "absent",
            |m| entry(m, "encoder")["file"] = json!("none.onnx"),
            "none.onnx",
        ),
        (
            "hash",
            |m| entry(m, "encoder")["sha256"] = json!("0".repeat(64)),
            "encoder.onnx",
        ),
        (
            "heads",
            |m| m["model"]["svae"]["heads"] = json!(5),
            "svae.heads",
        ),
    ];
    for (name, edit, expected) in table {
        let (_, line) = damaged(|bundle| edit_manifest(bundle, edit));
        assert!(line.contains(expected), "{name}: {line}");
    }
}

#[test]
fn a_wrong_configuration_shows_in_the_signature() {
    let (error, _) = damaged(|bundle| {
        edit_manifest(bundle, |manifest| {
            manifest["model"]["backbone"]["layers"] = json!(3)
        });
    });
    let Error::Graph(GraphError::Signature { problems, .. }) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        problems.len(),
        4,
        "the keys and values of one layer: {problems:?}"
    );
}

#[test]
fn damaged_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.session");
    let model = Model::load(TINY, LoadOptions::default()).unwrap();
    let good = json!({
        "format_version": 1,
        "model": model.fingerprint(),
        "runs": [2],
        "sentences": [{"text": "Hello, ", "ids": [2, 3]}, {"text": "the cat sat. ", "ids": [2, 4]}],
    });
    std::fs::write(&path, good.to_string()).unwrap();
    let old = Session::load(&model, &path).unwrap();
    assert_eq!(old.text(), "Hello, the cat sat. ");
    let table: [(&str, Edit); 8] = [
        ("version", |s| s["format_version"] = json!(2)),
        ("unknown key", |s| s["more"] = json!(1)),
        ("runs", |s| s["runs"] = json!([1])),
        ("empty run", |s| s["runs"] = json!([2, 0])),
        ("huge runs", |s| s["runs"] = json!([u64::MAX, 3])),
        ("id", |s| s["sentences"][0]["ids"] = json!([2, 64])),
        ("no ids", |s| s["sentences"][0]["ids"] = json!([])),
        ("long", |s| s["sentences"][0]["ids"] = json!(vec![3; 25])),
    ];
    for (name, edit) in table {
        let mut stored = good.clone();
        edit(&mut stored);
        std::fs::write(&path, stored.to_string()).unwrap();
        let error = Session::load(&model, &path).unwrap_err();
        assert!(
            matches!(error, Error::State(StateError::Session { .. })),
            "{name}: {error:?}"
        );
    }
    std::fs::write(&path, "{\"format_version\": 1").unwrap();
    assert!(matches!(
        Session::load(&model, &path),
        Err(Error::State(StateError::Session { .. }))
    ));
    let absent = Session::load(&model, folder.path().join("absent"));
    assert!(matches!(absent, Err(Error::Read { .. })));
}

#[test]
fn saving_replaces_the_whole_file_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.session");
    let model = Model::load(TINY, LoadOptions::default()).unwrap();
    let mut session = model.session().unwrap();
    session.append("Hello, ").unwrap();
    session.save(&path).unwrap();
    let first = std::fs::read(&path).unwrap();
    session.append("the cat sat. ").unwrap();
    session.save(&path).unwrap();
    assert_ne!(first, std::fs::read(&path).unwrap());
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no partial file is left"
    );
    assert_eq!(
        Session::load(&model, &path).unwrap().text(),
        "Hello, the cat sat. "
    );
    let nowhere = session.save(folder.path().join("absent/story.session"));
    assert!(matches!(nowhere, Err(Error::Write { .. })));
}

#[test]
fn requests_that_a_model_cannot_serve() {
    let model = Model::load(TINY, LoadOptions::default()).unwrap();
    let long = "the cat sat ".repeat(30);
    assert!(matches!(
        model.encode(&[long]),
        Err(Error::Text(TextError::SentenceTooLong { limit: 23, .. }))
    ));
    let vector = ndarray::Array1::<f32>::zeros(31);
    let refused = model.decode(vector.view());
    assert!(matches!(
        refused,
        Err(Error::VectorSize {
            found: 31,
            expected: 32
        })
    ));
    let empty = model.session().unwrap().generate(Default::default()).next();
    assert!(matches!(empty, Some(Err(Error::EmptyContext))));
    let opt = Model::load("tests/golden/bundle-opt", LoadOptions::default()).unwrap();
    let vectors = opt.encode(&["the cat. "]);
    assert!(
        matches!(vectors, Err(Error::WrongKind { .. })),
        "{vectors:?}"
    );
}

#[test]
fn a_process_uses_one_library() {
    Model::load(TINY, LoadOptions::default()).unwrap();
    let other = Model::load(TINY, LoadOptions::default().with_onnxruntime("other.so"));
    assert!(
        matches!(other, Err(Error::Runtime(RuntimeError::Conflict { .. }))),
        "{other:?}"
    );
}
