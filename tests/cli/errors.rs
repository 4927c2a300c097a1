//! What a command says when it fails.

use crate::support::{self, failure, program, tiny};

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
            "sentences, a context of this model holds 12: shorten it",
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
