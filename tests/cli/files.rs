//! Files that a command reads and writes: checked early, never replaced unasked.

use crate::support::{self, failure, program, tiny};

/// What is given and what is to be written is checked before a model is loaded, which may take long:
/// each command names the file though there is no model.
#[test]
fn files_are_checked_before_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let blank = folder.path().join("blank.txt");
    std::fs::write(&blank, "\n \n\t\r\n").unwrap();
    let blank = blank.to_str().unwrap();
    let text = "tests/data/stories.txt";
    let prompt = "The cat sat. ";
    let absent = "cannot read absent/file";
    let is_folder = "cannot read tests: ";
    let unwritable = "cannot write absent/file";
    let cases: [(&[&str], &str); 24] = [
        (&["run", "-f", "absent/file"], absent),
        (&["run", "-f", "tests"], is_folder),
        (&["run", "-f", blank], "the prompt is all white space"),
        (&["run", prompt, "--load", "absent/file"], absent),
        (&["run", prompt, "--load", "tests"], is_folder),
        (&["run", prompt, "--save", "absent/file"], unwritable),
        (&["run", prompt, "--session", "absent/file"], unwritable),
        (&["embed", "-f", "absent/file"], absent),
        (&["embed", "-f", "tests"], is_folder),
        (&["embed", "-f", blank], "line 1 is empty"),
        (&["embed", "a text", " "], "text 2 is all white space"),
        (&["reconstruct", "-f", "absent/file"], absent),
        (&["reconstruct", "--segment", "-f", "tests"], is_folder),
        (
            &["reconstruct", "--segment", "-f", blank],
            "there is no text in ",
        ),
        (&["segment", "-f", "absent/file"], absent),
        (&["segment", "-f", blank], "the text is all white space"),
        (&["stats", "-f", "absent/file"], absent),
        (&["stats", "-f", "tests"], is_folder),
        (&["stats", "-f", text, "--svg", "absent/file"], unwritable),
        (&["eval", "-f", "tests"], is_folder),
        (&["eval", "-f", text, "--state", "absent/file"], unwritable),
        (&["check", "-f", blank], "there is no text in "),
        (&["check", "-f", "absent/file"], absent),
        (&["bench", "--svg", "absent/file"], unwritable),
    ];
    for (arguments, expected) in cases {
        let error = failure(program().args(arguments).args(["--model", "no-model"]));
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    // A second bundle is looked at before the first one is measured.
    for arguments in [
        &["eval", "-f", text, "--baseline", "tests"][..],
        &["bench", "--baseline", "tests"],
        &["bench", "tests"],
    ] {
        let error = failure(tiny(arguments).args(["--onnxruntime", "absent.so"]));
        assert!(
            error.contains("holds no sllm.json"),
            "{arguments:?}: {error}"
        );
    }
}

/// A file that is protected is not replaced by another one, whichever command writes it.
#[cfg(unix)]
#[test]
fn read_only_files_are_not_replaced() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let names = ["file", "sllm-ort-run.1"];
    for name in names {
        let file = folder.path().join(name);
        std::fs::write(&file, "kept").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o444)).unwrap();
    }
    let file = folder.path().join("file");
    let file = file.to_str().unwrap();
    let text = "tests/data/stories.txt";
    for arguments in [
        &["run", "The cat. ", "--model", support::TINY, "--save", file][..],
        &["stats", "-f", text, "--model", support::TINY, "--svg", file],
        &[
            "eval",
            "-f",
            text,
            "--model",
            support::TINY,
            "--state",
            file,
        ],
        &["bench", "--model", support::TINY, "--svg", file],
        &["man", "--dir", folder.path().to_str().unwrap()],
    ] {
        let error = failure(program().args(arguments));
        assert!(error.contains("cannot write "), "{arguments:?}: {error}");
        assert!(
            error.contains("the file is read-only: make it writable"),
            "{error}"
        );
    }
    for name in names {
        assert_eq!(
            std::fs::read_to_string(folder.path().join(name)).unwrap(),
            "kept"
        );
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// An output that is the text itself would destroy it.
#[cfg(unix)]
#[test]
fn the_text_is_not_replaced_by_the_results() {
    let folder = tempfile::tempdir().unwrap();
    let (text, link) = (folder.path().join("text"), folder.path().join("link"));
    std::fs::write(&text, "the cat sat. a dog ran.").unwrap();
    std::os::unix::fs::symlink(&text, &link).unwrap();
    let again = folder
        .path()
        .join("../")
        .join(folder.path().file_name().unwrap());
    let again = again.join("text");
    let name = text.to_str().unwrap();
    for other in [&text, &link, &again] {
        let other = other.to_str().unwrap();
        for arguments in [
            &["run", "-f", name, "--save", other][..],
            &["run", "-f", other, "--save", name],
            &["stats", "-f", name, "--svg", other],
            &["eval", "-f", name, "--state", other],
        ] {
            let error = failure(&mut tiny(arguments));
            assert!(
                error.contains("would replace the text"),
                "{arguments:?}: {error}"
            );
        }
    }
    let kept = std::fs::read_to_string(&text).unwrap();
    assert_eq!(kept, "the cat sat. a dog ran.");
    // A device is no text that could be lost.
    tiny(&["stats", "-f", name, "--svg", "/dev/null"])
        .assert()
        .success();
}
