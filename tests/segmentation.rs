//! Where sentences begin and end, and how those that are too long are split.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod tiny_tokenizer;

use proptest::prelude::*;
use sllm_ort::{
    Error,
    error::TextError,
    text::{
        LongSentence, MAX_TEXT_BYTES, Segmentation, Tail, TextPipeline, TextSentence, segments,
    },
};

const PAIRS: [&str; 17] = [
    "……", "，”", "”，", "。”", "”。", "!”", "”！", "？”", "”？", ",\"", "\",", ".\"", "\".", "!\"",
    "\"!", "?\"", "\"?",
];
const SINGLES: [&str; 16] = [
    "，", "。", "”", "！", "？", "；", "：", ",", ".", "!", "?", ";", ":", "\"", "\n", "\r",
];

/// The original's rule written down as it is: slow, on characters, one step at a time.
fn reference(text: &str) -> (Vec<String>, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut at, mut last, mut sentences) = (0, 0, Vec::new());
    let string = |range: std::ops::Range<usize>| chars[range].iter().collect::<String>();
    while at < chars.len() {
        if at + 1 < chars.len() && PAIRS.contains(&string(at..at + 2).as_str()) {
            at += 2;
        } else if SINGLES.contains(&chars[at].to_string().as_str()) {
            at += 1;
        } else {
            at += 1;
            continue;
        }
        while at < chars.len() && [' ', '\n', '\r'].contains(&chars[at]) {
            at += 1;
        }
        sentences.push(string(last..at));
        last = at;
    }
    (sentences, string(last..chars.len()))
}

#[test]
fn cases() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("Bye", &["Bye"]),
        ("Hello, my friend. Bye", &["Hello, ", "my friend. ", "Bye"]),
        ("Hello.", &["Hello."]),
        ("  Hello. ", &["  Hello. "]),
        ("   ", &["   "]),
        ("\t", &["\t"]),
        // A newline is a mark, also in front of everything.
        ("\nHello.", &["\n", "Hello."]),
        (" \r\n Hello", &[" \r\n ", "Hello"]),
        (
            "one\r\ntwo\r\n\r\nthree",
            &["one\r\n", "two\r\n\r\n", "three"],
        ),
        ("a.\tb", &["a.", "\tb"]),
        ("3.14", &["3.", "14"]),
        ("...", &[".", ".", "."]),
        ("\"Hi,\" she said.", &["\"", "Hi,\" ", "she said."]),
        ("\"Hi\", she said.", &["\"", "Hi\", ", "she said."]),
        // A pair is looked for first, from the left.
        ("\"?\"", &["\"?", "\""]),
        (".\"!", &[".\"", "!"]),
        (
            "今天，天气很好。我们走吧！",
            &["今天，", "天气很好。", "我们走吧！"],
        ),
        ("他说：“好。”然后走了", &["他说：", "“好。”", "然后走了"]),
        ("等等……好", &["等等……", "好"]),
        // One `…` is no mark; the wide `！` pairs with a `”` before it only.
        ("等… 好", &["等… 好"]),
        ("………", &["……", "…"]),
        ("走！”好", &["走！", "”", "好"]),
        ("é…ü。ß", &["é…ü。", "ß"]),
        // Characters that begin with the same bytes as marks.
        ("–—“、〉ＡＢ", &["–—“、〉ＡＢ"]),
    ];
    let failures: Vec<_> = cases
        .iter()
        .filter(|(text, expected)| !segments(text, Tail::Keep).eq(expected.iter().copied()))
        .map(|(text, _)| (text, segments(text, Tail::Keep).collect::<Vec<_>>()))
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn every_mark_cuts_behind_itself_and_the_space_after() {
    let mut failures = Vec::new();
    for mark in PAIRS.iter().chain(&SINGLES) {
        let first = format!("a{mark}  \n");
        let text = format!("{first}b");
        let found: Vec<_> = segments(&text, Tail::Keep).collect();
        if found != [first.as_str(), "b"] {
            failures.push((
                mark,
                found.into_iter().map(str::to_owned).collect::<Vec<_>>(),
            ));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn every_two_signs_are_cut_as_in_the_original() {
    for first in SINGLES.iter().chain(&["…", "x"]) {
        for second in SINGLES.iter().chain(&["…", "x"]) {
            let text = format!("a{first}{second}b");
            let (mut expected, tail) = reference(&text);
            expected.push(tail);
            assert!(segments(&text, Tail::Keep).eq(expected), "{text:?}");
        }
    }
}

#[test]
fn a_dropped_tail_can_be_seen() {
    let mut cut = segments("Hello. Bye", Tail::Drop);
    assert_eq!(cut.next(), Some("Hello. "));
    assert_eq!((cut.next(), cut.next()), (None, None));
    assert_eq!(cut.remainder(), "Bye");

    let pipeline = pipeline(8, Segmentation::default().with_tail(Tail::Drop));
    let mut sentences = pipeline.sentences("hello. Bye").unwrap();
    assert_eq!(sentences.by_ref().count(), 1);
    assert_eq!(sentences.dropped(), "Bye");
}

fn pipeline(max_sentence_tokens: usize, segmentation: Segmentation) -> TextPipeline {
    TextPipeline::new(
        tiny_tokenizer::tokenizer(),
        segmentation,
        max_sentence_tokens,
    )
    .unwrap()
}

/// The pieces of `text` as one sentence of at most `limit` tokens without bos.
fn split(text: &str, limit: usize) -> Vec<TextSentence<'_>> {
    let pipeline = pipeline(limit + 1, Segmentation::default());
    pipeline
        .one_sentence(text)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

#[test]
fn long_sentences() {
    // "hello" is a token, " wor" is one, any other byte is one.
    let cases: &[(&str, usize, &[&str])] = &[
        ("", 3, &[]),
        ("hello", 1, &["hello"]),
        ("hello wor", 2, &["hello wor"]),
        // "hello " is two tokens, and the space belongs to the piece before.
        ("hello hello hello", 3, &["hello ", "hello hello"]),
        ("hello hello hello", 4, &["hello hello ", "hello"]),
        // No room for the space: the word boundary does not fit, and a token's end is taken.
        ("hello hello", 1, &["hello", " ", "hello"]),
        ("xyzxyz", 4, &["xyzx", "yz"]),
        ("xy xyzxyz", 4, &["xy ", "xyzx", "yz"]),
        // Leading space is no word boundary.
        ("  xyzxyz", 4, &["  xy", "zxyz"]),
        ("x\u{3000}yzx", 5, &["x\u{3000}", "yzx"]),
        // 你 is a token of two bytes and one of one byte; 𝄞 is four tokens.
        ("你你你", 3, &["你", "你", "你"]),
        ("𝄞𝄞", 7, &["𝄞", "𝄞"]),
    ];
    for (text, limit, expected) in cases {
        let found: Vec<_> = split(text, *limit)
            .into_iter()
            .map(|piece| piece.text)
            .collect();
        assert_eq!(&found, expected, "{text:?} at {limit}");
    }
}

#[test]
fn truncation_keeps_the_first_tokens_and_says_so() {
    let truncate = Segmentation::default().with_long_sentence(LongSentence::Truncate);
    let pipeline = pipeline(4, truncate);
    let text = "hello wor xyz. hello wor.";
    let all = pipeline.tokenizer().encode("hello wor xyz. ").unwrap();
    let found: Vec<_> = pipeline
        .sentences(text)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].text, found[0].truncated),
        ("hello wor xyz. ", true)
    );
    assert_eq!(found[0].ids, all[..3]);
    assert_eq!((found[1].text, found[1].truncated), ("hello wor.", false));
}

#[test]
fn a_character_with_too_many_tokens_is_an_error_and_the_end() {
    let pipeline = pipeline(3, Segmentation::default());
    let mut sentences = pipeline.sentences("hello.𝄞 hello").unwrap();
    assert!(sentences.next().unwrap().is_ok());
    let error = sentences.next().unwrap().unwrap_err();
    assert!(matches!(
        error,
        Error::Text(TextError::CharacterTooLong {
            character: '𝄞',
            tokens: 4,
            limit: 2
        })
    ));
    assert!(sentences.next().is_none());
}

#[test]
fn limits() {
    for max in [0, 1] {
        let made = TextPipeline::new(tiny_tokenizer::tokenizer(), Segmentation::default(), max);
        assert!(
            matches!(made, Err(Error::Text(TextError::SentenceLimit { found })) if found == max)
        );
    }
    let long = "a".repeat(MAX_TEXT_BYTES + 1);
    let pipeline = pipeline(8, Segmentation::default());
    assert!(matches!(
        pipeline.sentences(&long),
        Err(Error::Text(TextError::TooLarge { .. }))
    ));
    assert!(matches!(
        pipeline.one_sentence(&long),
        Err(Error::Text(TextError::TooLarge { .. }))
    ));
    assert!(matches!(
        pipeline.tokenizer().encode(&long),
        Err(Error::Text(TextError::TooLarge { .. }))
    ));
}

/// If each piece looked at all that is left, each of these would take hours.
#[test]
fn a_megabyte_without_punctuation() {
    let sizes = [
        ("hello wor ", 1 << 20),
        ("a", 1 << 17),
        ("x y", 1 << 16),
        (" ", 1 << 17),
        ("你", 1 << 17),
    ];
    for (word, size) in sizes {
        let text = word.repeat(size / word.len());
        assert_eq!(segments(&text, Tail::Keep).count(), 1);
        let pieces = split(&text, 63);
        assert_eq!(
            pieces.iter().map(|piece| piece.text.len()).sum::<usize>(),
            text.len()
        );
        let fewest = pieces
            .iter()
            .rev()
            .skip(1)
            .map(|piece| piece.ids.len())
            .min()
            .unwrap();
        assert!(
            fewest > 50,
            "pieces of {word:?} are only {fewest} tokens long"
        );
    }
}

fn punctuation_heavy() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        proptest::sample::select(PAIRS.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(SINGLES.to_vec()).prop_map(str::to_owned),
        proptest::sample::select(vec!["…", " ", "hello", "你", "\u{3000}", "é"])
            .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), punctuation_heavy()]
}

proptest! {
    #[test]
    fn segments_are_those_of_the_original(text in any_text()) {
        let (expected, tail) = reference(&text);
        let mut dropping = segments(&text, Tail::Drop);
        prop_assert!(dropping.by_ref().eq(expected));
        prop_assert_eq!(dropping.remainder(), tail);
    }

    #[test]
    fn segments_join_to_the_text(text in any_text()) {
        let pieces: Vec<_> = segments(&text, Tail::Keep).collect();
        prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
        prop_assert_eq!(pieces.concat(), text);
    }

    #[test]
    fn pieces_fit_and_join_to_the_sentence(
        text in prop_oneof![any_text(), "[ a-c\t]{0,200}", "(hello|wor|aaaa| |你|é){0,80}"],
        limit in 4usize..20,
    ) {
        let tokenizer = tiny_tokenizer::tokenizer();
        let pieces = split(&text, limit);
        prop_assert_eq!(pieces.iter().map(|piece| piece.text).collect::<String>(), text.clone());
        for piece in &pieces {
            prop_assert!(!piece.truncated && piece.ids.len() <= limit);
            prop_assert_eq!(&piece.ids, &tokenizer.encode(piece.text).unwrap());
        }
        // Nothing is split without need.
        prop_assert_eq!(pieces.len() <= 1, tokenizer.encode(&text).unwrap().len() <= limit);
    }

    #[test]
    fn truncation_is_that_of_the_whole_sentence(text in any_text(), limit in 1usize..12) {
        let truncate = Segmentation::default().with_long_sentence(LongSentence::Truncate);
        let pipeline = pipeline(limit + 1, truncate);
        for piece in pipeline.one_sentence(&text).unwrap().map(Result::unwrap) {
            let mut ids = pipeline.tokenizer().encode(&text).unwrap();
            prop_assert_eq!(piece.truncated, ids.len() > limit);
            ids.truncate(limit);
            prop_assert_eq!(piece.ids, ids);
        }
    }
}
