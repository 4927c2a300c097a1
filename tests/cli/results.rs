//! Files that results are written to, whatever stdin and stdout are.

use std::{
    fs::{self, File},
    process::{Command, Stdio},
};

use super::streams::{ended, full, std_command};
use crate::support::{TINY, failure, program, tiny};

#[test]
fn results_do_not_go_where_others_go() {
    let run = ["run", "hello world. ", "-n", "1"];
    for (target, expected) in [
        ("-", "./-"),
        ("/dev/stdout", "where stdout goes"),
        ("absent/", "cannot write absent/"),
        ("absent/.", "cannot write absent/."),
    ] {
        let mut command = tiny(&run);
        let said = failure(command.args(["--save", target]));
        assert!(said.contains(expected), "{target}: {said}");
        let said = failure(tiny(&["stats", "--file", "README.md"]).args(["--svg", target]));
        assert!(said.contains(expected), "{target}: {said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let both = folder.path().join("both");
    let mut command = std_command(&run);
    command
        .arg("--save")
        .arg(&both)
        .stdin(Stdio::null())
        .stdout(File::create(&both).unwrap());
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(said.contains("where stdout goes"), "{said}");
    assert_eq!(fs::metadata(&both).unwrap().len(), 0);
}

/// The text that a shell puts on stdin is not replaced by what is made of it.
#[test]
fn results_do_not_replace_the_text_on_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "hello world. ").unwrap();
    let path = text.to_str().unwrap();
    let saved = ["--save", path];
    for (arguments, is_refused) in [
        ([&["run"][..], &saved].concat(), true),
        ([&["run", "-"][..], &saved].concat(), true),
        ([&["run", "-f", "-"][..], &saved].concat(), true),
        ([&["run", "-f", "/dev/stdin"][..], &saved].concat(), true),
        (vec!["stats", "-f", "-", "--svg", path], true),
        // It is not the text.
        ([&["run", "hello. ", "-n", "0"][..], &saved].concat(), false),
    ] {
        let mut command = std_command(&arguments);
        let output = command.stdin(File::open(&text).unwrap()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.success(),
            !is_refused,
            "{arguments:?}: {said}"
        );
        if is_refused {
            assert!(said.contains("would replace the text"), "{said}");
            assert_eq!(fs::read(&text).unwrap(), b"hello world. ");
        }
    }
}

/// A file that was asked for is written, whoever reads the results.
#[test]
fn files_are_written_though_nobody_reads_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("x.svg");
    let pages = folder.path().join("pages");
    let svg_option = ["--svg", svg.to_str().unwrap()];
    let stats = ["stats", "-f", "tests/data/stories.txt"];
    let bench = ["bench", "--prompt-tokens", "8", "--sentence-tokens", "4"];
    let sizes = ["--sentences", "2", "--repetitions", "1"];
    let man = ["man", "--dir", pages.to_str().unwrap()];
    let (pipe, closed) = (|| Stdio::piped(), Some(0));
    for (arguments, file) in [
        ([&stats[..], &svg_option].concat(), svg.clone()),
        (
            [&stats[..], &svg_option, &["--format", "json"]].concat(),
            svg.clone(),
        ),
        ([&bench[..], &sizes, &svg_option].concat(), svg.clone()),
        (man.to_vec(), pages.join("sllm-ort-stats.1")),
    ] {
        for (stdout, status) in [(pipe(), closed), (full(), Some(1))] {
            let mut command = match arguments[0] {
                "man" => {
                    let mut command = Command::new(program().get_program());
                    command.args(&arguments);
                    command
                }
                _ => std_command(&arguments),
            };
            let mut child = command
                .stdin(Stdio::null())
                .stdout(stdout)
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            drop(child.stdout.take());
            assert_eq!(ended(&mut child).code(), status, "{arguments:?}");
            assert!(file.exists(), "{arguments:?}");
            fs::remove_file(&file).unwrap();
        }
    }
}

/// What was measured is kept until it is printed.
#[test]
fn the_state_of_an_evaluation_outlives_a_full_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let baseline = folder.path().join("state.baseline");
    let text = "tests/data/stories.txt";
    for more in [&[][..], &["--baseline", TINY]] {
        let mut eval = std_command(&[&["eval", "--limit", "2", "--file", text], more].concat());
        let eval = eval.stdin(Stdio::null()).arg("--state").arg(&state);
        let output = eval.stdout(full()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(state.exists(), "{said}");
        assert_eq!(baseline.exists(), !more.is_empty());
        let output = eval.stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "all is removed");
    }
}
