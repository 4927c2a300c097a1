//! Where a text comes from, and what is refused.

use predicates::str::contains;
use serde_json::Value;

use super::PROMPT;
use crate::support::{self, failure, json_lines, program, tiny};

#[test]
fn the_prompt_comes_from_argument_file_or_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prompt.txt");
    std::fs::write(&file, PROMPT).unwrap();
    let expected = tiny(&["run", PROMPT]).output().unwrap().stdout;
    assert!(!expected.is_empty());
    tiny(&["run", "--prompt-file", file.to_str().unwrap()])
        .assert()
        .success()
        .stdout(expected.clone());
    tiny(&["run"])
        .write_stdin(PROMPT)
        .assert()
        .success()
        .stdout(expected);
    tiny(&["run", PROMPT, "--prompt-file", "x"])
        .assert()
        .code(2);
}

#[test]
fn sensible_results_for_odd_prompts() {
    for prompt in ["hello", "...", "!?.,", "a\u{feff}"] {
        let output = tiny(&["run", prompt, "--max-sentences", "1"])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        let known = output.status.success() || error.contains("does not know");
        assert!(known && error.lines().count() <= 1, "{prompt:?}: {error}");
    }
    for nothing in ["", " ", "\n\n", "\t\u{a0}", "\u{feff}", "\u{feff}\r\n"] {
        for command in ["run", "embed", "reconstruct", "segment"] {
            let error = failure(&mut tiny(&[command, nothing]));
            assert!(
                error.contains("give a text"),
                "{command} {nothing:?}: {error}"
            );
        }
    }
}

#[test]
fn texts_come_from_arguments_files_and_stdin_alike() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.txt");
    // A byte order mark and line ends of Windows are none of the text.
    std::fs::write(&file, "\u{feff}the cat sat.\r\n").unwrap();
    let file = file.to_str().unwrap();
    for command in ["run", "embed", "reconstruct"] {
        let expected = match command {
            "run" => tiny(&[command, "the cat sat.\n"]).output().unwrap().stdout,
            _ => tiny(&[command, "the cat sat."]).output().unwrap().stdout,
        };
        for arguments in [&["--file", file][..], &["-f", "-"], &["-"], &[]] {
            let mut given = tiny(&[&[command], arguments].concat());
            let given = given.pipe_stdin(file).unwrap();
            given.assert().success().stdout(expected.clone());
        }
    }
    tiny(&["run", "the cat. "])
        .write_stdin("another text")
        .assert()
        .success()
        .stderr(contains("standard input is not read"));
    tiny(&["run", "- the cat. "]).assert().success().stderr("");
    let mut command = program();
    command.args(["run", "--model", support::TINY, "--", "-hello"]);
    command.assert().success().stderr("");
    tiny(&["run", "--hallo"]).assert().code(2);
}

/// Only a text may begin with a hyphen: the value of an option is never the prompt.
#[test]
fn values_with_white_space_are_those_of_their_options() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("my story.txt"), PROMPT).unwrap();
    std::fs::write(folder.path().join("-my story.txt"), PROMPT).unwrap();
    let model = std::path::absolute(support::TINY).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = program();
        command
            .current_dir(folder.path())
            .arg("run")
            .args(arguments);
        let output = command.arg("--model").arg(&model).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), output.stdout, error)
    };
    let expected = run(&[PROMPT]);
    assert_eq!(expected.0, Some(0));
    let short = format!("-p{PROMPT}");
    for arguments in [
        &["-fmy story.txt"][..],
        &["-vf", "my story.txt", "--log", "off"],
        &["--file", "-my story.txt"],
        &["-f", "-my story.txt"],
        &[&short],
        &[PROMPT, "--save", "-my s.sess"],
    ] {
        assert_eq!(run(arguments), expected, "{arguments:?}");
    }
    let names = std::fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.contains(&"-my s.sess".into()), "{names:?}");
    assert_eq!(names.len(), 3, "{names:?}");
    let (status, _, error) = run(&["- a. ", "- b. "]);
    assert_eq!(status, Some(2));
    assert!(error.contains("'- b. '"), "{error}");
}

#[test]
fn places_of_bad_lines_are_named() {
    for command in ["embed", "reconstruct"] {
        let error = failure(tiny(&[command]).write_stdin("the cat.\n\nthe hat.\n"));
        assert!(
            error.starts_with("standard input, line 2 is empty"),
            "{error}"
        );
    }
    let long = format!("the cat.\n{}\n", "the hat ".repeat(20));
    let error = failure(tiny(&["embed"]).write_stdin(long));
    assert!(error.starts_with("standard input, line 2: "), "{error}");
    for command in ["run", "embed", "reconstruct", "segment"] {
        let mut command = tiny(&[command]);
        let output = command.write_stdin("").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
    }
}

#[cfg(unix)]
#[test]
fn files_may_be_pipes() {
    let script =
        "exec \"$0\" eval --model \"$1\" --file <(cat tests/data/stories.txt) --format json";
    let binary = program().get_program().to_owned();
    let output = std::process::Command::new("bash")
        .args(["-c", script])
        .arg(&binary)
        .arg(support::TINY)
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["sentences"].as_u64().unwrap() > 10);
    let round_trip = &found["reconstruction"]["round_trip"];
    assert!((0.0..=1.0).contains(&round_trip.as_f64().unwrap()));
}

#[test]
fn lines_that_are_not_utf8_are_named() {
    let mut command = tiny(&["reconstruct"]);
    let output = command
        .write_stdin(b"Hello, \n\xc3(\n".to_vec())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("standard input, line 2: not UTF-8 text at byte 0"),
        "{error}"
    );
}

/// A text is the same whatever breaks its lines, for every command and every source.
#[test]
fn line_breaks_of_all_systems_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.txt");
    let path = file.to_str().unwrap();
    let text = "The cat sat.\n\nIt is so. He ran\nto the hill.\n<|endoftext|>\nSo. \nIt is.\n";
    let lines = "the cat. \nhe ran. \nso. \n";
    for command in [
        "run",
        "segment",
        "stats",
        "eval",
        "embed",
        "reconstruct",
        "check",
    ] {
        for model in [support::TINY, support::TINY_ORIGINAL] {
            let text = match command {
                "embed" | "reconstruct" | "check" => lines,
                "run" => "The cat sat.\n\nHe ran\nto the hill.\n",
                _ => text,
            };
            let found = |text: &str| {
                std::fs::write(&file, text).unwrap();
                let mut arguments = vec![command, "--file", path, "--model", model];
                if command == "check" {
                    arguments.extend(["-n", "2"]);
                }
                let mut found = json_lines(program().args(arguments));
                for line in &mut found {
                    for timed in ["seconds", "timings", "seed"] {
                        line.as_object_mut().unwrap().remove(timed);
                    }
                }
                found
            };
            let expected = found(text);
            for line_break in ["\r\n", "\r"] {
                let other = text.replace('\n', line_break);
                assert_eq!(found(&other), expected, "{command} {model} {line_break:?}");
            }
        }
    }
    let expected = json_lines(&mut tiny(&["segment", "One\n two.\nThree."]));
    for argument in ["One\r\n two.\r\nThree.", "One\r two.\rThree."] {
        assert_eq!(json_lines(&mut tiny(&["segment", argument])), expected);
    }
}

/// A pipe is read from a copy, of whose name nobody knows.
#[test]
fn standard_input_is_named() {
    for command in [
        "run",
        "segment",
        "stats",
        "eval",
        "embed",
        "reconstruct",
        "check",
    ] {
        for (content, problem) in [
            (&b"The cat. \xff"[..], "not UTF-8 text at byte 9"),
            (b"", "is empty|no text|no sentence"),
            (b"\n\n", "white space|is empty|no text|no sentence"),
            ("The \u{1f995}. ".as_bytes(), "does not know"),
        ] {
            let mut given = tiny(&[command, "-f", "-"]);
            let output = given.write_stdin(content).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            if output.status.success() {
                continue;
            }
            assert!(!error.contains("/tmp"), "{command}: {error}");
            assert!(
                problem.split('|').any(|part| error.contains(part)),
                "{command}: {error}"
            );
            let is_named = error.contains("standard input") || error.contains("the prompt");
            // A character that the tokenizer does not know is named itself.
            let by_itself = error.contains("does not know") || error.contains("the text is");
            assert!(is_named || by_itself, "{command}: {error}");
        }
    }
}
