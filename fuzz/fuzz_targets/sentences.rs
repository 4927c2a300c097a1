//! Any text as sentences of token ids, none too long. Its first byte chooses the settings.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sllm_ort::{
    bundle::Bundle,
    text::{LongSentence, Rule, Segmentation, SentenceTokenizer, Tail, TextPipeline, WhiteSpace},
};
use sllm_ort_fuzz::{BUNDLE, check_message, tokenizer_without_regex};

/// Short, so that sentences are split often.
const MAX_SENTENCE_TOKENS: usize = 6;

/// All settings, by the bits of a number: first with the tokenizer as it is.
static PIPELINES: LazyLock<[Vec<(Segmentation, TextPipeline)>; 2]> = LazyLock::new(|| {
    let bundle = Bundle::open(BUNDLE).unwrap();
    let whole = bundle.load_tokenizer().unwrap();
    [whole, tokenizer_without_regex(&bundle)].map(|tokenizer| pipelines(&tokenizer))
});

fn pipelines(tokenizer: &SentenceTokenizer) -> Vec<(Segmentation, TextPipeline)> {
    let pipeline = |number: u8| {
        let is_set = |bit: u8| number & 1 << bit != 0;
        let settings = Segmentation::default()
            .with_rule([Rule::Original, Rule::Clauses][usize::from(is_set(0))])
            .with_white_space([WhiteSpace::Kept, WhiteSpace::Canonical][usize::from(is_set(1))])
            .with_long_sentence(
                [LongSentence::Split, LongSentence::Truncate][usize::from(is_set(2))],
            )
            .with_tail([Tail::Keep, Tail::Drop][usize::from(is_set(3))]);
        let pipeline = TextPipeline::new(tokenizer.clone(), settings, MAX_SENTENCE_TOKENS);
        (settings, pipeline.unwrap())
    };
    (0..16).map(pipeline).collect()
}

fuzz_target!(|text: &str| {
    let choice = text.bytes().next().unwrap_or_default();
    // A quarter of the inputs: its regular expression takes most of the time.
    let is_whole = choice >> 4 & 3 == 0;
    let (settings, pipeline) = &PIPELINES[usize::from(!is_whole)][usize::from(choice % 16)];

    let mut at = 0;
    let mut sentences = pipeline.sentences(text).unwrap();
    for sentence in sentences.by_ref() {
        let sentence = match sentence {
            Ok(sentence) => sentence,
            Err(error) => return check_message(&error),
        };
        assert!(sentence.ids.len() < MAX_SENTENCE_TOKENS);
        let start = sentence.text.as_ptr() as usize - text.as_ptr() as usize;
        check_gap(*settings, &text[at..start]);
        at = start + sentence.text.len();
    }
    check_gap(*settings, &text[at..text.len() - sentences.dropped().len()]);
});

/// Only white space alone, with byte order marks, is no sentence, in canonical form.
fn check_gap(settings: Segmentation, gap: &str) {
    let says_nothing = |c: char| c.is_whitespace() || c == '\u{feff}';
    let allowed = settings.white_space == WhiteSpace::Canonical && gap.chars().all(says_nothing);
    assert!(gap.is_empty() || allowed, "{gap:?} is in no sentence");
}
