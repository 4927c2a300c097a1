//! The shipped model: what it writes, and how well it reads back what it is given.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};
use sllm_ort::{GenerateOptions, LoadOptions, Model, SamplingOptions};
use support::{json_lines, program};

const STORIES: &str = "models/sllm-stories";
const PROMPTS: [&str; 3] = [
    "Once upon a time, there was a little girl named Lily. She had a red ball. ",
    "Tom and his dog went to the park. ",
    "The sun was hot. A small bird was thirsty, ",
];

fn load(variant: &str) -> Model {
    Model::load(STORIES, LoadOptions::default().with_variant(variant)).unwrap()
}

fn story(model: &Model, prompt: &str, options: GenerateOptions) -> String {
    let mut session = model.session().unwrap();
    session.append(prompt).unwrap();
    session
        .generate(options)
        .map(|sentence| sentence.unwrap().text)
        .collect()
}

/// fp32, whose choices do not hang on how a processor rounds integers.
#[test]
fn greedy_continuations() {
    let model = load("portable");
    let sampling = model.sampling().clone().with_temperature(0.0).unwrap();
    let options = || {
        GenerateOptions::default()
            .with_max_sentences(10)
            .with_sampling(sampling.clone())
    };
    let told = PROMPTS.map(|prompt| format!("{prompt}| {}", story(&model, prompt, options())));
    assert_snapshot!(told.join("\n---\n"));
}

/// Those that `reconstruct` has built in.
const SENTENCES: [&str; 12] = [
    "Once upon a time, ",
    "there was a little girl named Lily. ",
    "She loved to play outside in the sunshine. ",
    "One day, ",
    "she saw a big dog in the park. ",
    "The dog was very friendly and wagged its tail. ",
    "\"Can I play with you?\" ",
    "asked Lily. ",
    "The dog barked and ran around her. ",
    "They played together until the sun went down. ",
    "Then her mom called her home for dinner. ",
    "Lily was happy because she had made a new friend.",
];

#[test]
fn reconstruction_of_the_built_in_sentences() {
    let mut command = program();
    let lines = json_lines(
        command
            .args(["reconstruct", "--variant", "portable"])
            .write_stdin(SENTENCES.join("\n")),
    );
    assert_eq!(lines.len(), 12);
    assert_json_snapshot!(lines);
}

#[test]
fn sentence_vectors() {
    let model = load("portable");
    let vectors = model
        .encode(&["Lily was happy. ", "The dog ran away. "])
        .unwrap();
    let rounded = |row: ndarray::ArrayView1<'_, f32>| -> Vec<f64> {
        row.iter()
            .take(8)
            .map(|x| (f64::from(*x) * 1e3).round() / 1e3)
            .collect()
    };
    let found: Vec<Value> = vectors
        .outer_iter()
        .map(|row| json!(rounded(row)))
        .collect();
    assert_json_snapshot!(found);
}

/// The model's own sentences, which are in its domain, come back, and the same from both variants.
#[test]
fn continuations_are_reconstructed() {
    let (portable, int8) = (load("portable"), load("cpu-int8"));
    let sampling = SamplingOptions::default()
        .with_temperature(0.8)
        .unwrap()
        .with_seed(5);
    let options = GenerateOptions::default()
        .with_max_sentences(40)
        .with_ignore_eos(true);
    let options = options.with_sampling(sampling);
    let text: String = PROMPTS
        .map(|prompt| story(&portable, prompt, options.clone()))
        .concat();
    let pipeline = portable.text_pipeline();
    let sentences: Vec<_> = pipeline
        .sentences(&text)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(sentences.len() >= 60, "{}", sentences.len());
    let found = portable.reconstruct(&sentences).unwrap();
    let other = int8.reconstruct(&sentences).unwrap();
    let pairs = found.iter().zip(&other);
    let same = pairs.filter(|(a, b)| a.output_ids == b.output_ids).count();
    assert!(
        same * 100 >= sentences.len() * 95,
        "{same} of {} the same",
        sentences.len()
    );
    let exact = found.iter().filter(|found| found.exact).count();
    assert!(
        exact * 100 >= sentences.len() * 80,
        "{exact} of {} exact",
        sentences.len()
    );
}

#[test]
fn text_without_marks_or_letters_is_served() {
    let model = load("cpu-int8");
    let options = || GenerateOptions::default().with_max_sentences(2);
    for prompt in ["a dog", "?!", "...", "\u{1f98a} été ", &"dog ".repeat(200)] {
        let mut session = model.session().unwrap();
        session.append(prompt).unwrap();
        assert_eq!(session.text(), prompt);
        for sentence in session.generate(options()) {
            sentence.unwrap();
        }
    }
}
