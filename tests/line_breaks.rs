//! In canonical form a model sees no difference between line breaks, and no byte order mark; texts
//! keep their own bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod tiny_tokenizer;

use std::{fs, path::Path};

use proptest::prelude::*;
use sllm_ort::{
    GenerateOptions, LoadOptions, Model, SamplingOptions, Session,
    text::{
        LongSentence, Rule, Segmentation, SentenceTokenizer, Tail, TextPipeline, WhiteSpace,
        with_line_feeds,
    },
};
use tiny_tokenizer::tokenizer;

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Pipelines of all settings in canonical form.
fn pipelines(limit: usize) -> impl Iterator<Item = TextPipeline> {
    (0..8).map(move |number: u8| {
        let is_set = |bit: u8| usize::from(number >> bit & 1);
        let settings = Segmentation::default()
            .with_white_space(WhiteSpace::Canonical)
            .with_rule([Rule::Original, Rule::Clauses][is_set(0)])
            .with_long_sentence([LongSentence::Split, LongSentence::Truncate][is_set(1)])
            .with_tail([Tail::Keep, Tail::Drop][is_set(2)]);
        TextPipeline::new(tokenizer(), settings, limit + 1).unwrap()
    })
}

/// The texts and ids of the sentences of a text, and what is dropped of it.
type Found = (Vec<(String, Vec<u32>)>, String);

fn sentences(pipeline: &TextPipeline, text: &str) -> Found {
    let mut sentences = pipeline.sentences(text).unwrap();
    let found = sentences.by_ref().map(Result::unwrap);
    let found = found.map(|s| (s.text.to_owned(), s.ids)).collect();
    (found, sentences.dropped().to_owned())
}

fn whole(pipeline: &TextPipeline, text: &str) -> Found {
    let found = pipeline.one_sentence(text).unwrap().map(Result::unwrap);
    let found = found.map(|s| (s.text.to_owned(), s.ids)).collect();
    (found, String::new())
}

/// The same with LF for all line breaks and without the byte order mark.
fn plain((sentences, dropped): Found) -> Found {
    let plain = |text: &str| {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        with_line_feeds(text).into_owned()
    };
    let sentences = sentences.into_iter();
    let sentences = sentences.map(|(text, ids)| (plain(&text), ids));
    (sentences.collect(), plain(&dropped))
}

fn check(text: &str, limit: usize) -> Result<(), TestCaseError> {
    for pipeline in pipelines(limit) {
        for cut in [sentences, whole] {
            let expected = cut(&pipeline, text);
            for line_break in ["\n", "\r\n", "\r"] {
                for mark in ["", BYTE_ORDER_MARK] {
                    let other = format!("{mark}{}", text.replace('\n', line_break));
                    let found = cut(&pipeline, &other);
                    prop_assert_eq!(plain(found), expected.clone(), "{:?} {:?}", other, pipeline);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn cases() {
    for text in [
        "",
        "\n",
        "One.\nTwo\n\nThree",
        "\n\n  A long clause, and more, and more.\n",
        "Well, he said\n\nto the dog, go",
        "\nA long clause, and",
        "enormousword\nthe next",
    ] {
        for limit in [4, 9, 500] {
            check(text, limit).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn line_breaks_are_alike(
        text in r#"([a-z]{1,9}|[a-z]{16,30}|[A-Z.,!?:; \n]|\n{1,9}|\n[a-z]| [a-z]|é|“|。){0,40}"#,
        limit in 4usize..60,
    ) {
        check(&text, limit)?;
    }
}

/// A model with canonical white space.
struct Canonical {
    model: Model,
    _folder: tempfile::TempDir,
}

impl Canonical {
    fn new(bundle: &str, rule: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(Path::new(bundle), folder.path());
        let manifest = folder.path().join("sllm.json");
        let mut json: serde_json::Value =
            serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
        json["segmentation"]["rule"] = rule.into();
        json["segmentation"]["white_space"] = "canonical".into();
        fs::write(manifest, json.to_string()).unwrap();
        let options = LoadOptions::default().with_variant("portable");
        let model = Model::load(folder.path(), options).unwrap();
        Self {
            model,
            _folder: folder,
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        ["tests/golden/bundle", "tests/golden/bundle-opt"]
            .into_iter()
            .flat_map(|bundle| ["original", "clauses"].map(|rule| Self::new(bundle, rule)))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// The text with other line breaks, and with a byte order mark.
fn variants(text: &str) -> impl Iterator<Item = String> {
    ["\r\n", "\r"]
        .map(|line_break| text.replace('\n', line_break))
        .into_iter()
        .flat_map(|text| [format!("{BYTE_ORDER_MARK}{text}"), text])
}

/// The next sentences.
fn continued(session: &mut Session, stop_text: Option<&str>) -> Vec<String> {
    let mut options = GenerateOptions::default()
        .with_max_sentences(2)
        .with_ignore_eos(true)
        .with_sampling(SamplingOptions::default());
    if let Some(stop_text) = stop_text {
        options = options.with_stop_text(stop_text).unwrap();
    }
    let sentences = session.generate(options).map(Result::unwrap);
    sentences.map(|sentence| sentence.text).collect()
}

/// The tiny tokenizer knows LF, but neither CR nor a byte order mark.
const TEXT: &str = "The cat sat on the hill\nand the hat.\n\nA dog ran, he.\n";

#[test]
fn sessions_are_alike() {
    for Canonical { model, .. } in Canonical::all() {
        let mut expected = model.session().unwrap();
        expected.append(TEXT).unwrap();
        for text in variants(TEXT) {
            let mut session = model.session().unwrap();
            session.append(&text).unwrap();
            assert_eq!(session.text(), text);
            assert_eq!(session.len(), expected.len());
            assert_eq!(session.tokens(), expected.tokens());
            // Whatever the places where the text is divided.
            let mut in_pieces = model.session().unwrap();
            let mut appender = in_pieces.appender();
            for c in text.chars() {
                appender.push(c.encode_utf8(&mut [0; 4])).unwrap();
            }
            appender.finish().unwrap();
            assert_eq!(in_pieces.text(), text);
            assert_eq!(in_pieces.tokens(), expected.tokens());
            let next = continued(&mut expected.fork().unwrap(), None);
            assert_eq!(continued(&mut session, None), next, "{text:?}");
            assert_eq!(continued(&mut in_pieces, None), next, "{text:?}");
        }
    }
}

#[test]
fn stop_texts_are_alike() {
    for Canonical { model, .. } in Canonical::all() {
        let mut plain = model.session().unwrap();
        plain.append("The cat sat.\n").unwrap();
        let words: String = continued(&mut plain.fork().unwrap(), None).concat();
        let word = words.split_whitespace().next().unwrap();
        for line_break in ["\n", "\r\n", "\r"] {
            let mut session = model.session().unwrap();
            session
                .append(&format!("The cat sat.{line_break}"))
                .unwrap();
            let stop_text = format!("{line_break}{word}");
            assert_eq!(continued(&mut session, Some(&stop_text)).concat(), "");
        }
    }
}

#[test]
fn vectors_are_alike() {
    for rule in ["original", "clauses"] {
        let Canonical { model, .. } = Canonical::new("tests/golden/bundle", rule);
        for text in variants("the cat\nand the hat.\n") {
            let expected = model.encode(&["the cat\nand the hat.\n"]).unwrap();
            assert_eq!(model.encode(&[&text]).unwrap(), expected, "{text:?}");
            let cut = |text| {
                let sentences = model.text_pipeline().sentences(text).unwrap();
                let sentences: Vec<_> = sentences.map(Result::unwrap).collect();
                model.reconstruct(&sentences).unwrap()
            };
            let (found, expected) = (cut(&text), cut("the cat\nand the hat.\n"));
            let input: String = found.iter().map(|one| one.input.as_str()).collect();
            assert_eq!(input, text);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found.input_ids, expected.input_ids);
                assert_eq!(found.output_ids, expected.output_ids);
                // The white space around the words is the input's.
                assert!(found.output.contains(expected.output.trim()));
                let starts = |text: &str| text.starts_with(BYTE_ORDER_MARK);
                assert_eq!(starts(&found.output), starts(&found.input));
                assert_eq!(found.output.ends_with('\r'), found.input.ends_with('\r'));
            }
        }
    }
}

#[test]
fn kept_white_space_stays() {
    let ids = |tokenizer: &SentenceTokenizer, text: &str| tokenizer.encode(text).unwrap();
    let pipeline = TextPipeline::new(tokenizer(), Segmentation::default(), 100).unwrap();
    let pieces = ["\u{feff}One.\r\n", "Two\r", "\u{feff}three. \n\r"];
    let (found, _) = sentences(&pipeline, &pieces.concat());
    let expected = pieces.map(|piece| (piece.to_owned(), ids(pipeline.tokenizer(), piece)));
    assert_eq!(found, expected);
}

#[test]
fn white_space_takes_no_room() {
    let Canonical { model, .. } = Canonical::new("tests/golden/bundle-opt", "clauses");
    let mut session = model.session().unwrap();
    let text = format!("the cat.{}", "\r\n".repeat(10_000));
    session.append(&text).unwrap();
    assert_eq!(session.text(), text);
}
