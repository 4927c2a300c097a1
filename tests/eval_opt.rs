//! Evaluation of models of kind `opt`. That the figures are those of the logits, and these those of
//! PyTorch, is tested where they are computed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod eval_support;
mod support;

use std::path::Path;

use eval_support::{Folder, OTHER, STORY, figures, interrupted, many, model, records, run};
use serde_json::Value;
use sllm_ort::{
    Error,
    error::TextError,
    eval::{EvalOptions, Evaluation},
};
use support::{TINY, TINY_OPT, TINY_ORIGINAL, copy_bundle, edit_manifest, json_lines, program};

/// Records that fit in the contexts of both tiny models.
const SHORT: [&str; 3] = [
    "Hello, the cat sat on the hill. She ran.",
    "and then? the end!\nthe hat, the cat.",
    "Is it so; the end.",
];

fn evaluation(text: &str) -> Evaluation {
    let folder = Folder::new();
    let file = folder.file("text", text);
    run(&model(TINY_OPT, "portable"), &file, &EvalOptions::default()).unwrap()
}

#[test]
fn every_token_is_predicted_once() {
    let text = records(&SHORT);
    let found = evaluation(&text);
    let model = model(TINY_OPT, "portable");
    let ids = |text: &str| model.text_pipeline().tokenizer().encode(text).unwrap();
    let tokens: usize = SHORT.iter().map(|text| ids(text).len() + 1).sum();
    let bytes: usize = SHORT.iter().map(|text| text.len()).sum();
    let token = found.next_token.unwrap();
    assert_eq!((found.records, found.sentences), (3, 9));
    assert_eq!((found.bytes, token.bytes), (bytes as u64, bytes as u64));
    assert_eq!((token.windows, token.tokens), (3, tokens as u64));
    let bits = token.nll / std::f64::consts::LN_2;
    assert!((token.bits_per_byte - bits / bytes as f64).abs() < 1e-12);
    assert!((token.perplexity - (token.nll / tokens as f64).exp()).abs() < 1e-9);
    // Windows of different lengths weigh the same in the paper's mean.
    assert!((token.perplexity - token.paper_perplexity).abs() > 1e-3);

    let firsts: usize = ["Hello,", "and then?", "Is it so;"]
        .iter()
        .map(|text| ids(text).len())
        .sum();
    let next = found.next_sentence.unwrap();
    assert_eq!(next.sentences, 6);
    assert_eq!(next.tokens as usize, tokens - 3 - firsts);
    assert!(next.nll < token.nll);
    assert!(next.note.unwrap().contains("that an sllm predicts"));
}

/// The tiny model was trained on this text.
#[test]
fn a_learned_text_is_predicted() {
    let learned = evaluation("Hello, the cat sat on the hill.").next_token;
    let strange = evaluation("hill the on sat cat the, Hello.").next_token;
    let (learned, strange) = (learned.unwrap(), strange.unwrap());
    assert!(learned.bits_per_byte * 1.5 < strange.bits_per_byte);
    assert!(learned.token_accuracy > strange.token_accuracy);
}

#[test]
fn windows_of_a_long_record_begin_with_bos() {
    // 47 tokens at most: 2 of these sentences.
    let sentence = "the cat sat on it.\n";
    let whole = evaluation(&sentence.repeat(2)).next_token.unwrap();
    let long = evaluation(&sentence.repeat(6)).next_token.unwrap();
    assert_eq!((whole.windows, long.windows), (1, 3));
    // The same window three times, but for eos and the white space between them.
    assert_eq!(long.tokens, 3 * whole.tokens - 2);
    assert_eq!(long.bytes, 3 * whole.bytes);
}

#[test]
fn what_does_not_apply_is_left_out() {
    let value = figures(&evaluation("Hello, the cat."));
    let keys: Vec<_> = value.as_object().unwrap().keys().collect();
    let expected = [
        "bytes",
        "model",
        "next_sentence",
        "next_token",
        "records",
        "sentences",
        "text",
        "truncated_sentences",
        "variant",
    ];
    let mut keys: Vec<_> = keys.into_iter().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(figures(&evaluation("Hello,")).get("next_sentence"), None);
}

/// Nothing of the text is left out, whatever the bundle says of sentences.
#[test]
fn segmentation_of_the_bundle_does_not_matter() {
    let folder = Folder::new();
    let file = folder.file("text", STORY.repeat(4) + &"the hat ".repeat(40) + "the end");
    let strict = folder.path("strict");
    copy_bundle(TINY_OPT, &strict);
    edit_manifest(&strict, |manifest| {
        manifest["segmentation"]["tail"] = "drop".into();
        manifest["segmentation"]["long_sentence"] = "truncate".into();
    });
    let found = [TINY_OPT, strict.to_str().unwrap()].map(|bundle| {
        let model = model(bundle, "portable");
        figures(&run(&model, &file, &EvalOptions::default()).unwrap())
    });
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0]["truncated_sentences"], 0);
}

/// Interrupted after every batch, an evaluation ends with the same figures to the last bit.
#[test]
fn resumed_is_uninterrupted() {
    let folder = Folder::new();
    let state = folder.path("state");
    let one_record = many().replace("\n<|endoftext|>\n", " ");
    let model = model(TINY_OPT, "cpu-int8");
    for text in [many(), one_record] {
        let file = folder.file("text", text);
        for options in [
            EvalOptions::default(),
            EvalOptions::default().with_limit(40).unwrap(),
        ] {
            let whole = run(&model, &file, &options).unwrap();
            let (resumed, runs) = interrupted(&model, &file, options.with_state(&state));
            assert!(runs > 2, "{runs}");
            assert_eq!(figures(&resumed), figures(&whole));
            assert!(!state.exists());
        }
    }
}

#[test]
fn only_the_first_records() {
    let folder = Folder::new();
    let file = folder.file("text", records(&["", SHORT[0], " \n", SHORT[1], SHORT[2]]));
    let model = model(TINY_OPT, "cpu-int8");
    let options = EvalOptions::default().with_limit(2).unwrap();
    let found = run(&model, &file, &options).unwrap();
    assert_eq!(found.records, 2);
    assert_eq!(found.bytes as usize, SHORT[0].len() + SHORT[1].len());
}

#[test]
fn hostile_texts() {
    let folder = Folder::new();
    let tiny = model(TINY_OPT, "cpu-int8");
    let found = |text: &str| {
        let file = folder.file("text", text);
        run(&tiny, &file, &EvalOptions::default())
    };
    for nothing in ["", " \n\t\n", "<|endoftext|>\n\n<|endoftext|>\n"] {
        let empty = found(nothing);
        assert!(
            matches!(empty, Err(Error::Text(TextError::NoSentences { .. }))),
            "{empty:?}"
        );
    }
    // A context of one token beside bos, and a character that needs two.
    let short = folder.path("short");
    copy_bundle(TINY_OPT, &short);
    edit_manifest(&short, |manifest| {
        manifest["model"]["backbone"]["max_positions"] = 2.into()
    });
    let short = model(short.to_str().unwrap(), "cpu-int8");
    let file = folder.file("text", "a, \naé.");
    match run(&short, &file, &EvalOptions::default()) {
        Err(Error::Text(TextError::Unusable { byte, source, .. })) => {
            assert_eq!(byte, 5);
            assert!(matches!(
                *source,
                Error::Text(TextError::CharacterTooLong { .. })
            ));
        }
        other => panic!("{other:?}"),
    }
    // White space that fills contexts, text without any, and one mark after the other.
    for text in [
        format!("a.{}b.", "\n".repeat(500)),
        "a".repeat(500),
        ".".repeat(500),
        format!("{}.", "é".repeat(99)),
    ] {
        let found = found(&text).unwrap();
        let token = found.next_token.unwrap();
        assert!(token.nll.is_finite() && token.windows > 1, "{token:?}");
    }
}

fn compare(text: &Path, models: [&str; 2]) -> Value {
    let mut command = program();
    command
        .args(["eval", "--model", models[0], "--baseline", models[1]])
        .args(["--variant", "portable", "--baseline-variant", "portable"])
        .arg("--text")
        .arg(text);
    json_lines(&mut command).remove(0)
}

#[test]
fn a_baseline_is_measured_on_the_same_text() {
    let folder = Folder::new();
    let file = folder.file("text", records(&SHORT));
    for models in [[TINY, TINY_OPT], [TINY_OPT, TINY_ORIGINAL]] {
        let found = compare(&file, models);
        let [model, baseline] = ["model", "baseline"].map(|name| &found[name]["next_sentence"]);
        assert_eq!(model["bytes"], baseline["bytes"]);
        assert_eq!(model["sentences"], baseline["sentences"]);
        assert!(model["bits_per_byte"].is_f64() && baseline["bits_per_byte"].is_f64());
        assert_eq!(found["model"]["bytes"], found["baseline"]["bytes"]);
    }
}

fn table(text: &Path, models: [&str; 2]) -> String {
    let output = program()
        .args(["eval", "--model", models[0], "--baseline", models[1]])
        .arg("--text")
        .arg(text)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_table_has_a_dash_where_a_model_has_no_figure() {
    let folder = Folder::new();
    let file = folder.file("text", records(&SHORT));
    let table = table(&file, [TINY_ORIGINAL, TINY_OPT]);
    let marks = ["kind opt", "2408.00655", "the two cut"];
    let is_note = |line: &&str| marks.iter().any(|mark| line.contains(mark));
    let (notes, rows): (Vec<&str>, Vec<&str>) = table.lines().partition(is_note);
    let ends = |name: &str| -> Vec<bool> {
        let row = rows.iter().find(|row| row.starts_with(name)).unwrap();
        let mut figures = row[name.len()..].split_whitespace();
        let first = figures.next() == Some("-");
        vec![first, figures.next_back().unwrap_or("-") == "-"]
    };
    assert_eq!(ends("reconstruction: perplexity"), [false, true]);
    assert_eq!(ends("next sentence: perplexity"), [false, false]);
    assert_eq!(ends("bidirectional: perplexity"), [false, true]);
    assert_eq!(ends("next token: perplexity"), [true, false]);
    assert_eq!(ends("stop: accuracy"), [false, true]);
    let width = rows[0].chars().count();
    assert!(
        rows.iter().all(|row| row.chars().count() == width),
        "{table}"
    );
    assert!(
        notes[0].starts_with("next sentence: of kind opt"),
        "{table}"
    );
    assert!(
        notes[1].starts_with("bidirectional: as in arXiv 2408.00655"),
        "{table}"
    );
    // Text that the bundle of the original drops is not that of the other.
    assert!(notes.len() <= 3, "{table}");
}

#[test]
fn a_text_that_is_not_the_same_is_told() {
    let folder = Folder::new();
    let file = folder.file("text", OTHER.repeat(9));
    let table = table(&file, [TINY, TINY_OPT]);
    assert!(table.contains("not quite the same one"), "{table}");
}
