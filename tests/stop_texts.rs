//! Stop texts, wherever they occur in a continuation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;

use sllm_ort::{Batch, BatchEvent, FinishReason, GenerateOptions, Model, SamplingOptions, Session};
use support::load;

/// Bundles, their variants, and how many sentences are generated.
const MODELS: [(&str, &str, usize); 3] = [
    ("tests/golden/bundle", "portable", 4),
    ("tests/golden/bundle-opt", "portable", 4),
    ("models/sllm-stories", "portable", 6),
];
const PROMPT: &str = "It is so. ";

fn options(sentences: usize) -> GenerateOptions {
    let sampling = SamplingOptions::default().with_temperature(0.7).unwrap();
    GenerateOptions::default()
        .with_max_sentences(sentences)
        .with_ignore_eos(true)
        .with_sampling(sampling.with_seed(5))
}

fn session(model: &Model) -> Session {
    let mut session = model.session().unwrap();
    session.append(PROMPT).unwrap();
    session
}

/// The text as it is decoded, the texts of the sentences, and why it ended.
fn continued(model: &Model, options: GenerateOptions) -> (String, String, FinishReason) {
    let mut session = session(model);
    let mut generation = session.generate(options);
    let (mut streamed, mut given) = (String::new(), String::new());
    while let Some(sentence) = generation.next_with(|text| streamed.push_str(text)) {
        given += &sentence.unwrap().text;
    }
    let reason = generation.finish_reason().unwrap();
    (streamed, given, reason)
}

/// What is left of a continuation of the prompt that stops at a text that is in it.
fn before<'t>(whole: &'t str, stop_text: &str) -> &'t str {
    let space = &PROMPT[PROMPT.trim_end().len()..];
    let joined = format!("{space}{whole}");
    let mut starts = joined.match_indices(stop_text).map(|(start, _)| start);
    let start = starts.find(|start| start + stop_text.len() > space.len());
    &whole[..start.unwrap().saturating_sub(space.len())]
}

/// Texts out of a text: at `places` places, of several lengths, the whole text too.
fn parts(text: &str, places: usize) -> Vec<&str> {
    let starts: Vec<usize> = text.char_indices().map(|(start, _)| start).collect();
    let every = starts.len().div_ceil(places);
    let mut parts = vec![text];
    for &start in starts.iter().step_by(every) {
        for length in [1, 2, 7, 25] {
            parts.extend(text.get(start..start + length));
        }
    }
    parts
}

#[test]
fn a_stop_text_ends_the_text_wherever_it_is() {
    for (bundle, variant, sentences) in MODELS {
        let model = load(bundle, variant);
        let (whole, given, _) = continued(&model, options(sentences));
        assert_eq!(whole, given);
        for stop_text in parts(&whole, 12) {
            let options = options(sentences).with_stop_text(stop_text).unwrap();
            let (streamed, given, reason) = continued(&model, options);
            let name = format!("{bundle}: {stop_text:?} in {whole:?}");
            assert_eq!(streamed, before(&whole, stop_text), "{name}");
            assert_eq!(reason, FinishReason::StopText, "{name}");
            // Sentences that were given out before stay whole.
            assert!(whole.starts_with(&given), "{name}");
            assert!(given.starts_with(&streamed), "{name}");
            assert!(!given.contains(stop_text), "{name}");
        }
    }
}

#[test]
fn text_that_only_begins_like_a_stop_text_is_given() {
    for (bundle, variant, sentences) in MODELS {
        let model = load(bundle, variant);
        let (whole, _, reason) = continued(&model, options(sentences));
        let ends = whole.char_indices().map(|(start, _)| &whole[start..]);
        for end in ends.step_by(3).chain([whole.as_str()]) {
            let options = options(sentences);
            let options = options.with_stop_text(format!("{end}\u{1}")).unwrap();
            let expected = (whole.clone(), whole.clone(), reason);
            assert_eq!(continued(&model, options), expected, "{bundle}: {end:?}");
        }
    }
}

#[test]
fn the_best_of_several_sentences_stops_too() {
    let (bundle, variant, sentences) = MODELS[2];
    let model = load(bundle, variant);
    let options = || options(sentences).with_best_of(3).unwrap();
    let (whole, ..) = continued(&model, options());
    let (end, _) = whole.char_indices().nth_back(9).unwrap();
    let near = options().with_stop_text(format!("{}\u{1}", &whole[end..]));
    assert_eq!(continued(&model, near.unwrap()).0, whole);
    // A candidate that stops is shorter, so that another one may be chosen.
    for stop_text in parts(&whole, 8) {
        let options = options().with_stop_text(stop_text).unwrap();
        let (streamed, given, _) = continued(&model, options);
        assert!(!streamed.contains(stop_text), "{stop_text:?}");
        assert!(given.starts_with(&streamed), "{stop_text:?}");
    }
}

#[test]
fn rows_of_a_batch_stop_alone() {
    for (bundle, variant, sentences) in MODELS {
        let model = load(bundle, variant);
        let (whole, ..) = continued(&model, options(sentences));
        let mut batch = Batch::new(&model).unwrap();
        let mut expected = HashMap::new();
        for stop_text in parts(&whole, 5) {
            let options = options(sentences).with_stop_text(stop_text).unwrap();
            let row = batch.join(session(&model), options).unwrap();
            expected.insert(row, before(&whole, stop_text).to_owned());
        }
        let mut streamed: HashMap<usize, String> = HashMap::new();
        while !batch.is_empty() {
            batch.step(|row, event| {
                let text = streamed.entry(row).or_default();
                match event {
                    BatchEvent::Text(piece) => text.push_str(piece),
                    BatchEvent::Ended { result, .. } => {
                        assert_eq!(result.unwrap(), FinishReason::StopText);
                    }
                    _ => {}
                }
            });
        }
        assert_eq!(streamed, expected, "{bundle}");
    }
}
