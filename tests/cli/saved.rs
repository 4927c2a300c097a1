//! `run` with session files.

use predicates::str::contains;

use super::PROMPT;
use crate::support::{TINY_ORIGINAL, failure, program, snapshots, tiny};

#[test]
fn a_session_goes_on_where_it_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("story.session");
    let file = file.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = tiny(&["run", "--ignore-stop"]);
        String::from_utf8(command.args(arguments).output().unwrap().stdout).unwrap()
    };
    let whole = run(&[PROMPT, "--max-sentences", "4"]);
    let first = run(&[PROMPT, "--max-sentences", "2", "--save", file]);
    let second = run(&["--load", file, "--max-sentences", "2"]);
    assert_eq!(
        whole.trim_end_matches('\n'),
        first.trim_end_matches('\n').to_owned() + second.trim_end_matches('\n')
    );
    let other = failure(program().args(["run", "--load", file, "--model", TINY_ORIGINAL]));
    assert!(other.contains("saved with another model"), "{other}");
}

#[test]
fn a_session_file_may_not_be_there_yet() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new.session");
    let file = file.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = tiny(&["run", "--ignore-stop"]);
        String::from_utf8(command.args(arguments).output().unwrap().stdout).unwrap()
    };
    let twice =
        run(&[PROMPT, "-n", "2", "--session", file]) + &run(&["-n", "2", "--session", file]);
    let whole = run(&[PROMPT, "-n", "4"]);
    assert_eq!(twice.replace('\n', ""), whole.replace('\n', ""));
    failure(&mut tiny(&["run", "--load", "absent.session"]));
}

#[test]
fn a_session_that_cannot_be_saved_is_said() {
    let mut command = tiny(&["run", "hello", "--max-sentences", "0", "--save", "absent/x"]);
    command
        .assert()
        .code(1)
        .stderr(contains("cannot write absent/x"));
}

#[test]
fn a_prompt_for_a_full_session_replaces_its_oldest_sentences() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("full.session");
    let saved = saved.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = tiny(&["run", "--greedy", "--ignore-stop"]);
        command.args(arguments).output().unwrap()
    };
    let full = run(&["One. ", "-n", "100", "--save", saved]);
    assert!(full.status.success());
    let refused = run(&["--load", saved, "Two. Three. "]);
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    for said in [
        "the prompt has 2 sentences, and the session holds 12 of at most 12",
        "--when-full drop-oldest",
    ] {
        assert!(message.contains(said), "{message}");
    }
    let one = run(&["--load", saved, "Two. ", "--when-full", "drop-oldest"]);
    let message = String::from_utf8_lossy(&one.stderr).into_owned();
    assert!(
        message.contains("the oldest sentence was dropped"),
        "{message}"
    );
    let dropped = run(&[
        "--load",
        saved,
        "Two. Three. ",
        "--when-full",
        "drop-oldest",
        "-n",
        "1",
    ]);
    let message = String::from_utf8_lossy(&dropped.stderr).into_owned();
    assert!(dropped.status.success(), "{message}");
    assert!(
        message.contains("the oldest 2 sentences were dropped"),
        "{message}"
    );
    let long = "One. ".repeat(13);
    let long = run(&["--load", saved, &long, "--when-full", "drop-oldest"]);
    let message = String::from_utf8_lossy(&long.stderr).into_owned();
    assert!(
        message.contains("13 sentences, a context of this model holds 12"),
        "{message}"
    );
}

#[test]
fn text_on_stdin_beside_a_session_is_not_lost_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("a.session");
    let saved = saved.to_str().unwrap();
    tiny(&["run", "One. ", "-n", "1", "--save", saved])
        .assert()
        .success();
    tiny(&["run", "--load", saved, "-n", "1"])
        .write_stdin("The dog barked. ")
        .assert()
        .success()
        .stderr(contains("a session is continued without a text"));
    tiny(&["run", "--load", "-", "-n", "1"])
        .assert()
        .code(1)
        .stderr(contains("a session is not read from stdin"));
}

/// Numbers that are not finite are the session's fault where one was loaded, or the model's.
#[test]
fn a_session_with_unusable_values_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("story.session");
    let path = file.to_str().unwrap();
    tiny(&["run", PROMPT, "-n", "1", "--save", path])
        .assert()
        .success();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, snapshots::filled(&whole, 3.4e38)).unwrap();
    for arguments in [
        &["run", "--ignore-stop", "--load", path][..],
        &["run", "--ignore-stop", "--session", path, "the dog ran. "],
    ] {
        // The sentence that failed was printed as it came.
        let output = tiny(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains(&format!("cannot continue the session {path}")),
            "{error}"
        );
        assert!(error.contains("values are unusable"), "{error}");
    }
}
