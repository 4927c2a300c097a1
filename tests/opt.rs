//! Token-level OPT models: against PyTorch's numbers, and what a context of tokens does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use sllm_ort::{
    Error, GenerateOptions, LoadOptions, Model, Provider, ProviderChoice, SamplingOptions, Session,
};

const BUNDLE: &str = "tests/golden/bundle-opt";
/// The same weights; its graph chooses the best tokens.
const FAST: &str = "tests/golden/bundle-opt-fast";
const POST_NORM: &str = "tests/golden/bundle-opt-post";
const PROMPT: &str = "Hello, ";

/// The same weights in float16.
const HALF: &str = "tests/golden/bundle-opt-half";

fn models() -> [Model; 4] {
    let [portable, int8] = variants(BUNDLE);
    [
        portable,
        int8,
        Model::load(FAST, LoadOptions::default()).unwrap(),
        half(),
    ]
}

/// On the processor, for which it was not made.
fn half() -> Model {
    let options = LoadOptions::default()
        .with_provider(ProviderChoice::Only(Provider::Cpu))
        .with_variant("cuda-fp16");
    Model::load(HALF, options).unwrap()
}

fn variants(bundle: &str) -> [Model; 2] {
    ["portable", "cpu-int8"]
        .map(|variant| Model::load(bundle, LoadOptions::default().with_variant(variant)).unwrap())
}

fn expected_ids() -> Vec<u32> {
    expected_ids_of("tiny-opt")
}

fn expected_ids_of(name: &str) -> Vec<u32> {
    let golden = std::fs::read(format!("tests/golden/{name}/expected.json")).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    serde_json::from_value(golden["generation"]["token_ids"].clone()).unwrap()
}

fn prompted(model: &Model, prompt: &str) -> Session {
    let mut session = model.session().unwrap();
    session.append(prompt).unwrap();
    session
}

fn continuation(session: &mut Session) -> Vec<u32> {
    let sentences = session.generate(GenerateOptions::default());
    sentences
        .flat_map(|sentence| sentence.unwrap().token_ids)
        .collect()
}

#[test]
fn greedy_ids_are_those_of_pytorch() {
    for model in models() {
        let mut session = prompted(&model, PROMPT);
        assert_eq!(session.len(), 1);
        assert_eq!(
            continuation(&mut session),
            expected_ids(),
            "{}",
            model.variant()
        );
        assert_eq!(session.text(), "Hello, hcat sat on the hill. She ran，");
        assert_eq!(session.len(), 3);
    }
}

/// As OPT-350M: norms behind, no final norm, `project_in` and `project_out`.
#[test]
fn the_same_with_norms_behind() {
    for model in variants(POST_NORM) {
        let mut session = prompted(&model, PROMPT);
        let expected = expected_ids_of("tiny-opt-post");
        assert_eq!(continuation(&mut session), expected, "{}", model.variant());
    }
}

#[test]
fn sentences_end_where_the_text_is_cut() {
    let mut session = prompted(&models()[0], PROMPT);
    let mut streamed = String::new();
    let mut generation = session.generate(GenerateOptions::default());
    let mut texts = Vec::new();
    while let Some(sentence) = generation.next_with(|text| streamed.push_str(text)) {
        let sentence = sentence.unwrap();
        assert!((0.0..0.5).contains(&sentence.stop_probability));
        texts.push(sentence.text);
    }
    assert_eq!(generation.finish_reason().unwrap().as_str(), "stop");
    assert_eq!(texts, ["hcat sat on the hill. ", "She ran，"]);
    assert_eq!(streamed, texts.concat());
}

/// Stopping after each sentence, and going on, changes nothing.
#[test]
fn one_sentence_at_a_time() {
    for model in models() {
        let mut session = prompted(&model, PROMPT);
        let one = || GenerateOptions::default().with_max_sentences(1);
        let mut ids = Vec::new();
        for _ in 0..2 {
            let mut generation = session.generate(one());
            ids.extend(generation.next().unwrap().unwrap().token_ids);
            assert!(generation.next().is_none());
        }
        assert_eq!(ids, expected_ids(), "{}", model.variant());
    }
}

#[test]
fn a_saved_context_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.session");
    for model in models() {
        let mut session = prompted(&model, PROMPT);
        session
            .generate(GenerateOptions::default().with_max_sentences(1))
            .next();
        session.save(&path).unwrap();
        let mut loaded = Session::load(&model, &path).unwrap();
        assert_eq!(loaded.text(), session.text());
        let rest = continuation(&mut loaded);
        assert_eq!(rest, continuation(&mut session));
        assert!(expected_ids().ends_with(&rest) && !rest.is_empty());
        model.session().unwrap().save(&path).unwrap();
        assert!(Session::load(&model, &path).unwrap().is_empty());
    }
}

#[test]
fn a_context_is_filled_and_cleared() {
    for model in models() {
        let mut session = prompted(&model, PROMPT);
        let endless = || {
            GenerateOptions::default()
                .with_ignore_eos(true)
                .with_max_sentences(100)
        };
        let mut generation = session.generate(endless());
        let tokens: usize = generation
            .by_ref()
            .map(|sentence| sentence.unwrap().token_ids.len())
            .sum();
        assert_eq!(generation.finish_reason().unwrap().as_str(), "context_full");
        assert_eq!(tokens, 48 - 7, "all positions but those of the prompt");
        let full = session.append("a");
        assert!(
            matches!(
                full,
                Err(Error::ContextFull {
                    unit: "tokens",
                    held: 48,
                    limit: 48
                })
            ),
            "{full:?}"
        );
        session.clear().unwrap();
        assert!(session.is_empty());
        session.append(PROMPT).unwrap();
        assert_eq!(continuation(&mut session), expected_ids());
        let long = model.session().unwrap().append(&PROMPT.repeat(20));
        assert!(
            matches!(long, Err(Error::ContextFull { held: 0, .. })),
            "{long:?}"
        );
    }
}

/// The stop text is in the first token: what was computed for it is undone.
#[test]
fn a_sentence_that_is_not_given_leaves_no_trace() {
    for model in models() {
        let mut session = prompted(&model, PROMPT);
        let options = GenerateOptions::default().with_stop_text("hcat").unwrap();
        let mut generation = session.generate(options);
        assert!(generation.next().is_none());
        assert_eq!(generation.finish_reason().unwrap().as_str(), "stop_text");
        assert_eq!(session.text(), PROMPT);
        assert_eq!(
            continuation(&mut session),
            expected_ids(),
            "{}",
            model.variant()
        );
    }
}

#[test]
fn what_needs_sentence_vectors_is_refused() {
    let model = &models()[0];
    let vector = ndarray::Array1::<f32>::zeros(16);
    for refused in [
        model.encode(&["a"]).err(),
        model.decode(vector.view()).err(),
        model.reconstruct(&[]).err(),
    ] {
        assert!(
            matches!(refused, Some(Error::WrongKind { .. })),
            "{refused:?}"
        );
    }
}

/// Also where a character is several tokens: none of them is in one sentence and its text in another.
#[test]
fn the_text_of_a_sentence_is_that_of_its_tokens() {
    let model = &models()[0];
    for seed in 0..40 {
        let sampling = SamplingOptions::default()
            .with_temperature(3.0)
            .unwrap()
            .with_seed(seed);
        let options = GenerateOptions::default()
            .with_ignore_eos(true)
            .with_sampling(sampling);
        let mut session = prompted(model, "the cat. ");
        let generated: Vec<_> = session
            .generate(options)
            .map(|sentence| sentence.unwrap())
            .collect();
        for sentence in &generated {
            let text = model
                .text_pipeline()
                .tokenizer()
                .decode(&sentence.token_ids);
            assert_eq!(sentence.text, text.unwrap(), "seed {seed}: {sentence:?}");
        }
        let texts: String = generated.iter().map(|sentence| &*sentence.text).collect();
        assert_eq!(session.text(), format!("the cat. {texts}"));
    }
}

/// A text of many megabytes is refused at once.
#[test]
fn a_text_that_is_far_too_long_is_not_tokenized() {
    let model = Model::load("tests/golden/bundle-opt", LoadOptions::default()).unwrap();
    let mut session = model.session().unwrap();
    let long = "the cat sat. ".repeat(4 << 20);
    let started = std::time::Instant::now();
    let refused = session.append(&long);
    assert!(
        matches!(refused, Err(Error::ContextFull { .. })),
        "{refused:?}"
    );
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    assert!(session.is_empty());
}
