//! What is logged, where it goes, and that nothing is logged unasked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    io,
    sync::{Arc, Mutex},
};

use sllm_ort::{GenerateOptions, LoadOptions, Model, Session};
use support::{TINY, TINY_OPT, program, tiny};
use tracing::Level;
use tracing_subscriber::fmt::format::FmtSpan;

const PROMPT: &str = "hello world. the cat sat on the hill. ";
const RUN: [&str; 5] = ["run", PROMPT, "--ignore-stop", "--max-sentences", "2"];

/// The lines of a log, kept.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is logged at a level and above, without times.
fn logged(level: Level, work: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_max_level(level)
        .with_ansi(false)
        .with_span_events(FmtSpan::CLOSE)
        .without_time()
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = lines.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    let without_time = |line: &str| line.split(" time.busy").next().unwrap().trim().to_owned();
    text.lines().map(without_time).collect()
}

fn options(sentences: usize) -> GenerateOptions {
    GenerateOptions::default()
        .with_max_sentences(sentences)
        .with_ignore_eos(true)
}

fn load(bundle: &str) -> Model {
    Model::load(bundle, LoadOptions::default()).unwrap()
}

#[test]
fn the_library_logs_spans_with_what_was_done() {
    let lines = logged(Level::INFO, || {
        let model = load(TINY);
        let mut session = model.session().unwrap();
        session.append(PROMPT).unwrap();
        let mut generation = session.generate(options(2));
        assert_eq!(generation.by_ref().count(), 2);
        // Asked again, an ended continuation has nothing more to record.
        assert!(generation.next().is_none());
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    INFO load{bundle=tests/golden/bundle model="tiny-causal" variant="cpu-int8" provider="cpu"}: sllm_ort::model: close
    INFO prefill{model="tiny-causal" sentences=2 tokens=30}: sllm_ort::session: close
    INFO generate{model="tiny-causal" variant="cpu-int8" provider="cpu" sentences=2 tokens=15 finish_reason="max_sentences"}: sllm_ort::generation: close
    "#);
}

#[test]
fn graphs_and_sentences_have_their_spans_inside() {
    let lines = logged(Level::DEBUG, || {
        let mut session = load(TINY).session().unwrap();
        session.append(PROMPT).unwrap();
        assert_eq!(session.generate(options(2)).count(), 2);
    });
    let count = |part: &str| {
        let closed = lines.iter().filter(|line| line.ends_with("close"));
        closed.filter(|line| line.contains(part)).count()
    };
    for graph in ["encoder", "backbone", "decoder"] {
        let file = format!("cpu-int8/{graph}.onnx provider=\"cpu\"}}: ");
        assert_eq!(count(&file), 1, "{lines:#?}");
    }
    assert_eq!(count(":append{held=0 sentences=2 tokens=30}: "), 1);
    for index in [0, 1] {
        let sentence = format!(":sentence{{index={index} tokens=");
        assert_eq!(count(&sentence), 1, "{lines:#?}");
    }
}

#[test]
fn a_batch_has_one_span() {
    let lines = logged(Level::INFO, || {
        let model = load(TINY);
        let mut sessions = [model.session().unwrap(), model.session().unwrap()];
        for session in &mut sessions {
            session.append(PROMPT).unwrap();
        }
        let batch = sessions.iter_mut().zip([options(1), options(2)]);
        Session::generate_batch(batch, |_, _| {}).unwrap();
    });
    insta::assert_snapshot!(lines.last().unwrap(), @r#"INFO batch{model="tiny-causal" variant="cpu-int8" provider="cpu" contexts=2 sentences=3 tokens=24}: sllm_ort::batch: close"#);
}

#[test]
fn a_token_level_model_logs_the_same() {
    let mut emitted = Vec::new();
    let lines = logged(Level::DEBUG, || {
        let mut session = load(TINY_OPT).session().unwrap();
        session.append("hello world. ").unwrap();
        let sentences = session.generate(options(2));
        emitted.extend(sentences.map(|sentence| sentence.unwrap().token_ids.len()));
    });
    let log = lines.join("\n");
    assert_eq!(emitted.len(), 2);
    for (index, tokens) in emitted.iter().enumerate() {
        let sentence = format!(":sentence{{index={index} tokens={tokens}}}: ");
        assert!(log.contains(&sentence), "{log}");
    }
    assert!(
        log.contains("prefill{model=\"tiny-opt\" sentences=1 tokens=10}: "),
        "{log}"
    );
}

/// A subscriber is the program's choice: the library alone has none.
#[test]
fn the_library_installs_no_subscriber() {
    let mut session = load(TINY).session().unwrap();
    session.append(PROMPT).unwrap();
    assert_eq!(session.generate(options(1)).count(), 1);
    assert!(tracing::dispatcher::get_default(|dispatch| {
        dispatch.is::<tracing::subscriber::NoSubscriber>()
    }));
}

/// Results and log of the program.
fn outputs(arguments: &[&str], variable: Option<&str>) -> (String, String) {
    let mut command = tiny(&RUN);
    command.args(arguments);
    if let Some(value) = variable {
        command.env("SLLM_ORT_LOG", value);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let log = text(output.stderr);
    assert!(output.status.success(), "{log}");
    (text(output.stdout), log)
}

#[test]
fn the_program_logs_to_stderr_as_asked() {
    let (expected, silent) = outputs(&[], None);
    assert_eq!(silent, "");
    let table: [(&[&str], Option<&str>, &[&str]); 12] = [
        (&["-v"], None, &["INFO"]),
        (&["-vv"], None, &["DEBUG", "INFO"]),
        (&["--log", "info"], None, &["INFO"]),
        (&["--log", "Debug"], None, &["DEBUG", "INFO"]),
        (&["--log", "trace"], None, &["DEBUG", "INFO"]),
        (&["--log", "error"], None, &[]),
        (&["--log", "sllm_ort::runtime=debug"], None, &["DEBUG"]),
        (&["-vv", "--log", "off"], None, &[]),
        (&[], Some("info"), &["INFO"]),
        (&["--log", "off"], Some("info"), &[]),
        (&[], Some(""), &[]),
        (&["-v"], Some(""), &["INFO"]),
    ];
    for (arguments, variable, levels) in table {
        let (results, log) = outputs(arguments, variable);
        assert_eq!(results, expected, "{arguments:?}");
        let mut found: Vec<_> = log
            .lines()
            .map(|line| line.split_whitespace().nth(1).unwrap())
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, levels, "{arguments:?} {variable:?}: {log}");
    }
}

#[test]
fn a_bad_filter_is_wrong_usage() {
    for filter in ["loud", "3", "sllm_ort=loud", "a=b=c", "[run"] {
        let mut as_option = tiny(&["segment", "Hello, "]);
        as_option.args(["--log", filter]);
        let mut as_variable = tiny(&["segment", "Hello, "]);
        as_variable.env("SLLM_ORT_LOG", filter);
        let mut before_command = program();
        before_command.args(["--log", filter, "man"]);
        for mut command in [as_option, as_variable, before_command] {
            let assert = command.assert().code(2).stdout("");
            let error = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
            assert!(error.contains("'--log <LEVEL>'"), "{filter}: {error}");
        }
    }
}

/// With `-v` the error comes last, after what was logged.
#[test]
fn a_failure_is_told_after_the_log() {
    // Found when the model is there: all files are looked at before.
    let long = "the hat ".repeat(20);
    let output = tiny(&["embed", &long, "-v"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    let (log, report) = error.split_once("sllm-ort: error: ").unwrap();
    assert!(log.contains(" INFO load{"), "{error}");
    assert!(report.starts_with("text 1\n"), "{error}");
    assert!(report.contains("\n  caused by: "), "{error}");
}
