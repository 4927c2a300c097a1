//! The command `eval`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod eval_support;
mod support;

use std::path::PathBuf;

use eval_support::{Folder, OTHER, STORY, records};
use support::{TINY, TINY_ORIGINAL, copy_bundle, edit_manifest, failure, json_lines, program};

/// `bundle` without its backbone.
fn svae(folder: &Folder) -> PathBuf {
    let bundle = folder.path("svae");
    copy_bundle(TINY, &bundle);
    edit_manifest(&bundle, |manifest| {
        let model = manifest["model"].as_object_mut().unwrap();
        model["kind"] = "svae".into();
        model.remove("backbone");
        model.remove("max_sentences");
        model.remove("reencode_bos");
        for variant in manifest["variants"].as_array_mut().unwrap() {
            variant["graphs"]
                .as_object_mut()
                .unwrap()
                .remove("backbone");
        }
    });
    bundle
}

#[test]
fn the_command_prints_json() {
    let folder = Folder::new();
    let file = folder.file("text", records(&[STORY, OTHER]));
    let (file, svae) = (file.to_str().unwrap(), svae(&folder));
    let eval = |arguments: &[&str]| {
        let mut command = program();
        command
            .args(["eval", "--model", TINY, "--text", file])
            .args(arguments);
        let mut lines = json_lines(&mut command);
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    };
    let alone = eval(&[]);
    let keys: Vec<_> = alone.as_object().unwrap().keys().collect();
    let expected = [
        "model",
        "variant",
        "text",
        "records",
        "sentences",
        "bytes",
        "truncated_sentences",
        "reconstruction",
        "next_sentence",
        "stop",
        "seconds",
    ];
    assert_eq!(keys, expected);
    assert_eq!(alone["text"], file);
    assert_eq!(alone["records"], 2);
    assert_eq!(eval(&["--limit", "1"])["records"], 1);

    let state = folder.path("state");
    let both = eval(&[
        "--baseline",
        svae.to_str().unwrap(),
        "--baseline-variant",
        "portable",
        "--state",
        state.to_str().unwrap(),
    ]);
    assert_eq!(both.as_object().unwrap().len(), 2);
    assert_eq!(both["model"]["reconstruction"], alone["reconstruction"]);
    assert_eq!(both["baseline"]["variant"], "portable");
    assert_eq!(both["baseline"]["sentences"], alone["sentences"]);
    assert_eq!(both["baseline"].get("stop"), None);
    assert_eq!(both["baseline"].get("next_sentence"), None);
    assert!(!state.exists() && !folder.path("state.baseline").exists());
}

#[test]
fn the_command_prints_a_table() {
    let folder = Folder::new();
    let file = folder.file("text", records(&[STORY, OTHER]));
    let output = program()
        .args([
            "eval",
            "--model",
            TINY_ORIGINAL,
            "--baseline",
            TINY,
            "--text",
        ])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let table = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    let (notes, lines): (Vec<&str>, Vec<&str>) = lines
        .iter()
        .partition(|line| line.contains(": the ") || line.contains("2408.00655"));
    // The bundle of the original drops text that the other keeps.
    assert!(
        notes[1].starts_with("next sentence: the two cut"),
        "{table}"
    );
    assert!(
        notes[0].starts_with("bidirectional: as in arXiv 2408.00655"),
        "{table}"
    );
    let width = lines[0].chars().count();
    assert!(
        lines.iter().all(|line| line.chars().count() == width),
        "{table}"
    );
    assert!(table.contains("stop: accuracy"), "{table}");
}

#[test]
fn the_command_fails_with_one_line() {
    let folder = Folder::new();
    let state = folder.file("state", "no state");
    let large = folder.file("large", " ".repeat((1 << 20) + 1));
    let rows: [(&[u8], &[&str], &str); 4] = [
        (
            b"Hello, ",
            &["--state", large.to_str().unwrap()],
            "at most 1048576 are allowed: check that it is the right file",
        ),
        (b" \n", &[], "holds no sentence"),
        (b"One. \n \xc3(", &[], "not UTF-8 text at byte 7 (line 2)"),
        (
            b"Hello, ",
            &["--state", state.to_str().unwrap()],
            "not the state of an evaluation",
        ),
    ];
    for (text, arguments, expected) in rows {
        let file = folder.file("text", text);
        let mut command = program();
        command
            .args(["eval", "--model", TINY, "--text"])
            .arg(file)
            .args(arguments);
        let line = failure(&mut command);
        assert!(line.contains(expected), "{line}");
    }
    program().args(["eval", "--model", TINY]).assert().code(2);
    program()
        .args(["eval", "--model", TINY, "--text", "x", "--limit", "0"])
        .assert()
        .code(2);
}
