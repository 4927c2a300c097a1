//! Progress is drawn for somebody who looks, and for nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(unix)]

mod support;

use support::{TINY, program};

/// What takes long, with a part of the bar that it draws.
fn long_work() -> [(Vec<&'static str>, &'static str); 3] {
    let work = |arguments: &'static str| {
        let arguments = arguments.split_whitespace();
        arguments.chain(["--model", TINY]).collect()
    };
    [
        (work("stats --text tests/data/stories.txt"), " left"),
        (
            work("eval --text tests/data/stories.txt --limit 2"),
            " left",
        ),
        (
            work("bench --prompt-tokens 20 --sentences 2 --repetitions 2"),
            "of 2 rounds",
        ),
    ]
}

/// What a terminal shows of stderr.
fn on_terminal(arguments: &[&str]) -> String {
    // Python is there, for the exporter: it makes a terminal and copies what is written to it.
    let spawn = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    let binary = assert_cmd::cargo::cargo_bin("sllm-ort");
    let mut shell = assert_cmd::Command::new("python3");
    shell.args(["-c", spawn, "sh", "-c", "exec \"$@\" > /dev/null", "sh"]);
    shell.arg(binary).args(arguments);
    for variable in ["NO_COLOR", "SLLM_ORT_LOG"] {
        shell.env_remove(variable);
    }
    let output = shell.env("TERM", "xterm").output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    shown
}

#[test]
fn a_terminal_shows_a_bar() {
    for (arguments, part) in long_work() {
        let shown = on_terminal(&arguments);
        assert!(shown.contains(part), "{arguments:?}: {shown:?}");
    }
}

#[test]
fn a_log_is_not_mixed_with_a_bar() {
    for (mut arguments, part) in long_work() {
        arguments.push("-v");
        let shown = on_terminal(&arguments);
        assert!(!shown.contains(part), "{arguments:?}: {shown:?}");
        let logs = !arguments.contains(&"stats");
        assert_eq!(shown.contains("INFO"), logs, "{arguments:?}: {shown:?}");
    }
}

#[test]
fn nothing_is_drawn_elsewhere() {
    for (arguments, _) in long_work() {
        let output = program().args(&arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
        let shown = String::from_utf8(output.stderr).unwrap();
        assert_eq!(shown, "", "{arguments:?}");
    }
}
