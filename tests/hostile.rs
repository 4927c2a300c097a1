//! Each file of `tests/hostile`: an error or success, never a panic, and in time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile_support;

use std::{fs, path::Path};

use hostile_support::support::{edit_manifest, sha256};
use hostile_support::{Place, TINY, copy_bundle, corpus, outcome, tokenizer, tokenizers};
use serde_json::{Value, json};
use sllm_ort::{
    Error, GenerateOptions, LoadOptions, Model, Session,
    bundle::{Bundle, GraphRole},
    error::{BundleError, TextError},
    eval::{EvalOptions, evaluate},
    text::MAX_TEXT_BYTES,
};

/// A line for each file, without the names of this machine.
fn table(
    place: &Place,
    files: Vec<(String, Vec<u8>)>,
    read: impl Fn(&[u8]) -> sllm_ort::Result<()>,
) -> String {
    let folder = place.bundle.parent().unwrap();
    let (plain, real) = (folder.to_path_buf(), folder.canonicalize().unwrap());
    let line = |(name, bytes): (String, Vec<u8>)| {
        let message = outcome(&name, || read(&bytes));
        let message = message.replace(real.to_str().unwrap(), "DIR");
        format!(
            "{name}\n  {}",
            message.replace(plain.to_str().unwrap(), "DIR")
        )
    };
    files.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// All that were refused name their file.
fn assert_named(table: &str, name: &str) {
    for line in table.lines().filter(|line| line.starts_with("  ")) {
        assert!(line == "  good" || line.contains(name), "{line}");
    }
}

#[test]
fn manifests() {
    let place = Place::new();
    let table = table(&place, corpus("manifest"), |bytes| place.manifest(bytes));
    assert_named(&table, "DIR/bundle/");
    insta::assert_snapshot!(table);
}

#[test]
fn sessions() {
    let place = Place::new();
    let table = table(&place, corpus("session"), |bytes| place.session(bytes));
    assert_named(&table, "DIR/hostile.session");
    insta::assert_snapshot!(table);
}

#[test]
fn tokenizer_files() {
    let place = Place::new();
    insta::assert_snapshot!(table(&place, tokenizers(), tokenizer));
}

#[test]
fn texts() {
    let place = Place::new();
    insta::assert_snapshot!(table(&place, corpus("text"), |bytes| place.text(bytes)));
}

#[test]
fn megabytes_of_one_character() {
    let place = Place::new();
    for character in ["a", " ", ".", "\n", "\0", "…", "\u{301}", "𝄞"] {
        let text = character.repeat((1 << 20) / character.len());
        outcome(&format!("{character:?}"), || place.text(text.as_bytes()));
    }
    let text = "a".repeat(MAX_TEXT_BYTES + 1);
    let mut session = place.model.session().unwrap();
    let refused = session.append(&text);
    assert!(
        matches!(refused, Err(Error::Text(TextError::TooLarge { .. }))),
        "{refused:?}"
    );
}

/// The manifest of the tiny bundle, changed.
fn changed(place: &Place, edit: impl FnOnce(&mut Value)) {
    let path = place.bundle.join("sllm.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut manifest);
    fs::write(path, manifest.to_string()).unwrap();
}

#[cfg(unix)]
#[test]
fn a_manifest_is_a_file_of_the_bundle() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    let (manifest, outside) = (place.bundle.join("sllm.json"), place.file("outside.json"));
    fs::rename(&manifest, &outside).unwrap();
    symlink(&outside, &manifest).unwrap();
    let message = outcome("link", || Bundle::open(&place.bundle).map(drop));
    assert!(
        message.contains("sllm.json is a symbolic link to "),
        "{message}"
    );

    // A link that stays inside is one of its files.
    let inside = place.bundle.join("other.json");
    fs::copy(&outside, &inside).unwrap();
    fs::remove_file(&manifest).unwrap();
    symlink("other.json", &manifest).unwrap();
    Bundle::open(&place.bundle).unwrap();

    // Opening a pipe would wait until someone writes to it.
    fs::remove_file(&manifest).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(&manifest)
        .status()
        .unwrap();
    assert!(made.success());
    let message = outcome("pipe", || Bundle::open(&place.bundle).map(drop));
    assert!(message.contains("sllm.json"), "{message}");
}

/// ONNX Runtime looks for external data beside the file that a link leads to.
#[cfg(unix)]
#[test]
fn a_linked_graph_cannot_reach_other_data() {
    use std::os::unix::fs::symlink;
    // ModelProto.graph.initializer.external_data: location is "w".
    let entry = b"\x0a\x08location\x12\x01w";
    let nested = |field: u8, inner: &[u8]| [&[field, inner.len() as u8], inner].concat();
    let graph = nested(0x3a, &nested(0x2a, &nested(0x6a, entry)));
    let place = Place::new();
    let at = |name: &str| place.bundle.join(name);
    fs::create_dir(at("real")).unwrap();
    fs::write(at("real/encoder.onnx"), &graph).unwrap();
    fs::write(place.file("secret"), "secret").unwrap();
    symlink(place.file("secret"), at("real/w")).unwrap();
    fs::create_dir(at("shown")).unwrap();
    symlink("../real/encoder.onnx", at("shown/encoder.onnx")).unwrap();
    fs::write(at("shown/w"), "weights").unwrap();
    changed(&place, |manifest| {
        manifest["variants"][0]["graphs"]["encoder"] = json!({
            "file": "shown/encoder.onnx", "sha256": sha256(&at("real/encoder.onnx")),
            "external_data": [{"file": "shown/w", "sha256": sha256(&at("shown/w"))}],
        });
    });
    let verify = || {
        let bundle = Bundle::open(&place.bundle).unwrap();
        let encoder = bundle.variants[0].graph(GraphRole::Encoder)?;
        encoder.verify_external_data(&encoder.read_verified()?)
    };
    let refused = verify();
    assert!(
        matches!(
            refused,
            Err(Error::Bundle(BundleError::UnlistedExternalData { .. }))
        ),
        "{refused:?}"
    );
    // The listed file reached by a link is the listed file.
    fs::remove_file(at("real/w")).unwrap();
    symlink("../shown/w", at("real/w")).unwrap();
    verify().unwrap();
}

#[test]
fn graphs_that_another_parser_reads_otherwise() {
    let place = Place::new();
    let bundle = Bundle::open(&place.bundle).unwrap();
    let encoder = bundle.variants[0].graph(GraphRole::Encoder).unwrap();
    // The field's number is 7, a graph, in the 32 bits that protobuf reads of it.
    let wide_tag = [0xba, 0x80, 0x80, 0x80, 0x10, 0x00];
    let ort_format = b"\x12\x06\0\0ORTM";
    for (graph, problem) in [
        (&wide_tag[..], "a field number that is too large"),
        (&ort_format[..], "a model in ONNX Runtime's own format"),
    ] {
        let message = outcome(problem, || encoder.verify_external_data(graph));
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn a_signature_of_a_thousand_layers_is_refused_in_one_line() {
    let place = Place::new();
    changed(&place, |manifest| {
        manifest["model"]["backbone"]["layers"] = json!(1000)
    });
    let message = outcome("layers", || {
        sllm_ort::Model::load(&place.bundle, Default::default()).map(drop)
    });
    assert!(
        message.contains("; and ") && message.contains(" more: "),
        "{message}"
    );
}

#[test]
fn a_session_is_not_read_beyond_its_limit() {
    let place = Place::new();
    let path = place.file("endless.session");
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = outcome("sparse", || Session::load(&place.model, &path).map(drop));
    assert!(error.contains("endless.session"), "{error}");
}

/// The bundle with this graph in place of the one of its role.
fn with_graph(place: &Path, name: &str, graph: &[u8]) -> Model {
    let role = name.split('-').next().unwrap();
    let golden = match role {
        "opt" => "tests/golden/bundle-opt",
        _ => TINY,
    };
    let bundle = place.join(name);
    copy_bundle(golden, &bundle);
    let path = bundle.join(format!("portable/{role}.onnx"));
    fs::write(&path, graph).unwrap();
    edit_manifest(&bundle, |manifest| {
        for variant in manifest["variants"].as_array_mut().unwrap() {
            if variant["name"] == "portable" {
                variant["graphs"][role]["sha256"] = sha256(&path).into();
            }
        }
    });
    let options = LoadOptions::default().with_variant("portable");
    Model::load(&bundle, options).unwrap()
}

/// All that can be done with a model; the first error of each.
fn use_all(model: &Model) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut note = |result: sllm_ort::Result<()>| errors.extend(result.err());
    note(model.encode(&["A cat. "]).map(|_| ()));
    note(model.encode(&["A cat. ", "It is so. "]).map(|_| ()));
    note(model.interpolate("A cat. ", "So. ", 3).map(|_| ()));
    let options = GenerateOptions::default()
        .with_ignore_eos(true)
        .with_max_sentences(3);
    let mut session = model.session().unwrap();
    note(session.append("A cat. It is. ").map(|_| ()));
    note(session.append("So. ").map(|_| ()));
    note(
        session
            .generate(options.clone())
            .try_for_each(|s| s.map(|_| ())),
    );
    note(session.fork().map(|_| ()));
    note(session.rewind(1));
    note(session.drop_oldest(1));
    note(session.to_bytes().map(|_| ()));
    note(
        model
            .generate_batch(&["A cat. ", "So. It is. "], &options)
            .map(|_| ()),
    );
    let text = tempfile::NamedTempFile::new().unwrap();
    fs::write(text.path(), "A cat. It is so. So.\n").unwrap();
    let evaluated = evaluate(model, text.path(), &EvalOptions::default(), |_| {});
    note(evaluated.map(|_| ()));
    errors
}

/// Graphs whose outputs have another shape than their signature, or are not finite.
#[test]
fn graphs() {
    let place = tempfile::tempdir().unwrap();
    for (name, graph) in corpus("graphs") {
        let model = with_graph(place.path(), &name, &graph);
        let used = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| use_all(&model)));
        let errors = used.unwrap_or_else(|_| panic!("{name} gives a panic"));
        let role = name.split('-').next().unwrap();
        let caught = |error: &Error| {
            let text = error.to_string();
            let named = text.contains(&format!("{role}.onnx"));
            let typed = text.contains("does not have the expected signature")
                || text.contains("not finite");
            named && typed
        };
        assert!(errors.iter().any(caught), "{name}: {errors:#?}");
        for error in &errors {
            assert!(!error.to_string().contains('\n'), "{name}: {error}");
        }
    }
}
