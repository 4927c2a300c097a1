//! Tokens of a text, and text of tokens, at once and as a stream.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod tiny_tokenizer;

use proptest::prelude::*;
use serde_json::{Value, json};
use sllm_ort::{
    Error,
    error::{BundleError, TextError},
    text::SentenceTokenizer,
};
use tiny_tokenizer::{load, tokenizer, without_byte_level};

#[test]
fn nothing_is_added_cut_or_padded() {
    let tokenizer = tokenizer();
    assert!(tokenizer.encode("").unwrap().is_empty());
    // The file asks for `</s>` in front, 8 tokens at most, 16 at least.
    assert_eq!(tokenizer.encode("hello wor").unwrap().len(), 2);
    assert_eq!(tokenizer.encode("xyzxyzxyzxyz").unwrap().len(), 12);
}

#[test]
fn special_tokens_in_text_are_text() {
    let mut common = tiny_tokenizer::json();
    for token in common["added_tokens"].as_array_mut().unwrap() {
        token["special"] = json!(false);
    }
    let mut unlisted = tiny_tokenizer::json();
    unlisted["added_tokens"] = json!([]);
    for json in [tiny_tokenizer::json(), common, unlisted] {
        let tokenizer = load(&json).unwrap();
        for text in ["</s>", "<pad>", "a </s> b", "<<pad></s>"] {
            let ids = tokenizer.encode(text).unwrap();
            assert!(!ids.contains(&1) && !ids.contains(&2), "{text:?}: {ids:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
        assert_eq!(tokenizer.decode(&[2, 1, 2]).unwrap(), "");
    }
}

#[test]
fn ids_without_text() {
    for tokenizer in [tokenizer(), without_byte_level()] {
        // Special, beyond the tokenizer but inside the model, beyond everything.
        assert_eq!(tokenizer.decode(&[2, 1, 271, u32::MAX]).unwrap(), "");
    }
    assert_eq!(tokenizer().vocab_size(), 270);
    assert_eq!(tokenizer().token_bytes(u32::MAX), Some(&[][..]));
    assert_eq!(without_byte_level().token_bytes(3), None);
}

#[test]
fn unusable_tokenizers() {
    let edit = |path: &str, value: Value| {
        let mut json = tiny_tokenizer::json();
        *json.pointer_mut(path).unwrap() = value;
        load(&json).unwrap_err()
    };
    let mut whole_words = tiny_tokenizer::json();
    whole_words["model"]["ignore_merges"] = json!(true);
    whole_words["pre_tokenizer"]["use_regex"] = json!(false);
    let mismatches = [
        (edit("/model/vocab/<pad>", json!(272)), "vocab_size"),
        (edit("/model/dropout", json!(0.5)), "dropout"),
        (load(&whole_words).unwrap_err(), "turned into bos"),
    ];
    for (error, expected) in mismatches {
        let text = error.to_string();
        assert!(
            matches!(error, Error::Bundle(BundleError::TokenizerMismatch { .. })),
            "{text}"
        );
        assert!(text.contains(expected) && !text.contains('\n'), "{text}");
    }
    let mut config = tiny_tokenizer::config();
    config.tokens.eos = 271;
    let bytes = tiny_tokenizer::json().to_string();
    let missing = SentenceTokenizer::from_bytes(bytes.as_bytes(), &config, "t").unwrap_err();
    assert!(
        missing.to_string().contains("no token for eos (id 271)"),
        "{missing}"
    );

    for broken in [
        edit("/model", json!(3)),
        edit("/version", json!("9")),
        edit("/decoder", json!([])),
    ] {
        assert!(
            matches!(broken, Error::Bundle(BundleError::TokenizerLoad { .. })),
            "{broken}"
        );
        assert!(std::error::Error::source(&broken).is_some());
    }
}

/// The library would leave such a character out.
#[test]
fn characters_without_a_token() {
    let mut json = tiny_tokenizer::json();
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    let id = vocab.remove("Q").unwrap();
    vocab.insert("other".to_owned(), id);
    let tokenizer = load(&json).unwrap();
    assert_eq!(tokenizer.encode("hello R").unwrap().len(), 3);
    let error = tokenizer.encode("hello Q").unwrap_err();
    assert!(
        matches!(
            error,
            Error::Text(TextError::UnknownCharacter { character: 'Q' })
        ),
        "{error}"
    );
}

/// The library panics where its file breaks off at some places.
#[test]
fn files_that_break_off() {
    let text = tiny_tokenizer::json().to_string();
    for end in (0..text.len())
        .step_by(97)
        .filter(|&end| text.is_char_boundary(end))
    {
        let bytes = &text.as_bytes()[..end];
        let made = SentenceTokenizer::from_bytes(bytes, &tiny_tokenizer::config(), "t");
        assert!(matches!(made, Err(Error::Json { .. })), "at byte {end}");
    }
}

#[test]
fn characters_come_whole() {
    let tokenizer = tokenizer();
    let mut stream = tokenizer.stream();
    let ids = tokenizer.encode("a你𝄞").unwrap();
    let parts: Vec<_> = ids
        .iter()
        .map(|&id| stream.push(id).unwrap().map(str::to_owned))
        .collect();
    let text = |s: &str| Some(s.to_owned());
    assert_eq!(
        parts,
        [text("a"), None, text("你"), None, None, None, text("𝄞")]
    );
    assert_eq!(stream.finish().unwrap(), None);

    // A character that breaks off, followed by another one and by the end.
    let (first, a) = (ids[1], ids[0]);
    assert_eq!(stream.push(first).unwrap(), None);
    assert_eq!(stream.push(a).unwrap(), Some("\u{fffd}a"));
    assert_eq!(stream.push(first).unwrap(), None);
    assert_eq!(stream.finish().unwrap(), Some("\u{fffd}"));
    assert_eq!(stream.finish().unwrap(), None);
    assert_eq!(stream.push(a).unwrap(), Some("a"));
}

fn streamed(tokenizer: &SentenceTokenizer, ids: &[u32]) -> String {
    let mut stream = tokenizer.stream();
    let mut text = String::new();
    for &id in ids {
        text.push_str(stream.push(id).unwrap().unwrap_or_default());
    }
    text.push_str(stream.finish().unwrap().unwrap_or_default());
    text
}

proptest! {
    #[test]
    fn text_comes_back(text in any::<String>()) {
        for tokenizer in [tokenizer(), without_byte_level()] {
            let ids = tokenizer.encode(&text).unwrap();
            prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text.clone());
            prop_assert_eq!(streamed(&tokenizer, &ids), text.clone());
        }
    }

    #[test]
    fn a_stream_gives_the_decoded_text(ids in proptest::collection::vec(0u32..275, 0..30)) {
        let (bytes, whole) = (tokenizer(), without_byte_level());
        let expected = bytes.decode(&ids).unwrap();
        prop_assert_eq!(whole.decode(&ids).unwrap(), expected.clone());
        prop_assert_eq!(streamed(&bytes, &ids), expected.clone());
        prop_assert_eq!(streamed(&whole, &ids), expected);
    }
}
