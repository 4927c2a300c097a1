use serde_json::Value;

use super::*;
use crate::{
    LoadOptions, Model,
    eval::{
        records::Position,
        score::tests::{assert_close, by_definition},
        window_limit::WindowLimit,
        windows::Windows,
    },
    model::Network,
};

/// Variants, and how far their numbers may be from those of PyTorch.
const VARIANTS: [(&str, f64); 2] = [("portable", 1e-4), ("cpu-int8", 0.1)];
const TEXT: &str = "Hello, the cat sat on the hill. She ran，and then.. the end";

fn load(variant: &str) -> Model {
    let options = LoadOptions::default().with_variant(variant);
    Model::load("tests/golden/bundle-opt", options).unwrap()
}

fn window(model: &Model, text: &str) -> Window {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let (pipeline, limit) = (model.text_pipeline(), WindowLimit::Tokens(47));
    let mut windows = Windows::open(pipeline, file.path(), Position::default(), limit).unwrap();
    windows.next_window().unwrap().unwrap()
}

fn network(model: &Model) -> &TokenModel {
    match model.network() {
        Network::Tokens(network) => network,
        _ => panic!("the model is token-level"),
    }
}

/// Logits in front of each of `targets`, from one run over all of them.
fn logits(model: &Model, targets: &[u32]) -> Vec<Vec<f32>> {
    let graph = &network(model).graph;
    let ids = model.shared().prompt_ids(targets.to_vec());
    let inputs = &ids[..targets.len()];
    let mut cache = graph.cached().cache(1).unwrap();
    let logits = graph.append_all(&mut cache, inputs).unwrap();
    let rows = logits.chunks_exact(model.config().vocab_size);
    rows.map(<[f32]>::to_vec).collect()
}

#[test]
fn scores_are_those_of_pytorch() {
    let golden = std::fs::read("tests/golden/tiny-opt/expected.json").unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let ids: Vec<u32> = serde_json::from_value(golden["opt"]["input_ids"][0].clone()).unwrap();
    let logits: Vec<Vec<f32>> = serde_json::from_value(golden["opt"]["logits"][0].clone()).unwrap();
    for (variant, tolerance) in VARIANTS {
        let model = load(variant);
        let targets = [&ids[1..], &[51]].concat();
        let found = TokenMeasure::new(network(&model))
            .unwrap()
            .score(&targets)
            .unwrap();
        let expected = by_definition(&logits, &targets);
        assert_close(total(&found), expected, tolerance, variant);
    }
}

#[test]
fn in_runs_is_at_once() {
    for (variant, _) in VARIANTS {
        let model = load(variant);
        let targets: Vec<u32> = (0..47).map(|i| 4 + (i * 7) % 57).collect();
        let expected = by_definition(&logits(&model, &targets), &targets);
        let mut measure = TokenMeasure::new(network(&model)).unwrap();
        for run_tokens in [1, 2, 7, 46, 47, 100] {
            measure.run_tokens = run_tokens;
            let found = measure.score(&targets).unwrap();
            assert_eq!(found.len(), targets.len());
            assert_close(total(&found), expected, 1e-4, variant);
        }
        assert_eq!(measure.score(&[]).unwrap(), []);
    }
}

/// What a window adds, from the logits in front of each of its tokens.
#[test]
fn sums_are_those_of_the_logits() {
    for (variant, _) in VARIANTS {
        let model = load(variant);
        let window = window(&model, TEXT);
        assert!(window.ends_record);
        let mut sums = Sums::default();
        let mut measure = TokenMeasure::new(network(&model)).unwrap();
        measure
            .add(std::slice::from_ref(&window), &mut sums)
            .unwrap();

        let tokenizer = model.text_pipeline().tokenizer();
        let ids = tokenizer.encode(TEXT).unwrap();
        let targets = [ids.as_slice(), &[model.config().tokens.eos]].concat();
        let logits = logits(&model, &targets);
        let all = by_definition(&logits, &targets);
        let first = tokenizer.encode("Hello,").unwrap().len();
        let following = by_definition(&logits[first..ids.len()], &ids[first..]);

        let found = sums.next_token.report_tokens().unwrap();
        let bytes = TEXT.len() as u64;
        assert_eq!((found.windows, found.bytes), (1, bytes));
        let close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-4;
        assert_eq!(found.tokens, all.tokens);
        assert!(close(found.nll, all.nll), "{found:?}, {all:?}");
        assert!(close(found.paper_perplexity, all.mean().exp()));
        let bits = all.nll / 2f64.ln() / bytes as f64;
        assert!(close(found.bits_per_byte, bits));
        assert_eq!(found.token_accuracy, all.correct as f64 / all.tokens as f64);

        let found = sums.next_sentence.report(None).unwrap();
        let bytes = bytes - "Hello, ".len() as u64;
        assert_eq!((found.sentences, found.bytes), (5, bytes));
        assert_eq!(found.tokens, following.tokens);
        assert!(close(found.nll, following.nll));
        let bits = following.nll / 2f64.ln() / bytes as f64;
        assert!(close(found.bits_per_byte, bits));
    }
}

#[test]
fn tokens_belong_to_the_sentence_in_which_they_end() {
    let model = load("portable");
    let measure = TokenMeasure::new(network(&model)).unwrap();
    let tokenizer = model.text_pipeline().tokenizer();
    // The first sentence, the rest, and how many tokens of both together are the first one's.
    for (first, rest, expected) in [
        ("a. ", "the", 2),
        ("a. ", "I", 3),
        ("a.", "I", 2),
        ("a.\n\n", "I", 4),
        ("é，", "é", 5),
        ("a，", "，", 4),
        ("a.", "", 2),
        ("", "a", 0),
    ] {
        let ids = tokenizer.encode(&format!("{first}{rest}")).unwrap();
        let found = measure.tokens_within(first.len(), &ids).unwrap();
        assert_eq!(found, expected, "{first:?} {rest:?}");
    }
}

/// Records of one window end with eos, windows within a record do not, and text between them is not
/// measured.
#[test]
fn only_the_end_of_a_record_has_eos() {
    let model = load("portable");
    let tokenizer = model.text_pipeline().tokenizer();
    let window = window(&model, &"the cat sat on it.\n\n".repeat(9));
    assert!(!window.ends_record && window.text().ends_with("\n\n"));
    let mut sums = Sums::default();
    let mut measure = TokenMeasure::new(network(&model)).unwrap();
    measure
        .add(std::slice::from_ref(&window), &mut sums)
        .unwrap();
    let text = window.text();
    let ids = tokenizer.encode(text.trim_end()).unwrap();
    let found = sums.next_token.report_tokens().unwrap();
    assert_eq!(found.tokens, ids.len() as u64);
    assert_eq!(found.bytes, text.trim_end().len() as u64);
}
