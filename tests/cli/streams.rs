//! Streams that are full, closed, or read by nobody, and limits of the system.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{failure, program, tiny};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// The command, whose streams can be set.
pub fn std_command(arguments: &[&str]) -> Command {
    let of_tests = tiny(arguments);
    let mut command = Command::new(of_tests.get_program());
    command.args(of_tests.get_args());
    for (name, value) in of_tests.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// The command, which heeds signals that whoever runs the tests ignores, as under `nohup`.
pub fn heeding_signals(command: &Command) -> Command {
    let mut heeding = Command::new("env");
    heeding.arg("--default-signal=HUP,INT,TERM");
    heeding.arg(command.get_program()).args(command.get_args());
    heeding
}

/// Wait for the end of a program, and end it where it does not.
pub fn ended(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the program does not end");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Warnings, figures and errors that nobody can be told change nothing else.
#[test]
fn a_full_stderr_changes_no_exit_status() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved");
    let saved = saved.to_str().unwrap();
    for (arguments, expected) in [
        (
            &[
                "run",
                "hello world. ",
                "-n",
                "1",
                "--stats",
                "--save",
                saved,
            ][..],
            0,
        ),
        (&["run", "hello world. ", "-n", "0"], 0),
        (&["run", ""], 1),
        (&["stats", "--file", "/absent"], 1),
        (&["info", "--variant", "absent"], 1),
        (&["run", "hello", "--top-p", "7"], 2),
        (&["run", "--absent"], 2),
        (&["eval", "-v", "--file", "/absent"], 1),
    ] {
        let mut command = std_command(arguments);
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(full())
            .status();
        assert_eq!(status.unwrap().code(), Some(expected), "{arguments:?}");
    }
    assert!(fs::metadata(saved).unwrap().len() > 100);
}

#[test]
fn a_full_stdout_is_named() {
    for arguments in [
        &["info"][..],
        &["info", "--format", "json"],
        &["run", "hello world. ", "-n", "1"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
    ] {
        let mut command = std_command(arguments);
        let output = command
            .stdin(Stdio::null())
            .stdout(full())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(
            said.contains("cannot write to stdout"),
            "{arguments:?}: {said}"
        );
    }
}

/// A program that was started with `nohup` outlives its terminal.
#[test]
fn signals_that_are_ignored_stay_so() {
    let mut run = std_command(&["run", "hello world. ", "--ignore-stop", "-n", "100000"]);
    run.args(["--when-full", "drop-oldest"]);
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP INT; trap - TERM; exec \"$@\"", "sh"])
        .arg(run.get_program())
        .args(run.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 16]).unwrap();
    for ignored in [Signal::HUP, Signal::INT] {
        kill_process(Pid::from_child(&child), ignored).unwrap();
        thread::sleep(Duration::from_millis(500));
        assert!(child.try_wait().unwrap().is_none(), "{ignored:?}");
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(ended(&mut child).code(), Some(143));
}

/// One signal is enough, and the session is kept.
#[test]
fn a_reader_who_does_not_read_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved");
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut command = std_command(&["run", "hello world. ", "--ignore-stop", "-n", "100000"]);
        command.args(["--when-full", "drop-oldest", "--format", "json", "--save"]);
        command.arg(&saved);
        let mut child = heeding_signals(&command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        // It has begun, and nothing is read from now on.
        stdout.read_exact(&mut [0; 16]).unwrap();
        thread::sleep(Duration::from_millis(500));
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(ended(&mut child).code(), Some(status));
        assert!(fs::metadata(&saved).unwrap().len() > 100);
        fs::remove_file(&saved).unwrap();
    }
}

/// A pipe that nobody opens for reading.
#[test]
fn one_signal_ends_the_wait_for_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let mut child = std_command(&["run", "hello world. ", "-n", "1", "--ignore-stop"])
        .arg("--save")
        .arg(&pipe)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = child.stdout.take().unwrap();
    // The text is written before the session.
    stdout.read_exact(&mut [0; 1]).unwrap();
    thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = ended(&mut child);
    stdout.read_to_string(&mut line).unwrap();
    assert_eq!((status.code(), status.signal()), (Some(143), None));
}

/// Limits that a shell sets for the program.
#[test]
fn limits_of_the_system_are_told_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved");
    let saved = saved.to_str().unwrap();
    let program = std_command(&["run", "hello world. ", "-n", "2", "--save", saved]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 1; exec \"$@\"", "sh"]);
    command.arg(program.get_program()).args(program.get_args());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("cannot write") && said.contains(saved),
        "{said}"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_text_that_is_not_continued_says_why() {
    for (arguments, expected) in [
        (&["-n", "0"][..], "--max-sentences is 0"),
        (&["--max-tokens", "0"], "--max-tokens is 0"),
        (&["--time-limit", "0"], "--time-limit was over"),
    ] {
        let mut command = tiny(&["run", "hello world. "]);
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    let said = failure(&mut tiny(&[
        "run", "a. ", "--load", "absent", "--save", "absent",
    ]));
    assert!(said.contains("--session"), "{said}");
}

#[test]
fn what_is_not_utf8_is_named() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let bytes = OsStr::from_bytes(b"2\xff");
    for (variable, expected) in [
        ("SLLM_ORT_THREADS", "SLLM_ORT_THREADS"),
        ("SLLM_ORT_PROVIDER", "SLLM_ORT_PROVIDER"),
        ("SLLM_ORT_LOG", "SLLM_ORT_LOG"),
    ] {
        let mut command = tiny(&["run", "hello world. "]);
        let output = command.env(variable, bytes).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected) && said.contains("UTF-8"), "{said}");
    }
    let output = tiny(&["run", "hello"])
        .arg("--stop")
        .arg(bytes)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("argument \"2\u{fffd}\""), "{said}");
}

#[test]
fn arguments_too_many_have_a_hint() {
    for (arguments, expected) in [
        (&["run", "Tom", "had", "a", "ball."][..], "quotes"),
        (&["check", "tests/data/prompts.txt"], "--file"),
    ] {
        let output = tiny(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn models_that_are_not_there_lead_to_those_that_are() {
    let golden = std::path::absolute("tests/golden").unwrap();
    for (model, expected) in [
        ("absent", "(which is not there)"),
        ("facebook/absent", "bundle-svae"),
        ("./absent", "docs/original-checkpoint.md"),
        ("README.md", "is a file"),
    ] {
        let mut command = program();
        command.env("SLLM_ORT_MODELS", format!("{}:/absent", golden.display()));
        let said = failure(command.args(["info", "--model", model]));
        assert!(said.contains(expected), "{model}: {said}");
    }
}
