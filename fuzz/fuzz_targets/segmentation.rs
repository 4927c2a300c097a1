//! Any text, cut into sentences: the pieces join to the text. Its first byte chooses how.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sllm_ort::{
    GenerateOptions,
    text::{Rule, Segmentation, Tail},
};
use sllm_ort_fuzz::check_message;

fuzz_target!(|text: &str| {
    let choice = text.bytes().next().unwrap_or_default();
    let is_set = |bit: u8| usize::from(choice >> bit & 1);
    let settings = Segmentation::default()
        .with_rule([Rule::Original, Rule::Clauses][is_set(0)])
        .with_tail([Tail::Keep, Tail::Drop][is_set(1)]);

    let mut pieces = settings.segments(text);
    let mut joined = String::new();
    for piece in pieces.by_ref() {
        assert!(!piece.is_empty());
        joined.push_str(piece);
    }
    let rest = pieces.remainder();
    assert!(settings.tail == Tail::Drop || rest.is_empty());
    assert_eq!(joined + rest, text);

    if is_set(2) == 1
        && let Err(error) = GenerateOptions::default().with_stop_text(text)
    {
        check_message(&error);
    }
});
