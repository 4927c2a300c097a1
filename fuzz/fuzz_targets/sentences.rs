//! Any text, cut and tokenized with the tiny model's tokenizer.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sllm_ort::{
    bundle::Bundle,
    text::{LongSentence, Segmentation, Tail, TextPipeline, segments},
};

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/bundle");
/// Short, so that sentences are split often.
const MAX_SENTENCE_TOKENS: usize = 6;

static PIPELINES: LazyLock<[TextPipeline; 2]> = LazyLock::new(|| {
    let tokenizer = Bundle::open(BUNDLE).unwrap().load_tokenizer().unwrap();
    [LongSentence::Split, LongSentence::Truncate].map(|long_sentence| {
        let segmentation = Segmentation::default().with_long_sentence(long_sentence);
        TextPipeline::new(tokenizer.clone(), segmentation, MAX_SENTENCE_TOKENS).unwrap()
    })
});

fuzz_target!(|text: &str| {
    assert_eq!(segments(text, Tail::Keep).collect::<String>(), text);
    let mut dropping = segments(text, Tail::Drop);
    let kept: String = dropping.by_ref().collect();
    assert_eq!(kept + dropping.remainder(), text);
    for pipeline in &*PIPELINES {
        let mut at = 0;
        for sentence in pipeline.sentences(text).unwrap() {
            let Ok(sentence) = sentence else { return };
            assert!(sentence.ids.len() < MAX_SENTENCE_TOKENS);
            assert!(text[at..].starts_with(sentence.text));
            at += sentence.text.len();
        }
        assert_eq!(at, text.len());
    }
});
