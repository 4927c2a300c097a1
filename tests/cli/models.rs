//! `info`, and how a model is found.

use predicates::str::contains;
use serde_json::{Value, json};

use super::PROMPT;
use crate::support::{self, failure, json_lines, program, tiny};

#[test]
fn info_describes_the_model() {
    let lines = json_lines(&mut tiny(&["info"]));
    let [info] = lines.as_slice() else {
        panic!("one object: {lines:?}")
    };
    assert_eq!(info["model"]["name"], "tiny-causal");
    let parts =
        ["encoder", "backbone", "decoder"].map(|part| info["parameters"][part].as_u64().unwrap());
    assert_eq!(info["parameters"]["total"], parts.iter().sum::<u64>());
    let memory = &info["memory"];
    assert_eq!(memory["kv_bytes_per_sentence"], 2 * 2 * 32 * 4);
    assert_eq!(memory["kv_bytes_per_token_of_text"], 512.0 / 16.0);
    assert_eq!(memory["kv_bytes_full_context"], 512 * 12 + 512 * 24);
    let flops = &info["flops"];
    assert_eq!(flops["assumptions"]["sentence_tokens"], 16);
    let of_sentence = |part: &str| flops[part].as_u64().unwrap();
    let whole = of_sentence("encoder_per_sentence") + of_sentence("backbone_per_sentence");
    let expected = of_sentence("decoder_per_token") + whole / 17;
    assert!(of_sentence("per_token").abs_diff(expected) <= 1);
    for variant in info["variants"].as_array().unwrap() {
        let graphs = variant["graphs"].as_object().unwrap().values();
        let bytes: u64 = graphs.map(|graph| graph["bytes"].as_u64().unwrap()).sum();
        assert_eq!(variant["weights_bytes"], bytes);
    }
    assert_eq!(info["variant"], "cpu-int8");
    assert_eq!(info["provider"], "cpu");
    assert_eq!(info["variants"].as_array().map(Vec::len), Some(2));
    let text = tiny(&["info"]).output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count(), 10);
    // 512 and 18,432 bytes.
    let sizes = "KV cache    512 B a sentence, 18.0 KiB at most\n";
    assert!(text.contains(sizes), "{text}");
    assert!(
        text.contains(" nodes, ") && text.contains(", products by "),
        "{text}"
    );
    tiny(&["info", "-v", "--log", "off"])
        .assert()
        .success()
        .stdout(contains("model.name"));
    let short = json_lines(&mut tiny(&["info", "--sentence-tokens", "4"]));
    assert_eq!(short[0]["memory"]["kv_bytes_per_token_of_text"], 128.0);
    tiny(&["info", "--sentence-tokens", "24"]).assert().code(2);
}

#[test]
fn models_are_found_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    let golden = std::path::absolute("tests/golden").unwrap();
    command.current_dir(&folder).env("SLLM_ORT_MODELS", &golden);
    command.args(["segment", "one. two.", "--model", "bundle-svae"]);
    command.assert().success();
    let mut command = program();
    command.current_dir(&folder).env("SLLM_ORT_MODELS", &golden);
    let error = failure(command.args(["segment", "one.", "--model", "bundle-none"]));
    assert!(error.contains("there are bundle, bundle-125m, "), "{error}");
    assert!(error.contains("docs/original-checkpoint.md"), "{error}");
}

#[test]
fn random_weights_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("random");
    support::copy_bundle(support::TINY, &bundle);
    let manifest = bundle.join("sllm.json");
    let mut value: Value =
        serde_json::from_str(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    value["provenance"] = json!({"checkpoint": {"random_seed": 7}});
    std::fs::write(&manifest, value.to_string()).unwrap();
    for arguments in [
        &["run", PROMPT, "--max-sentences", "1"],
        &["reconstruct", PROMPT][..],
    ] {
        let mut command = program();
        command.args(arguments).arg("--model").arg(&bundle);
        command
            .assert()
            .success()
            .stderr(contains("weights of this model are random").count(1));
    }
}

/// The tokenizer library panics on some files, which is one line all the same.
#[test]
fn a_tokenizer_that_makes_the_library_panic_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle");
    support::copy_bundle(support::TINY, &bundle);
    let file = bundle.join("tokenizer.json");
    let content: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let mut refused = 0;
    for (part, value) in [
        (
            "model",
            json!({"type": "WordLevel", "vocab": {"<s>": 0}, "unk_token": "missing"}),
        ),
        (
            "model",
            json!({"type": "Unigram", "unk_id": 7, "vocab": [["a", -1.0]], "byte_fallback": true}),
        ),
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        (
            "padding",
            json!({
                "strategy": {"Fixed": 1u64 << 62}, "direction": "Right", "pad_to_multiple_of": 0,
                "pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>",
            }),
        ),
        (
            "decoder",
            json!({"type": "Strip", "content": " ", "start": u32::MAX, "stop": u32::MAX}),
        ),
    ] {
        let mut changed = content.clone();
        changed[part] = value;
        std::fs::write(&file, changed.to_string()).unwrap();
        let hash = support::sha256(&file);
        support::edit_manifest(&bundle, |manifest| {
            manifest["tokenizer"]["sha256"] = hash.into()
        });
        for name in ["segment", "run"] {
            let mut command = program();
            command.args([name, "One day. ", "-m"]).arg(&bundle);
            let output = command.output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.code().is_some_and(|code| code < 2), "{error}");
            assert!(error.lines().count() <= 1, "{part}: {error}");
            refused += usize::from(error.contains("panicked"));
        }
    }
    assert!(refused > 0, "none of these makes the library panic");
}

/// A graph may be what the manifest promises, and yet nothing for ONNX Runtime.
#[test]
fn a_graph_that_cannot_be_loaded_is_told_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle");
    support::copy_bundle(support::TINY, &bundle);
    let file = bundle.join("cpu-int8/encoder.onnx");
    std::fs::write(&file, "").unwrap();
    let hash = support::sha256(&file);
    support::edit_manifest(&bundle, |manifest| {
        let variants = manifest["variants"].as_array_mut().unwrap();
        let mut named = variants.iter_mut();
        let variant = named.find(|one| one["name"] == "cpu-int8").unwrap();
        variant["graphs"]["encoder"]["sha256"] = hash.into();
    });
    let mut command = program();
    command.args(["info", "--variant", "cpu-int8", "-m"]);
    let error = failure(command.arg(&bundle));
    let advice = "export the bundle again, or use a newer ONNX Runtime";
    assert!(error.contains("encoder.onnx: cannot be loaded"), "{error}");
    assert!(error.contains(advice), "{error}");
}

/// What stands in place of a manifest is named.
#[cfg(unix)]
#[test]
fn manifests_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("sllm.json");
    let path = folder.path().to_str().unwrap();
    let expect = |expected: &str| {
        for command in [&["info"][..], &["run", "a. "], &["segment", "a. "]] {
            let error = failure(program().args(command).args(["-m", path]));
            assert!(error.contains(expected), "{command:?}: {error}");
        }
    };
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1234\n";
    std::fs::write(&manifest, pointer).unwrap();
    expect("sllm.json is a Git LFS pointer, not the file itself: fetch it with");
    std::fs::remove_file(&manifest).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    expect("sllm.json is not a regular file");
    std::fs::remove_dir(&manifest).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&manifest).status();
    assert!(made.unwrap().success());
    expect("sllm.json is not a regular file");
}

#[test]
fn one_thread_is_no_threads() {
    for (threads, expected) in [("1", " nodes, 1 thread,"), ("2", " nodes, 2 threads,")] {
        let info = tiny(&["info", "--threads", threads]).output().unwrap();
        let info = String::from_utf8(info.stdout).unwrap();
        assert!(info.contains(expected), "{info}");
    }
}
