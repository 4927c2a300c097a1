//! `doctor` says what works, and its exit status too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::{TINY, TINY_OPT, copy_bundle, json_lines, program, tiny};

/// What it finds where the bundle cannot be run.
fn failing(arguments: &[&str]) -> Value {
    let mut command = program();
    command.args(["doctor", "--format", "json"]).args(arguments);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["works"], false);
    found
}

fn provider<'f>(found: &'f Value, name: &str) -> &'f Value {
    let mut providers = found["providers"].as_array().unwrap().iter();
    providers.find(|provider| provider["name"] == name).unwrap()
}

#[test]
fn a_bundle_that_runs() {
    for model in [TINY, TINY_OPT, "tests/golden/bundle-svae"] {
        let found = &json_lines(program().args(["doctor", "--model", model]))[0];
        assert_eq!(found["works"], true, "{found:#}");
        assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(found["model"]["files_intact"], true);
        assert_eq!(found["run"]["provider"], "cpu");
        assert_eq!(found["run"]["variant"], "cpu-int8");
        assert_eq!(found["run"]["spin_micros"], 200);
        assert!(found["processors"].as_u64() > Some(0));
        let library = found["onnxruntime"]["path"].as_str().unwrap();
        assert!(std::path::Path::new(library).is_file(), "{library}");
        let cpu = provider(found, "cpu");
        assert_eq!([&cpu["offered"], &cpu["starts"]], [true, true], "{cpu}");
        assert_eq!(cpu["variant"], "cpu-int8");
    }
}

#[test]
fn why_a_provider_does_not_start() {
    let found = &json_lines(&mut tiny(&["doctor"]))[0];
    let cuda = provider(found, "cuda");
    assert_eq!([&cuda["offered"], &cuda["starts"]], [false, false]);
    let problem = cuda["problem"].as_str().unwrap();
    let file = "libonnxruntime_providers_cuda.so is missing";
    assert!(problem.contains(file), "{problem}");

    // A provider that was named must be the one that runs the bundle.
    let found = failing(&["--model", TINY, "--provider", "cuda"]);
    let problem = found["run"]["problem"].as_str().unwrap();
    assert!(problem.contains(file), "{problem}");
    assert_eq!(provider(&found, "cpu")["starts"], true);
}

#[test]
fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle");
    copy_bundle(TINY, &bundle);
    std::fs::write(bundle.join("portable/decoder.onnx"), "damaged").unwrap();
    let model = bundle.to_str().unwrap();
    // The other variant still runs.
    let found = &json_lines(program().args(["doctor", "--model", model]))[0];
    assert_eq!(found["model"]["files_intact"], false);
    let problems = found["model"]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0]
            .as_str()
            .unwrap()
            .contains("portable/decoder.onnx")
    );

    let found = failing(&["--model", model, "--variant", "portable"]);
    let problem = found["run"]["problem"].as_str().unwrap();
    assert!(problem.contains("sha256"), "{problem}");
}

#[test]
fn what_is_not_there_is_said() {
    let found = failing(&["--model", "nowhere"]);
    let problem = found["model"]["problem"].as_str().unwrap();
    assert!(problem.contains("nowhere"), "{problem}");
    assert!(found["onnxruntime"]["build"].is_string());

    let found = failing(&["--model", TINY, "--onnxruntime", "nowhere/lib.so"]);
    let problem = found["onnxruntime"]["problem"].as_str().unwrap();
    assert!(problem.contains("nowhere/lib.so"), "{problem}");
    assert_eq!(found["model"]["files_intact"], true);
}

/// Both look in the same places, and say the same of what is wrong there.
#[test]
fn setup_and_doctor_find_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("libonnxruntime.so");
    std::fs::write(&broken, "no library").unwrap();
    let library = std::env::var("ORT_DYLIB_PATH").ok();
    /// Variables, and arguments.
    type Case<'c> = (&'c [(&'c str, &'c str)], &'c [&'c str]);
    let cases: [Case<'_>; 7] = [
        (&[], &[]),
        (&[("SLLM_ORT_MODEL", TINY)], &[]),
        (&[("SLLM_ORT_MODEL", "nowhere")], &[]),
        (&[], &["--model", TINY_OPT]),
        (
            &[("SLLM_ORT_MODELS", "tests/golden")],
            &["-m", "bundle-svae"],
        ),
        (&[], &["--onnxruntime", broken.to_str().unwrap()]),
        (
            &[("SLLM_ORT_ONNXRUNTIME", broken.to_str().unwrap())],
            &["-m", "tests"],
        ),
    ];
    for (variables, arguments) in cases {
        let command = |name: &str| {
            let mut command = program();
            command
                .arg(name)
                .args(arguments)
                .envs(variables.iter().copied());
            if let Some(library) = &library {
                command.env("ORT_DYLIB_PATH", library);
            }
            command
        };
        let said = command("setup").output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let found = command("doctor")
            .args(["--format", "json"])
            .output()
            .unwrap();
        let found: Value = serde_json::from_slice(&found.stdout).unwrap();
        let runtime = &found["onnxruntime"];
        let expected = match runtime["problem"].as_str() {
            Some(problem) => format!("[missing] {problem}\n"),
            None => format!("[ok] ONNX Runtime: {}\n", runtime["path"].as_str().unwrap()),
        };
        assert!(said.contains(&expected), "{said}\n{found:#}");
        let model = &found["model"];
        let expected = match model["problem"].as_str() {
            Some(problem) => format!("[missing] {problem}\n"),
            None => format!("[ok] model {}: ", model["name"].as_str().unwrap()),
        };
        assert!(said.contains(&expected), "{said}\n{found:#}");
    }
}

#[test]
fn text_has_a_line_for_each_finding() {
    let output = tiny(&["doctor", "-v", "--log", "off"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for key in [
        "version",
        "onnxruntime.path",
        "providers[6].starts",
        "works",
    ] {
        let mut lines = text.lines().map(|line| line.split_whitespace().next());
        assert!(lines.any(|first| first == Some(key)), "{key}: {text}");
    }
    assert_eq!(output.status.code(), Some(0));
    let short = String::from_utf8(tiny(&["doctor"]).output().unwrap().stdout).unwrap();
    let mut lines = short.lines();
    assert!(lines.next().unwrap().ends_with(" works"), "{short}");
    assert!(
        lines.next().unwrap().contains("ONNX Runtime  1."),
        "{short}"
    );
    // A path is not cut.
    let fits = |line: &str| line.chars().count() <= 80 || line.trim().split(' ').count() == 1;
    assert!(lines.all(fits), "{short}");
}

/// What is told of the model in JSON is told in text, too.
#[test]
fn warnings_of_the_model_are_shown() {
    let options = [
        "doctor",
        "--variant",
        "portable",
        "--matmul-kernel",
        "plain",
    ];
    let found = tiny(&[&options[..], &["--format", "json"]].concat()).output();
    let found: Value = serde_json::from_slice(&found.unwrap().stdout).unwrap();
    let warning = found["run"]["warnings"][0].as_str().unwrap();
    let output = tiny(&options).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(
        words.join(" ").contains(&format!("[!!] warning {warning}")),
        "{text}"
    );
}
