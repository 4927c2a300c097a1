//! What a session can do beside growing: forks, going back, limits, choices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "session/choices.rs"]
mod choices;
#[path = "session/edits.rs"]
mod edits;
#[path = "session/guidance.rs"]
mod guidance;
#[path = "session/limits.rs"]
mod limits;

use sllm_ort::{
    GenerateOptions, LoadOptions, Model, SamplingOptions, Sentence, Session, config::ModelKind,
};

const TEXT: &str = "The cat sat on the hill. She ran to the tree. The end was near. It is so. ";
/// The same number of sentences for a context of few tokens.
const SHORT_TEXT: &str = "A cat. It is. So. He ran. ";
/// Bundles of models with a context, and their variants.
const MODELS: [(&str, &[&str]); 4] = [
    ("tests/golden/bundle", &["portable", "cpu-int8"]),
    ("tests/golden/bundle-original", &["portable", "cpu-int8"]),
    ("tests/golden/bundle-opt", &["portable", "cpu-int8"]),
    // Its 8 bit variant rounds otherwise where more sentences are encoded at a time.
    ("models/sllm-stories", &["portable"]),
];

fn models() -> Vec<(String, Model)> {
    let variants = MODELS.iter().flat_map(|(bundle, variants)| {
        let name = move |variant: &&str| ((*bundle).to_owned(), (*variant).to_owned());
        variants.iter().map(name)
    });
    variants
        .map(|(bundle, variant)| {
            let options = LoadOptions::default().with_variant(&variant);
            let model = Model::load(&bundle, options).unwrap();
            (format!("{bundle} {variant}"), model)
        })
        .collect()
}

fn text(model: &Model) -> &'static str {
    match model.config().kind {
        ModelKind::Opt => SHORT_TEXT,
        _ => TEXT,
    }
}

fn stories() -> Model {
    let options = LoadOptions::default().with_variant("portable");
    Model::load("models/sllm-stories", options).unwrap()
}

fn session(model: &Model, text: &str) -> Session {
    let mut session = model.session().unwrap();
    session.append(text).unwrap();
    session
}

fn few() -> GenerateOptions {
    GenerateOptions::default()
        .with_max_sentences(3)
        .with_ignore_eos(true)
        .with_sampling(SamplingOptions::default())
}

fn sampled(seed: u64) -> GenerateOptions {
    let sampling = SamplingOptions::default().with_temperature(1.0).unwrap();
    few().with_sampling(sampling.with_seed(seed))
}

fn generate(session: &mut Session, options: GenerateOptions) -> Vec<Sentence> {
    session.generate(options).map(Result::unwrap).collect()
}

fn ids(sentences: &[Sentence]) -> Vec<Vec<u32>> {
    sentences.iter().map(|s| s.token_ids.clone()).collect()
}
