//! `run`: what is printed, sampling, stop texts, signals.

use predicates::{prelude::*, str::contains};
use serde_json::Value;

use super::PROMPT;
use crate::support::{self, failure, json_lines, program, tiny};

#[test]
fn run_streams_text_and_prints_json() {
    let text = tiny(&["run", PROMPT, "--ignore-stop", "--max-sentences", "3"])
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    let lines = json_lines(&mut tiny(&[
        "run",
        PROMPT,
        "--ignore-stop",
        "--max-sentences",
        "3",
    ]));
    let (end, sentences) = lines.split_last().unwrap();
    assert_eq!(sentences.len(), 3);
    let joined: String = sentences
        .iter()
        .map(|s| s["text"].as_str().unwrap())
        .collect();
    assert_eq!(text, joined + "\n");
    for (index, sentence) in sentences.iter().enumerate() {
        assert_eq!(sentence["index"], index);
        let keys: Vec<_> = sentence.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["index", "text", "token_ids", "stop_probability"]);
    }
    assert_eq!(end["finish_reason"], "max_sentences");
    assert_eq!(end["prompt_sentences"], 2);
    assert_eq!(end["sentences"], 3);
    let tokens: usize = sentences
        .iter()
        .map(|s| s["token_ids"].as_array().unwrap().len())
        .sum();
    assert_eq!(end["tokens"], tokens);
    assert!(end["timings"]["first_sentence_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn sampling_is_repeatable() {
    let run = |seed: &str| {
        let arguments = [
            "run",
            PROMPT,
            "--ignore-stop",
            "--temperature",
            "3",
            "--top-k",
            "40",
            "--seed",
            seed,
        ];
        tiny(&arguments).output().unwrap().stdout
    };
    assert_eq!(run("1"), run("1"));
    assert_ne!(run("1"), run("2"));
}

#[test]
fn the_stop_text_is_not_printed() {
    let all = tiny(&["run", PROMPT, "--ignore-stop"]).output().unwrap();
    let all = String::from_utf8(all.stdout).unwrap();
    let stop = &all[all.len() / 2..all.len() / 2 + 2];
    let cut = &all[..all.find(stop).unwrap()];
    let expected = format!("{cut}\n");
    tiny(&["run", PROMPT, "--ignore-stop", "--stop", stop])
        .assert()
        .success()
        .stdout(expected);
}

#[test]
fn any_text_can_be_a_stop_text() {
    let within = ["...", "Mr. Fox", "3.50", "Tom, the", "big, mean", "\nUser:"];
    for stop in within.iter().chain(&["He ran off. Then he", "One\ntwo"]) {
        let mut command = program();
        command.args(["run", PROMPT, "-m", "models/sllm-stories", "-n", "1"]);
        command.args(["--stop", stop]).assert().success();
    }
    tiny(&["run", PROMPT, "--stop", "Mr. Fox"])
        .assert()
        .success();
}

/// It may go on in the next sentence: the shipped model cuts at commas too.
#[test]
fn a_stop_text_may_cross_sentences() {
    let run = |stop: Option<&str>| {
        let mut command = program();
        command.args([
            "run",
            PROMPT,
            "-m",
            "models/sllm-stories",
            "--greedy",
            "-n",
            "5",
        ]);
        let output = command.args(stop.map(|stop| ["--stop", stop]).into_iter().flatten());
        let output = output.assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    };
    let whole = run(None);
    let mark = whole.find([',', '.']).unwrap();
    let stop = &whole[mark - 4..mark + 6];
    assert_eq!(run(Some(stop)), format!("{}\n", &whole[..mark - 4]));
}

#[test]
fn stop_texts() {
    let all = tiny(&["run", PROMPT, "--ignore-stop"]).output().unwrap();
    let all = String::from_utf8(all.stdout).unwrap();
    let (first, second) = (&all[4..7], &all[9..12]);
    let stopped = tiny(&[
        "run",
        PROMPT,
        "--ignore-stop",
        "--stop",
        second,
        "--stop",
        first,
    ]);
    let mut stopped = stopped;
    let found = all.find(first).unwrap().min(all.find(second).unwrap());
    stopped
        .assert()
        .success()
        .stdout(format!("{}\n", &all[..found]));
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_run_between_sentences() {
    use std::{process::Stdio, time::Duration};
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("session");
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let mut command = std::process::Command::new(program().get_program());
        command
            .args(["run", PROMPT, "--ignore-stop", "-n", "100000000"])
            .args(["--when-full", "drop-oldest", "-m", support::TINY, "--save"])
            .arg(&saved);
        #[cfg(target_os = "linux")]
        let mut command = super::streams::heeding_signals(&command);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        let id = child.id().to_string();
        std::process::Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(status));
        let saved = saved.to_str().unwrap();
        tiny(&["run", "--load", saved, "--max-sentences", "1"])
            .assert()
            .success();
    }
}

#[test]
fn a_full_context_is_said() {
    let forever = ["--ignore-stop", "--max-sentences", "1000"];
    let full = |more: &[&str]| tiny(&[&["run", PROMPT][..], &forever, more].concat());
    let said = contains("warning: the context is full").count(1);
    full(&[])
        .assert()
        .success()
        .stderr(said.and(contains("--when-full drop-oldest")));
    full(&["--format", "json"])
        .assert()
        .success()
        .stdout(contains("\"finish_reason\":\"context_full\""))
        .stderr(contains("the context is full"));
    tiny(&["run", PROMPT, "--max-sentences", "1"])
        .assert()
        .success()
        .stderr("");
    let mut opt = program();
    opt.args(["run", PROMPT, "--model", support::TINY_OPT]);
    let opt = opt.args(forever).assert().success();
    opt.stderr(contains("the context is full").and(contains("drop-oldest").not()));
}

#[test]
fn stats_go_to_stderr() {
    tiny(&["run", PROMPT, "--stats"])
        .assert()
        .success()
        .stderr(contains("tokens/s").and(contains("cpu-int8 on cpu (")));
}

/// All nodes run on the processor where it is asked for, and `info` and `run` agree on their number.
#[test]
fn the_nodes_of_the_provider_are_counted() {
    let info = &json_lines(&mut tiny(&["info"]))[0]["nodes"];
    let run = json_lines(&mut tiny(&["run", PROMPT, "--stats"]));
    let run = &run.last().unwrap()["nodes"];
    assert_eq!(info, run);
    let all = info["all"].as_u64().unwrap();
    // Three graphs with two layers each: no fewer nodes than this do that work.
    assert!(all > 50, "{info}");
    assert_eq!(info["on_provider"], all);
    assert_eq!(info["by_provider"]["CPUExecutionProvider"], all);
    let quiet = json_lines(&mut tiny(&["run", PROMPT]));
    assert!(quiet.last().unwrap().get("nodes").is_none());
}

/// A model of tokens has no option to drop sentences, and loses nothing of its context.
#[test]
fn a_prompt_too_long_for_a_token_level_model_is_refused() {
    let long = "A cat. ".repeat(40);
    let error = failure(
        program()
            .args(["run", "--model", "tests/golden/bundle-opt"])
            .args(["--when-full", "drop-oldest", &long]),
    );
    assert!(error.contains("more tokens than fit"), "{error}");
}

/// Whatever drew a text, its seed is in the JSON and draws it again.
#[test]
fn json_has_the_seed_of_what_was_drawn() {
    let drawn = ["run", PROMPT, "--ignore-stop", "-t", "3", "-n", "3"];
    let texts = |lines: &[serde_json::Value]| -> Vec<String> {
        let texts = lines.iter().filter_map(|line| line["text"].as_str());
        texts.map(ToOwned::to_owned).collect()
    };
    let first = json_lines(&mut tiny(&drawn));
    let seed = first.last().unwrap()["seed"].as_u64().unwrap().to_string();
    let again = json_lines(tiny(&drawn).args(["--seed", &seed]));
    assert_eq!(texts(&again), texts(&first));
    assert_eq!(again.last().unwrap()["seed"], first.last().unwrap()["seed"]);
    let greedy = json_lines(&mut tiny(&["run", PROMPT, "--greedy"]));
    assert!(greedy.last().unwrap().get("seed").is_none());

    // Each prompt that is checked has its own.
    let mut check = tiny(&["check", "-f", "-", "-t", "3", "-n", "3"]);
    check.write_stdin(format!("{PROMPT}\n{PROMPT}\n"));
    let lines = json_lines(&mut check);
    for line in &lines[..2] {
        let seed = line["seed"].as_u64().unwrap().to_string();
        let again = json_lines(&mut tiny(&[
            "run", PROMPT, "-t", "3", "-n", "3", "--seed", &seed,
        ]));
        assert_eq!(texts(&again).concat(), line["text"].as_str().unwrap());
    }
    assert_eq!(lines[2]["seed"], lines[0]["seed"]);
}

/// ONNX Runtime would keep a device id and a database there.
#[test]
fn nothing_is_written_to_the_home_folder() {
    let home = tempfile::tempdir().unwrap();
    let mut run = tiny(&["run", PROMPT, "--max-sentences", "1"]);
    run.env("HOME", home.path()).env("TMPDIR", home.path());
    for variable in ["ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
        run.env_remove(variable);
    }
    run.assert().success();
    let found: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(found.is_empty(), "{found:?}");
}

/// A prompt that does not fit is no reason to leave out the others.
#[test]
fn a_prompt_that_is_too_long_is_skipped() {
    let long = "a hat. ".repeat(20);
    for (prompts, sampled, checked) in [
        (format!("the cat.\n{long}\nthe hat.\n"), "0", 2),
        (format!("the cat.\n{long}\nthe hat.\n"), "1", 2),
        (long, "0", 0),
    ] {
        let check = |more: &[&str]| {
            let mut check = tiny(&["check", "-n", "1", "-f", "-", "-t", sampled]);
            let check = check.args(more).write_stdin(prompts.clone()).assert();
            let output = check.code(1).stderr(contains("is skipped: ").count(1));
            String::from_utf8(output.get_output().stdout.clone()).unwrap()
        };
        let text = check(&[]);
        assert!(text.trim_end().ends_with("; 1 prompt skipped"), "{text}");
        assert!(
            text.contains(&format!(" of {checked} continuations")),
            "{text}"
        );
        let lines = check(&["--format", "json"]);
        assert_eq!(lines.lines().count(), checked + 1);
        let summary: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(summary["prompts"], checked);
        assert_eq!(summary["skipped"], 1);
        assert_eq!(summary.get("share").is_some(), checked > 0, "{summary}");
        assert_eq!(summary.get("seed").is_some(), sampled == "1", "{summary}");
    }
}
