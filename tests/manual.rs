//! Completions and manual pages, which are made from the arguments themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeSet, fs, path::Path};

use predicates::str::contains;
use support::{failure, program};

/// The subcommands, as `--help` lists them.
fn commands() -> BTreeSet<String> {
    let help = text(&["--help"]);
    let (_, after) = help.split_once("Commands:\n").unwrap();
    let lines = after.lines().take_while(|line| !line.trim().is_empty());
    lines
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .filter(|name| name != "help")
        .collect()
}

/// What a command prints, in a folder without any model.
fn text(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = program()
        .args(arguments)
        .current_dir(&folder)
        .env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert_eq!(error, "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_shell_has_completions_of_all_commands() {
    for (shell, part) in [
        ("bash", "complete -F _sllm__ort"),
        ("elvish", "edit:completion:arg-completer[sllm-ort]"),
        ("fish", "complete -c sllm-ort"),
        ("powershell", "Register-ArgumentCompleter"),
        ("zsh", "#compdef sllm-ort"),
    ] {
        let script = text(&["completions", shell]);
        for part in [part, "max-sentences", "log"] {
            assert!(script.contains(part), "{shell}: {part}");
        }
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
    }
    program()
        .args(["completions", "tcsh"])
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("bash"));
}

/// The shell reads its script, and completes with it.
#[test]
#[cfg(unix)]
fn bash_completes_with_the_script() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sllm-ort.bash");
    fs::write(&file, text(&["completions", "bash"])).unwrap();
    for (words, expected) in [
        (&["rec"][..], "reconstruct"),
        (&["run", "--temp"], "--temperature"),
        (&["run", "--format", "j"], "json"),
        (&["help", "comp"], "completions"),
        (&["completions", "z"], "zsh"),
    ] {
        let ask = r#"source "$1"; shift; COMP_WORDS=(sllm-ort "$@"); COMP_CWORD=$#
            _sllm__ort sllm-ort "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"; echo "${COMPREPLY[@]}""#;
        let output = assert_cmd::Command::new("bash")
            .args(["--norc", "-c", ask, "bash"])
            .arg(&file)
            .args(words)
            .output()
            .unwrap();
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(found.trim_end(), expected, "{words:?}");
    }
}

#[test]
fn the_page_names_all_commands() {
    let page = text(&["man"]);
    let version = env!("CARGO_PKG_VERSION");
    assert!(page.contains(&format!(".TH sllm-ort 1  \"sllm-ort {version}\"")));
    for command in commands() {
        assert!(page.contains(&format!("sllm\\-ort\\-{command}(1)")));
    }
    for part in ["SLLM_ORT_LOG", "\\-\\-verbose"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn there_is_a_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("share/man1");
    for _ in ["new", "in place of those"] {
        let printed = text(&["man", "--dir", dir.to_str().unwrap()]);
        let names = |name: &Path| name.file_name().unwrap().to_str().unwrap().to_owned();
        let written: BTreeSet<_> = printed.lines().map(|line| names(Path::new(line))).collect();
        let mut expected: BTreeSet<_> = commands()
            .iter()
            .map(|command| format!("sllm-ort-{command}.1"))
            .collect();
        expected.insert("sllm-ort.1".to_owned());
        let entries = fs::read_dir(&dir).unwrap();
        let found: BTreeSet<_> = entries.map(|e| names(&e.unwrap().path())).collect();
        assert_eq!(found, expected);
        assert_eq!(written, expected);
    }
    let page = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(page("sllm-ort.1"), text(&["man"]));
    let run = page("sllm-ort-run.1");
    let version = env!("CARGO_PKG_VERSION");
    assert!(run.contains(&format!(".TH sllm-ort-run 1  \"sllm-ort {version}\"")));
    for part in ["\\-\\-temperature", "SLLM_ORT_MODEL"] {
        assert!(run.contains(part), "{part}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let error = failure(program().args(["man", "--dir", "Cargo.toml/man1"]));
    assert!(error.contains("cannot make Cargo.toml/man1"), "{error}");
}
