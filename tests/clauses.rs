//! The segmentation rule `clauses` and canonical white space, which `sllm_train` has in Python too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod tiny_tokenizer;

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde::Deserialize;
use sllm_ort::text::{Rule, Segmentation, TextPipeline, WhiteSpace};
use tiny_tokenizer::tokenizer;

#[derive(Deserialize)]
struct Table {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    pieces: Vec<String>,
    canonical: Vec<String>,
}

fn segmentation() -> Segmentation {
    Segmentation::default()
        .with_rule(Rule::Clauses)
        .with_white_space(WhiteSpace::Canonical)
}

fn pieces(text: &str) -> Vec<&str> {
    segmentation().segments(text).collect()
}

#[test]
fn table() {
    let table: Table = serde_json::from_str(include_str!("data/segmentation.json")).unwrap();
    assert!(table.cases.len() > 50);
    let failed: Vec<_> = table
        .cases
        .iter()
        .filter(|case| pieces(&case.text) != case.pieces)
        .map(|case| (&case.text, &case.pieces, pieces(&case.text)))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn pipeline(limit: usize) -> TextPipeline {
    TextPipeline::new(tokenizer(), segmentation(), limit + 1).unwrap()
}

/// Texts and token ids of the sentences of `text`.
fn sentences(pipeline: &TextPipeline, text: &str) -> Vec<(String, Vec<u32>)> {
    let sentences = pipeline.sentences(text).unwrap();
    sentences
        .map(|sentence| sentence.map(|s| (s.text.to_owned(), s.ids)).unwrap())
        .collect()
}

#[test]
fn the_model_sees_the_canonical_form() {
    let table: Table = serde_json::from_str(include_str!("data/segmentation.json")).unwrap();
    let pipeline = pipeline(500);
    for case in &table.cases {
        let seen: Vec<String> = sentences(&pipeline, &case.text)
            .iter()
            .map(|(_, ids)| pipeline.tokenizer().decode(ids).unwrap())
            .collect();
        let wanted: Vec<_> = case
            .canonical
            .iter()
            .filter(|form| !form.is_empty())
            .collect();
        assert_eq!(seen.iter().collect::<Vec<_>>(), wanted, "{:?}", case.text);
    }
}

/// Lines that say nothing belong to a sentence beside them, so that no text is lost.
#[test]
fn what_says_nothing_is_part_of_a_sentence() {
    let text =
        "\u{200b}\n \u{feff}\nOne.\n\u{200b}\n\u{ad}\nTwo, \u{2060}three. \u{200b}\n\u{200b}";
    for limit in [500, 6] {
        let found = sentences(&pipeline(limit), text);
        let texts: String = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, text);
        let plain = sentences(&pipeline(limit), "One.\nTwo, three.");
        assert!(
            found
                .iter()
                .map(|(_, ids)| ids)
                .eq(plain.iter().map(|(_, ids)| ids))
        );
    }
    assert_eq!(sentences(&pipeline(500), "\u{200b}\n\u{200b}"), []);
}

#[test]
fn the_end_of_a_text_changes_nothing() {
    let starts = [
        "The dog ran home.",
        "One. Two!",
        "Is it?",
        "He said, \"Go.\"",
        "(He went.)",
        "The dog ran",
        "A list: of things;",
        "走吧！",
        "Line one\nline two",
    ];
    let ends = [
        "",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\r",
        "\n\n",
        " \n ",
        "\u{a0}",
        "\u{2028}",
        "\u{200b}",
        " \u{feff}",
        "\n\u{2060} \u{ad}\n",
    ];
    for (start, limit) in starts.iter().flat_map(|start| [(start, 500), (start, 6)]) {
        let pipeline = pipeline(limit);
        let seen: BTreeSet<Vec<Vec<u32>>> = ends
            .iter()
            .map(|end| {
                let text = [start, *end].concat();
                let sentences = sentences(&pipeline, &text);
                let joined: String = sentences.iter().map(|(text, _)| text.as_str()).collect();
                assert_eq!(joined, text);
                sentences.into_iter().map(|(_, ids)| ids).collect()
            })
            .collect();
        assert_eq!(seen.len(), 1, "{start:?}, limit {limit}");
    }
}

#[test]
fn long_sentences_are_split_into_similar_parts() {
    // A token is a byte here, with few exceptions.
    let pipeline = pipeline(40);
    let text = "the fox went over the hill and down to the river where it sat";
    let parts = sentences(&pipeline, text);
    let texts: Vec<_> = parts.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "the fox went over the hill and down ",
            "to the river where it sat"
        ]
    );
    assert!(parts.iter().all(|(_, ids)| ids.len() <= 40));
}

#[test]
fn decoded_sentences_are_separated() {
    let pipeline = pipeline(40);
    for (decoded, text) in [
        (" The dog ran.", "The dog ran. "),
        ("The dog ran.\n", "The dog ran.\n"),
        ("  Two  words \n\n", "Two  words\n"),
        ("", ""),
        (" ", ""),
    ] {
        let ids = pipeline.tokenizer().encode(decoded).unwrap();
        assert_eq!(pipeline.decode(&ids).unwrap(), text, "{decoded:?}");
        let mut stream = pipeline.detokenizer();
        let mut streamed = String::new();
        for id in ids {
            streamed += stream.push(id).unwrap().unwrap_or_default();
        }
        streamed += stream.finish().unwrap().unwrap_or_default();
        assert_eq!(streamed, text, "{decoded:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn pieces_join_back(
        text in r#"([a-zA-Z]{1,4}|[0-9]|[.,:;!?…'")(—@/]|[ \t\n\r]|。|“|”|é|😀|\PC){0,60}"#
    ) {
        let found = pieces(&text);
        prop_assert_eq!(found.concat(), text.as_str());
        prop_assert!(found.iter().all(|piece| !piece.is_empty()));
        // Cutting again finds no other places.
        for piece in &found {
            let again = pieces(piece.trim_end());
            prop_assert!(again.len() <= 1, "{:?} in {:?}", again, text);
        }
    }

    #[test]
    fn sentences_join_back_and_fit(
        text in r#"([a-z]{1,12}|[.,!? \n]|😀){0,80}"#,
        limit in 4usize..40,
    ) {
        let found = sentences(&pipeline(limit), &text);
        let joined: String = found.iter().map(|(text, _)| text.as_str()).collect();
        if !text.trim().is_empty() {
            prop_assert_eq!(joined, text);
        }
        prop_assert!(found.iter().all(|(_, ids)| (1..=limit).contains(&ids.len())));
    }
}
