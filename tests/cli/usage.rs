//! Options, variables and error messages.

use predicates::str::contains;

use crate::support::{self, failure, program, tiny};

#[test]
fn empty_variables_are_as_unset() {
    for name in [
        "SLLM_ORT_THREADS",
        "SLLM_ORT_PROVIDER",
        "SLLM_ORT_MODEL",
        "SLLM_ORT_LOG",
    ] {
        let mut command = match name {
            "SLLM_ORT_MODEL" => {
                let mut command = program();
                command.args(["info", "-m", support::TINY]);
                command
            }
            _ => tiny(&["info"]),
        };
        command.env(name, "").assert().success();
    }
}

#[test]
fn errors_are_one_clear_line() {
    let long = "the cat sat. ".repeat(80_000);
    assert!(long.len() > 1_000_000);
    let on_tiny = ["--model", support::TINY];
    let table: [(&str, &[&str], &[u8], &str); 8] = [
        (
            "empty",
            &["", on_tiny[0], on_tiny[1]],
            b"",
            "the prompt is empty: give a text",
        ),
        (
            "too long",
            &on_tiny,
            long.as_bytes(),
            "more sentences than fit",
        ),
        (
            "not UTF-8",
            &on_tiny,
            b"ab\xff",
            "standard input: not UTF-8 text at byte 2",
        ),
        (
            "no file",
            &["--prompt-file", "absent.txt"],
            b"",
            "cannot read absent.txt",
        ),
        (
            "no bundle",
            &["a", "--model", "absent"],
            b"",
            "no model absent in ",
        ),
        (
            "no variant",
            &["a", "--variant", "x", on_tiny[0], on_tiny[1]],
            b"",
            "available: cpu-int8",
        ),
        (
            "no library",
            &["a", "--onnxruntime", "absent.so", on_tiny[0], on_tiny[1]],
            b"",
            "absent.so: no such file",
        ),
        (
            "no prompt file",
            &["--prompt-file", "tests", on_tiny[0], on_tiny[1]],
            b"",
            "cannot read tests",
        ),
    ];
    for (name, arguments, stdin, expected) in table {
        let mut command = program();
        let error = failure(command.arg("run").args(arguments).write_stdin(stdin));
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [
        &["run", "a", "--temperature", "-1"][..],
        &["run", "a", "--top-k", "0"],
        &["run", "a", "--top-p", "1.5"],
        &["run", "a", "--repetition-penalty", "0"],
        &["run", "a", "--threads", "0"],
        &["run", "a", "--stop", ""],
        &["run", "a", "--provider", "gpu"],
        &["run", "a", "--max-sentences", "x"],
        &["fly"],
    ] {
        program().args(arguments).assert().code(2).stdout("");
    }
}

#[test]
fn verbose_shows_the_causes() {
    let missing = tiny(&["run", "--prompt-file", "absent.txt", "-v"])
        .output()
        .unwrap();
    let error = String::from_utf8(missing.stderr).unwrap();
    assert!(error.contains("\n  caused by: "), "{error}");
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let binary = assert_cmd::cargo::cargo_bin("sllm-ort");
    let script = format!(
        "{} segment --model {} | head -n 1",
        binary.display(),
        support::TINY
    );
    let text = "Hello, ".repeat(50_000);
    let output = assert_cmd::Command::new("sh")
        .args(["-c", &script])
        .write_stdin(text)
        .output()
        .unwrap();
    assert_eq!(
        output.stderr,
        b"",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

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

/// Candidates of a greedy continuation are all the same: the user is told what makes a difference.
#[test]
fn the_best_of_equal_candidates_is_refused() {
    let prompt = "The cat sat. ";
    for greedy in [
        &[][..],
        &["--greedy"],
        &["-t", "0"],
        &["-t", "0", "--seed", "3"],
    ] {
        let mut command = tiny(&["run", prompt, "--best-of", "3"]);
        let refused = command.args(greedy).assert().code(2).stdout("");
        let error = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert!(error.contains("best-of is 3, allowed is 1 at"), "{error}");
        assert!(error.contains("set --temperature"), "{error}");
    }
    for drawn in [&["--best-of", "1"][..], &["--best-of", "3", "-t", "0.9"]] {
        let mut command = tiny(&["run", prompt, "-n", "1"]);
        command.args(drawn).assert().success();
    }
    // The shipped bundle draws where nothing is said.
    let mut command = program();
    command.args([
        "run",
        prompt,
        "-n",
        "1",
        "--best-of",
        "2",
        "-m",
        "models/sllm-stories",
    ]);
    command.assert().success();
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

/// An option that is given with nothing is wrong usage, and told with its name.
#[test]
fn empty_values_are_refused() {
    let text = "tests/data/stories.txt";
    let cases: [(&[&str], &[&str]); 7] = [
        (
            &["run", "The cat. "],
            &[
                "--stop",
                "--model",
                "--provider",
                "--variant",
                "--onnxruntime",
                "--save",
                "--load",
                "--session",
                "--log",
                "--temperature",
                "--seed",
                "--top-k",
                "--max-sentences",
                "--time-limit",
                "--best-of",
                "--when-full",
                "--format",
                "--device",
                "--engine-cache",
                "--engine-sizes",
            ],
        ),
        (&["run"], &["--file"]),
        (&["stats", "-f", text], &["--svg"]),
        (
            &["eval", "-f", text, "--baseline", "x"],
            &["--baseline-variant", "--state", "--limit"],
        ),
        (&["bench"], &["--svg", "--baseline"]),
        (&["man"], &["--dir"]),
        (
            &["serve"],
            &[
                "--host",
                "--cors",
                "--variant",
                "--model",
                "--api-key-file",
                "--provider",
            ],
        ),
    ];
    for (command, options) in cases {
        for option in options {
            let mut program = program();
            let output = program.args(command).args([option, ""]).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(2),
                "{command:?} {option}: {error}"
            );
            assert!(error.contains(option), "{command:?} {option}: {error}");
            assert_eq!(output.stdout, b"");
        }
    }
}

/// A wrong number is said to be one, not an unknown option, and where it comes from.
#[test]
fn wrong_numbers_are_explained() {
    let error = |arguments: &[&str], variable: &str| {
        let mut command = program();
        command
            .args(["run", "The cat. ", "--model", support::TINY])
            .args(arguments);
        if !variable.is_empty() {
            command.env("SLLM_ORT_THREADS", variable);
        }
        let output = command.assert().code(2).get_output().clone();
        let error = String::from_utf8(output.stderr).unwrap();
        error.lines().next().unwrap().to_owned()
    };
    for (arguments, expected) in [
        (["-n", "-1"], "the number is too small"),
        (["--max-sentences=-3", "-n5"], "the number is too small"),
        (["--top-k", "-7"], "the number is too small"),
        (["--no-repeat-ngram", "-2"], "the number is too small"),
        (["--threads", "-1"], "the number is too small"),
        (["-n", "99999999999999999999"], "the number is too large"),
        (["-n", "1.5"], "a whole number is needed"),
        (["-n", "--greedy"], "a value is required"),
        (["--max-tokens", ""], "a whole number is needed"),
        (["--max-tokens", "ten"], "a whole number is needed"),
        (["--temperature", "warm"], "a number is needed"),
        (["--time-limit", "5s"], "a number is needed"),
    ] {
        let error = error(&arguments, "");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let of_variable = "(of the variable SLLM_ORT_THREADS)";
    for (arguments, variable, is_from_it) in [
        (&[][..], "two", true),
        (&[], "-2", true),
        (&["--threads", "two"], "two", false),
        (&["--threads=two"], "two", false),
        (&["-n", "two"], "two", false),
    ] {
        let error = error(arguments, variable);
        assert_eq!(error.contains(of_variable), is_from_it, "{error}");
        assert!(error.contains(variable), "{error}");
    }
    // A number is a text where it can be nothing else.
    tiny(&["segment", "-5"]).assert().stdout(contains("-5"));
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
