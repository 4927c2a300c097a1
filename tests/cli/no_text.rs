//! What is refused as no text, and what is said of texts that are odd.

use crate::support::{self, failure, program, tiny};

/// The commands that take one text, or one a line.
const COMMANDS: [&str; 7] = [
    "run",
    "segment",
    "embed",
    "reconstruct",
    "check",
    "stats",
    "eval",
];
/// Those of them that take a text as an argument.
const WITH_ARGUMENTS: [&str; 4] = ["run", "segment", "embed", "reconstruct"];

fn error_of(command: &mut assert_cmd::Command, status: i32) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{error}");
    error
}

/// A device may have no end: it is refused before a model is loaded, as a file and as stdin.
#[cfg(unix)]
#[test]
fn devices_are_refused() {
    use std::process::{Command, Stdio};
    for command in COMMANDS {
        for device in ["/dev/zero", "/dev/full", "/dev/urandom"] {
            let absent = ["-m", "no-model"];
            let error = failure(program().args([command, "-f", device]).args(absent));
            assert!(
                error.starts_with(&format!("{device} is a device")),
                "{error}"
            );
            let stdin = Stdio::from(std::fs::File::open(device).unwrap());
            let mut given = Command::new(program().get_program());
            let output = given.args([command, "-f", "-"]).args(absent).stdin(stdin);
            let error = String::from_utf8(output.output().unwrap().stderr).unwrap();
            assert!(error.contains("standard input is a device"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        let empty = failure(&mut tiny(&[command, "-f", "/dev/null"]));
        assert!(!empty.contains("device"), "{command}: {empty}");
    }
}

/// Whatever ends the program, no copy of the text is left in the folder of temporary files.
#[cfg(target_os = "linux")]
#[test]
fn nothing_stays_of_a_pipe() {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
        time::{Duration, Instant},
    };
    let folder = tempfile::tempdir().unwrap();
    let entries = || std::fs::read_dir(folder.path()).unwrap().count();
    for command in ["eval", "stats"] {
        let mut child = Command::new(program().get_program())
            .args([command, "-f", "-", "-m", support::TINY])
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all("The cat sat. ".as_bytes()).unwrap();
        // It has begun to copy when it holds a file of that folder.
        let begun = || {
            let files = std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
            let mut targets =
                files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
            targets.any(|target| target.starts_with(folder.path()))
        };
        let started = Instant::now();
        while !begun() {
            assert!(started.elapsed() < Duration::from_secs(60), "{command}");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(entries(), 0, "{command}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(entries(), 0, "{command}");
    }
    // A copy without a name is read twice all the same.
    let mut twice = tiny(&["eval", "-f", "-", "--baseline", support::TINY]);
    twice.env("TMPDIR", folder.path());
    let found = &support::json_lines(twice.write_stdin("The cat sat. It is so. "))[0];
    assert_eq!(found["baseline"]["sentences"], 2);
    assert_eq!(
        found["model"]["reconstruction"],
        found["baseline"]["reconstruction"]
    );
    let mut stats = tiny(&["stats", "-f", "-"]);
    let found = &support::json_lines(stats.write_stdin("The cat sat. "))[0];
    assert_eq!(found["text"], "-");
}

#[test]
fn a_hyphen_among_several_texts_is_wrong_usage() {
    for command in ["embed", "reconstruct"] {
        for texts in [&["a. ", "-", "b. "][..], &["-", "-"], &["-", "a. "]] {
            let mut given = tiny(&[&[command], texts].concat());
            let error = error_of(given.write_stdin("one. \n"), 2);
            assert!(error.contains("- stands for standard input"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

/// A text that nobody can see is refused alike in every command, from every source.
#[test]
fn invisible_texts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("a.session");
    let session = session.to_str().unwrap();
    let saved = tiny(&["run", "The cat. ", "-n", "1", "--save", session]).output();
    assert!(saved.unwrap().status.success());
    let file = folder.path().join("text");
    for nothing in [
        "",
        " ",
        "\u{200b}",
        "\u{2060}\u{ad} \u{feff}",
        "\u{3164}\n",
        "\u{7}",
    ] {
        for command in WITH_ARGUMENTS {
            let error = failure(&mut tiny(&[command, nothing]));
            let what = match nothing {
                "" => " is empty: give a text",
                _ => " is all white space: give a text",
            };
            assert!(error.ends_with(what), "{command} {nothing:?}: {error}");
        }
        std::fs::write(&file, nothing).unwrap();
        let path = file.to_str().unwrap();
        for command in COMMANDS {
            let error = failure(&mut tiny(&[command, "-f", path]));
            let said = ["white space", "is empty", "no text", "no sentence"];
            assert!(
                said.iter().any(|part| error.contains(part)),
                "{command} {nothing:?}: {error}"
            );
        }
        let new = folder.path().join("new.session");
        for (option, file, advice) in [
            ("--load", session, "leave it out to continue"),
            ("--session", session, "leave it out to continue"),
            ("--session", new.to_str().unwrap(), "give a text"),
        ] {
            for source in [&[nothing][..], &["-p", nothing], &["-f", path]] {
                let mut given = tiny(&[&["run", option, file], source].concat());
                let error = failure(&mut given);
                assert!(error.contains(advice), "{option} {source:?}: {error}");
                assert!(error.starts_with("the prompt is "), "{error}");
            }
        }
        assert!(!new.exists());
    }
    tiny(&["run", "--load", session, "-n", "1"])
        .assert()
        .success();
}

/// The end of a record is a prompt or a sentence where records are not known: once it is said.
#[test]
fn ends_of_records_are_said_to_be_text() {
    let text = "the cat.\n<|endoftext|>\nthe hat.\nso. <|endoftext|>\n";
    for command in COMMANDS {
        let mut given = tiny(&[command, "-f", "-"]);
        if command == "check" {
            given.args(["-n", "1"]);
        }
        let error = error_of(given.write_stdin(text), 0);
        let warning = "sllm-ort: warning: standard input, line 2: <|endoftext|> is taken as text";
        match command {
            "stats" | "eval" => assert_eq!(error, ""),
            _ => {
                assert!(error.contains(warning), "{command}: {error}");
                assert_eq!(error.matches("endoftext").count(), 1, "{command}: {error}");
            }
        }
    }
    for (command, place) in [("run", "the prompt, line 2"), ("embed", "text 1")] {
        let error = error_of(&mut tiny(&[command, "a.\n<|endoftext|>"]), 0);
        assert!(error.contains(place), "{error}");
    }
}

/// UTF-16 without a mark is valid UTF-8 with NULs in it.
#[test]
fn texts_with_nul_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text");
    let text = "The cat.\nThe hat.\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (content, place) in [
        (&little[..], "byte 1"),
        (&big, "byte 0"),
        (b"The cat.\0", "byte 8"),
    ] {
        std::fs::write(&file, content).unwrap();
        for command in COMMANDS {
            let path = file.to_str().unwrap();
            for source in [path, "-"] {
                let mut given = tiny(&[command, "-f", source]);
                let error = failure(given.write_stdin(content));
                let name = if source == "-" {
                    "standard input"
                } else {
                    path
                };
                assert!(error.starts_with(name), "{command}: {error}");
                let problem = format!("NUL character at {place}");
                assert!(error.contains(&problem), "{command}: {error}");
                let advice = "looks like UTF-16 or a binary file: convert it to UTF-8 first";
                assert!(error.ends_with(advice), "{command}: {error}");
            }
        }
    }
}

/// Commands that read lines name the one that is wrong, or not all of which is seen.
#[test]
fn lines_are_named() {
    let long = format!("the cat.\n{}\n", "a hat. ".repeat(20));
    let mut given = tiny(&["check", "-n", "1", "-f", "-"]);
    let error = error_of(given.write_stdin(long), 1);
    let expected =
        "warning: standard input, line 2 is skipped: the text has more sentences than fit";
    assert!(error.contains(expected), "{error}");
    let binary = b"the cat.\nthe \xff.\n";
    for command in ["check", "embed", "reconstruct"] {
        let mut given = tiny(&[command, "-f", "-"]);
        let error = error_of(given.write_stdin(&binary[..]), 1);
        let expected = "standard input, line 2: not UTF-8 text at byte 4";
        assert!(error.contains(expected), "{command}: {error}");
    }
    let tail = "the cat.\nthe hat. and so\n";
    for arguments in [&["check", "-n", "1"][..], &["reconstruct", "--segment"]] {
        let mut given = program();
        given
            .args(arguments)
            .args(["-f", "-", "-m", support::TINY_ORIGINAL]);
        let error = error_of(given.write_stdin(tail), 0);
        let expected = "warning: standard input, line 2: the unfinished sentence \"and so\"";
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}
