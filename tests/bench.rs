//! `bench`: its figures fit together, and what does not fit the model is refused. Nothing here
//! depends on how fast the machine is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use sllm_ort::{
    Error, LoadOptions,
    bench::{Bench, BenchOptions},
};

const SLLM: &str = "tests/golden/bundle";
const ORIGINAL: &str = "tests/golden/bundle-original";
const SVAE: &str = "tests/golden/bundle-svae";
const OPT: &str = "tests/golden/bundle-opt";

fn bench(arguments: &[&str]) -> assert_cmd::assert::Assert {
    support::program()
        .args(["bench", "--model", SLLM])
        .args(arguments)
        .assert()
}

fn figures(arguments: &[&str]) -> Value {
    let output = bench(&[&["--format", "json"], arguments].concat()).success();
    let stdout = &output.get_output().stdout;
    assert_eq!(stdout.iter().filter(|&&byte| byte == b'\n').count(), 1);
    serde_json::from_slice(stdout).unwrap()
}

/// Sizes that fit the tiny models: 12 sentences, 48 tokens.
const SMALL: [&str; 6] = [
    "--prompt-tokens",
    "14",
    "--sentence-tokens",
    "4",
    "--sentences",
    "3",
];

fn number(value: &Value, key: &str) -> f64 {
    value[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} of {value}"))
}

#[test]
fn figures_fit_together() {
    let found = figures(&[&SMALL[..], &["--baseline", OPT, "--repetitions", "4"]].concat());
    assert_eq!(found["model"], "tiny-causal");
    assert_eq!(found["baseline"]["model"], "tiny-opt");
    assert_eq!(found["rounds"], 4);
    assert_eq!((&found["warmup"], &found["seed"]), (&json!(1), &json!(0)));
    for model in [&found, &found["baseline"]] {
        for key in [
            "input_tokens_per_second",
            "output_tokens_per_second",
            "time_to_first_sentence_ms",
        ] {
            let [low, high] = [0, 1].map(|end| model["spread"][key][end].as_f64().unwrap());
            let median = number(model, key);
            assert!(
                0.0 < low && low <= median && median <= high,
                "{key}: {model}"
            );
        }
        assert!(number(model, "load_ms") > 0.0);
    }
    // 2 layers, keys and values of 32 channels in 4 bytes, for each of 4 tokens; 16 channels.
    assert_eq!(
        number(&found, "kv_bytes_per_token"),
        2.0 * 2.0 * 32.0 * 4.0 / 4.0
    );
    assert_eq!(
        number(&found["baseline"], "kv_bytes_per_token"),
        2.0 * 2.0 * 16.0 * 4.0
    );
    assert_eq!(number(&found["ratios"], "kv_bytes_per_token"), 0.5);
    let text_share = number(&found, "output_text_tokens_per_second")
        / number(&found, "output_tokens_per_second");
    assert!((text_share - 0.75).abs() < 1e-9);
    for key in [
        "input_tokens_per_second",
        "output_tokens_per_second",
        "time_to_first_sentence_ms",
    ] {
        let [low, high] = [0, 1].map(|end| found["ratios"]["spread"][key][end].as_f64().unwrap());
        let [own, other] = [&found, &found["baseline"]].map(|model| number(model, key));
        let median = number(&found["ratios"], key);
        assert!(low <= median && median <= high, "{key}: {found}");
        let range = low * (1.0 - 1e-9)..=high * (1.0 + 1e-9);
        assert!(range.contains(&(own / other)), "{key}: {found}");
    }
}

/// Whichever is loaded first.
#[cfg(target_os = "linux")]
#[test]
fn a_model_needs_as_much_memory_as_itself() {
    let found = figures(&[&SMALL[..], &["--baseline", SLLM]].concat());
    let ratio = number(&found["ratios"], "peak_memory_bytes");
    assert!((0.8..1.25).contains(&ratio), "{found}");
    assert!(number(&found, "peak_memory_bytes") > 1e6, "{found}");
}

/// A variable is for the model, not for the baseline, whose memory another process measures.
#[test]
fn variables_do_not_reach_the_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle");
    support::copy_bundle(SLLM, &bundle);
    support::edit_manifest(&bundle, |manifest| {
        manifest["variants"][0]["name"] = "mine".into();
    });
    let mut command = support::program();
    command.arg("bench").args(SMALL).args(["--baseline", OPT]);
    command.args(["--repetitions", "1", "--model"]).arg(&bundle);
    let found = &support::json_lines(command.env("SLLM_ORT_VARIANT", "mine"))[0];
    assert_eq!(found["variant"], "mine");
    assert_eq!(found["baseline"]["variant"], "cpu-int8");
}

#[test]
fn without_a_baseline_there_are_no_ratios() {
    let found = figures(&SMALL);
    assert!(found.get("ratios").is_none() && found.get("baseline").is_none());
}

#[test]
fn people_get_a_table() {
    let output = bench(&[&SMALL[..], &["--baseline", OPT]].concat()).success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let rows = |name: &str| -> Vec<Vec<&str>> {
        let lines = text.lines().filter(|line| line.trim().starts_with(name));
        lines
            .map(|line| line.split_whitespace().skip(2).collect())
            .collect()
    };
    let expected = [&["128", "B", "256", "B"][..], &["0.500", "1.000"]];
    assert_eq!(rows("KV cache/token"), expected, "{text}");
}

#[test]
fn several_models_are_measured_in_turn_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("bench.svg");
    let more = [ORIGINAL, "--baseline", OPT, "--format", "json", "--svg"];
    let output = bench(&[&SMALL[..], &more, &[svg.to_str().unwrap()]].concat()).success();
    let lines = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let models: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<_> = models.iter().map(|model| &model["model"]).collect();
    assert_eq!(names, ["tiny-causal", "tiny-original"]);
    for model in &models {
        assert_eq!(model["baseline"]["model"], "tiny-opt");
    }
    let drawn = std::fs::read_to_string(&svg).unwrap();
    for name in ["tiny-causal", "tiny-original", "tiny-opt", "tokens/s"] {
        assert!(drawn.contains(name), "{name}");
    }
    let nowhere = folder.path().join("absent/bench.svg");
    let output = bench(&[&SMALL[..], &["--svg", nowhere.to_str().unwrap()]].concat()).code(1);
    assert!(
        output.get_output().stdout.is_empty(),
        "nothing is measured for a file that cannot be written"
    );
}

#[test]
fn what_does_not_fit_the_model_is_refused() {
    for (arguments, message) in [
        (
            &["--sentences", "0"][..],
            "sentences is 0, allowed is 1 or more",
        ),
        (&["--warmup", "0"], "warmup is 0, allowed is 1 or more"),
        (&["--repetitions", "0"], "0 is not in 1..=10000"),
        (
            &["--sentence-tokens", "24"],
            "sentence-tokens is 24, allowed is at most 23",
        ),
        (
            &["--prompt-tokens", "111"],
            "prompt-tokens is 111, allowed is at most 110",
        ),
        (
            &["--prompt-tokens", "100", "--sentences", "3"],
            "sentences is 3, allowed is at most 2",
        ),
    ] {
        let output = bench(arguments).code(2);
        let text = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(text.contains(message), "{arguments:?}: {text}");
    }
}

#[test]
fn a_model_without_a_context_has_a_limit_too() {
    let options = BenchOptions::default()
        .with_prompt_tokens(usize::MAX)
        .unwrap();
    let refused = Bench::load(SVAE, LoadOptions::default(), options);
    assert!(
        matches!(refused, Err(Error::InvalidOption { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_context_of_tokens_has_its_own_limit() {
    let options = BenchOptions::default().with_prompt_tokens(40).unwrap();
    let refused = Bench::load(OPT, LoadOptions::default(), options);
    let Err(Error::InvalidOption { option, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(option, "prompt-tokens");
}

#[test]
fn nothing_is_reported_before_it_is_measured() {
    let options = BenchOptions::default()
        .with_prompt_tokens(20)
        .and_then(|options| options.with_sentences(2))
        .unwrap();
    let mut bench = Bench::load(SLLM, LoadOptions::default(), options).unwrap();
    assert!(bench.report().is_none());
    bench.round().unwrap();
    assert_eq!(bench.report().unwrap().rounds, 1);
}
