//! Classifier-free guidance.

use sllm_ort::{Error, GenerateOptions, SamplingOptions, Session};

use super::{TEXT, few, generate, ids, models, sampled, session, stories, text};

/// Greedy with this scale.
fn guided(scale: f32) -> GenerateOptions {
    let sampling = SamplingOptions::default();
    few().with_sampling(sampling.with_guidance_scale(scale).unwrap())
}

#[test]
fn scale_1_is_no_guidance_and_others_change_what_is_said() {
    let model = stories();
    let said = |options| ids(&generate(&mut session(&model, TEXT), options));
    let plain = said(few().with_sampling(SamplingOptions::default()));
    assert_eq!(said(guided(1.0)), plain);
    assert_ne!(said(guided(3.0)), plain);
    for scale in [0.0, 0.99, 10.1, f32::NAN, f32::INFINITY] {
        let refused = SamplingOptions::default().with_guidance_scale(scale);
        assert!(
            matches!(refused, Err(Error::InvalidOption { .. })),
            "{scale}"
        );
    }
}

/// A row has the same text alone and beside rows with another scale, several hypotheses or none.
#[test]
fn rows_of_a_batch_are_guided_each_by_itself() {
    let model = stories();
    let prompts = [
        TEXT,
        "It is so. ",
        "Tom had a ball. He ran. ",
        "The sun was hot. ",
    ];
    let scaled = |options: GenerateOptions, scale| {
        let sampling = options.sampling_options().unwrap().clone();
        options.with_sampling(sampling.with_guidance_scale(scale).unwrap())
    };
    let with_dry = |options: GenerateOptions| {
        let sampling = options.sampling_options().unwrap().clone();
        options.with_sampling(sampling.with_dry_multiplier(2.0).unwrap())
    };
    let options = [
        guided(2.0),
        guided(1.0),
        scaled(sampled(4), 1.5).with_best_of(3).unwrap(),
        scaled(with_dry(sampled(9)), 2.5),
    ];
    let alone = prompts.iter().zip(&options).map(|(prompt, options)| {
        let mut one = session(&model, prompt);
        generate(&mut one, options.clone());
        one.text()
    });
    let alone: Vec<String> = alone.collect();
    let mut together = prompts.map(|prompt| session(&model, prompt));
    Session::generate_batch(together.iter_mut().zip(options), |_, _| {}).unwrap();
    let together: Vec<String> = together.iter().map(Session::text).collect();
    assert_eq!(together, alone);
}

/// Token-level models have no sentence vector to be led away from.
#[test]
fn only_sentence_level_models_are_guided() {
    for (name, model) in models() {
        let mut session = session(&model, text(&model));
        let found = session.generate(guided(2.0)).collect::<Result<Vec<_>, _>>();
        match (model.config().kind.to_string().as_str(), found) {
            ("opt", Err(Error::InvalidOption { option, .. })) => {
                assert_eq!(option, "guidance-scale");
            }
            ("sllm", Ok(sentences)) => assert!(!sentences.is_empty(), "{name}"),
            (kind, found) => panic!("{name}, {kind}: {found:?}"),
        }
    }
}
