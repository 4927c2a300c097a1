//! The command line as a user calls it, on the tiny model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use predicates::{prelude::*, str::contains};
use serde_json::{Value, json};
use support::{TINY_ORIGINAL, failure, json_lines, program, tiny};

const PROMPT: &str = "hello world. the cat sat on the hill. ";

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
fn reconstruct_takes_arguments_files_and_lines() {
    let expected = json!({
        "input": "Hello, ",
        "input_ids": [30, 8, 55, 18, 35, 42],
        "output": "Hello, ",
        "output_ids": [30, 8, 55, 18, 35, 42, 2],
        "exact": true,
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.txt");
    std::fs::write(&file, "Hello, \nHello, \r\n").unwrap();
    let line = |arguments: &[&str]| json_lines(&mut tiny(arguments));
    assert_eq!(
        line(&["reconstruct", "Hello, "]),
        std::slice::from_ref(&expected)
    );
    let file = file.to_str().unwrap();
    assert_eq!(
        line(&["reconstruct", "--file", file]),
        vec![expected.clone(); 2]
    );
    let mut stdin = tiny(&["reconstruct"]);
    stdin.write_stdin("Hello, \n");
    assert_eq!(json_lines(&mut stdin), [expected]);
    let cut = line(&["reconstruct", "--segment", "Hello, Hello, "]);
    assert_eq!(cut.len(), 2);
    assert_eq!(line(&["reconstruct", "Hello, Hello, "]).len(), 1);
}

#[test]
fn embed_prints_a_vector_for_each_text() {
    let lines = json_lines(&mut tiny(&["embed", "Hello, ", "the cat"]));
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(line["embedding"].as_array().unwrap().len(), 32);
    }
    let mut stdin = tiny(&["embed"]);
    assert_eq!(json_lines(stdin.write_stdin("Hello, \nthe cat\n")), lines);
}

#[test]
fn segment_shows_the_cuts() {
    let lines = json_lines(&mut tiny(&["segment", "Hello, my friend. Bye"]));
    let texts: Vec<_> = lines
        .iter()
        .map(|line| line["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["Hello, ", "my friend. ", "Bye"]);
    assert_eq!(
        lines[0],
        json!({"index": 0, "text": "Hello, ", "tokens": 6})
    );
    program()
        .args(["segment", "Hello, Bye", "--model", TINY_ORIGINAL])
        .assert()
        .success()
        .stdout(contains("Hello"))
        .stderr(contains("\"Bye\" was dropped"));
}

#[test]
fn info_describes_the_model() {
    let lines = json_lines(&mut tiny(&["info"]));
    let [info] = lines.as_slice() else {
        panic!("one object: {lines:?}")
    };
    assert_eq!(info["model"]["name"], "tiny-causal");
    let parts =
        ["encoder", "backbone", "decoder"].map(|part| info["parameters"][part].as_u64().unwrap());
    assert_eq!(info["parameters"]["total"], parts.iter().sum::<u64>());
    let memory = &info["memory"];
    assert_eq!(memory["kv_bytes_per_sentence"], 2 * 2 * 32 * 4);
    assert_eq!(memory["kv_bytes_per_token_of_text"], 512.0 / 16.0);
    assert_eq!(memory["kv_bytes_full_context"], 512 * 12 + 512 * 24);
    let flops = &info["flops"];
    assert_eq!(flops["assumptions"]["sentence_tokens"], 16);
    let of_sentence = |part: &str| flops[part].as_u64().unwrap();
    let whole = of_sentence("encoder_per_sentence") + of_sentence("backbone_per_sentence");
    let expected = of_sentence("decoder_per_token") + whole / 17;
    assert!(of_sentence("per_token").abs_diff(expected) <= 1);
    for variant in info["variants"].as_array().unwrap() {
        let graphs = variant["graphs"].as_object().unwrap().values();
        let bytes: u64 = graphs.map(|graph| graph["bytes"].as_u64().unwrap()).sum();
        assert_eq!(variant["weights_bytes"], bytes);
    }
    assert_eq!(info["variant"], "cpu-int8");
    assert_eq!(info["provider"], "cpu");
    assert_eq!(info["variants"].as_array().map(Vec::len), Some(2));
    let text = tiny(&["info"]).output().unwrap().stdout;
    assert_eq!(String::from_utf8(text).unwrap().lines().count(), 10);
    tiny(&["info", "-v", "--log", "off"])
        .assert()
        .success()
        .stdout(contains("model.name"));
    let short = json_lines(&mut tiny(&["info", "--sentence-tokens", "4"]));
    assert_eq!(short[0]["memory"]["kv_bytes_per_token_of_text"], 128.0);
    tiny(&["info", "--sentence-tokens", "24"]).assert().code(2);
}

#[test]
fn sensible_results_for_odd_prompts() {
    for prompt in ["hello", "...", "!?.,", "\u{feff}"] {
        let output = tiny(&["run", prompt, "--max-sentences", "1"])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        let known = output.status.success() || error.contains("does not know");
        assert!(known && error.lines().count() <= 1, "{prompt:?}: {error}");
    }
    for nothing in ["", " ", "\n\n", "\t\u{a0}"] {
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
        .stderr(contains("stdin is not read"));
    tiny(&["run", "- the cat. "]).assert().success().stderr("");
    let mut command = program();
    command.args(["run", "--model", support::TINY, "--", "-hello"]);
    command.assert().success().stderr("");
    tiny(&["run", "--hallo"]).assert().code(2);
}

#[test]
fn places_of_bad_lines_are_named() {
    for command in ["embed", "reconstruct"] {
        let error = failure(tiny(&[command]).write_stdin("the cat.\n\nthe hat.\n"));
        assert!(error.starts_with("stdin, line 2 is empty"), "{error}");
    }
    let long = format!("the cat.\n{}\n", "the hat ".repeat(20));
    let error = failure(tiny(&["embed"]).write_stdin(long));
    assert!(error.starts_with("stdin, line 2: "), "{error}");
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

#[cfg(unix)]
#[test]
fn a_signal_ends_a_run_between_sentences() {
    use std::{process::Stdio, time::Duration};
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("session");
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let mut child = std::process::Command::new(program().get_program())
            .args([
                "run",
                PROMPT,
                "--ignore-stop",
                "--max-sentences",
                "100000000",
            ])
            .args([
                "--when-full",
                "drop-oldest",
                "--model",
                support::TINY,
                "--save",
            ])
            .arg(&saved)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
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
fn models_are_found_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    let golden = std::path::absolute("tests/golden").unwrap();
    command.current_dir(&folder).env("SLLM_ORT_MODELS", &golden);
    command.args(["segment", "one. two.", "--model", "bundle-svae"]);
    command.assert().success();
    let mut command = program();
    command.current_dir(&folder).env("SLLM_ORT_MODELS", &golden);
    let error = failure(command.args(["segment", "one.", "--model", "bundle-none"]));
    assert!(error.contains("there are bundle, bundle-125m, "), "{error}");
    assert!(error.contains("docs/original-checkpoint.md"), "{error}");
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
            "stdin: not UTF-8 text at byte 2",
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
fn a_session_that_cannot_be_saved_is_said() {
    let mut command = tiny(&["run", "hello", "--max-sentences", "0", "--save", "absent/x"]);
    command
        .assert()
        .code(1)
        .stderr(contains("cannot write absent/x"));
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
        error.contains("stdin, line 2: not UTF-8 text at byte 0"),
        "{error}"
    );
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

/// Neither by another one, nor without saying which file is missing.
#[test]
fn a_provider_that_is_not_there_must_not_be_replaced() {
    for provider in ["tensorrt", "cuda"] {
        let error = failure(&mut tiny(&["run", "hello", "--provider", provider]));
        let missing = format!("libonnxruntime_providers_{provider}.so is missing");
        for text in [&format!("no execution provider {provider:?} (/"), &missing] {
            assert!(error.contains(text), "{error}");
        }
    }
}

#[test]
fn options_that_a_named_provider_does_not_take_are_refused() {
    for options in [
        &["--provider", "cpu", "--device", "0"][..],
        &["--provider", "cpu", "--gpu-memory", "1048576"],
        &["--provider", "cuda", "--engine-cache", "engines"],
        &[
            "--provider",
            "cuda",
            "--engine-sizes",
            "1:1:4,1:8:16,1:8:16",
        ],
        &["--provider", "tensorrt", "--gpu-memory", "1048576"],
        &["--gpu-memory", "1GB"],
        &["--gpu-memory", "1000"],
        &["--device", "-1"],
        &["--engine-cache", "Cargo.toml"],
        &["--engine-sizes", "1:2,3:4:5,1:2:3"],
        &["--engine-sizes", "1:2:3"],
        &["--engine-sizes", "1:2:1,1:1:1,1:1:1"],
    ] {
        let mut command = tiny(&["run", "hello"]);
        command.args(options).assert().code(2).stdout("");
    }
}

#[test]
fn options_that_have_no_effect_are_said() {
    let options = ["--device", "1", "--engine-sizes", "1:1:4,1:8:16,1:8:16"];
    let mut command = tiny(&["embed", "hello"]);
    let said = |option: &str| contains(format!("warning: {option} has no effect: cpu is used"));
    command
        .args(options)
        .assert()
        .success()
        .stderr(said("device 1").and(said(
            "engine-sizes batch 1:1:4, sentences 1:8:16, tokens 1:8:16",
        )));
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
fn random_weights_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("random");
    support::copy_bundle(support::TINY, &bundle);
    let manifest = bundle.join("sllm.json");
    let mut value: Value =
        serde_json::from_str(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    value["provenance"] = json!({"checkpoint": {"random_seed": 7}});
    std::fs::write(&manifest, value.to_string()).unwrap();
    for arguments in [
        &["run", PROMPT, "--max-sentences", "1"],
        &["reconstruct", PROMPT][..],
    ] {
        let mut command = program();
        command.args(arguments).arg("--model").arg(&bundle);
        command
            .assert()
            .success()
            .stderr(contains("weights of this model are random").count(1));
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

/// Whatever the default form shows, JSON is complete: floats are read back as they were.
#[test]
fn json_numbers_are_exact() {
    let lines = json_lines(&mut tiny(&["embed", "the cat"]));
    let again = json_lines(&mut tiny(&["embed", "the cat"]));
    assert_eq!(lines, again);
    assert!(matches!(lines[0]["embedding"][0], Value::Number(_)));
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
        message.contains("2 of the oldest sentences were dropped"),
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
        .stderr(contains("stdin is not read"));
}
