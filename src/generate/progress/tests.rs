use super::*;
use crate::{
    error::Error,
    generate::testing::{EOS, VOCAB, ids, tokenizer},
};

const MAX_SENTENCE_TOKENS: usize = 8;

/// A model that generates these sentences, each after a prediction with these stop logits.
struct Script {
    sentences: Vec<(Vec<u32>, [f32; 2])>,
    /// How many sentences fit the context.
    room: usize,
    /// The token, counted over all sentences, whose logits fail.
    fails_at: Option<usize>,
}

struct Outcome {
    texts: Vec<String>,
    ids: Vec<Vec<u32>>,
    probabilities: Vec<f32>,
    streamed: String,
    reason: Result<FinishReason>,
}

fn says(texts: &[&str]) -> Script {
    let sentence = |text: &&str| ([ids(text), vec![EOS]].concat(), [-1.0, 1.0]);
    script(texts.iter().map(sentence).collect())
}

fn script(sentences: Vec<(Vec<u32>, [f32; 2])>) -> Script {
    Script {
        sentences,
        room: 10,
        fails_at: None,
    }
}

/// The loop over one row, with a script in place of the graphs.
fn run(script: &Script, options: GenerateOptions) -> Outcome {
    let tokens = tokenizer().special_tokens();
    let mut progress = Progress::new(options, tokens, &[]);
    let mut outcome = Outcome {
        texts: Vec::new(),
        ids: Vec::new(),
        probabilities: Vec::new(),
        streamed: String::new(),
        reason: Ok(FinishReason::Stop),
    };
    let mut sentences = script.sentences.iter();
    let mut decoded_tokens = 0;
    loop {
        let (output, stop_logits) = match sentences.next() {
            Some((output, stop_logits)) => (output.as_slice(), *stop_logits),
            None => (&[][..], [1.0, -1.0]),
        };
        let prediction = Prediction {
            hidden: Vec::new(),
            stop_logits,
        };
        let remaining = script.room - outcome.texts.len();
        let mut on_text = |text: &str| outcome.streamed.push_str(text);
        if let Some(reason) = progress.finished(&prediction, remaining) {
            progress.pass_on_held(&mut on_text);
            outcome.reason = Ok(reason);
            return outcome;
        }
        let output_tokens = OutputTokens::new(tokens, MAX_SENTENCE_TOKENS);
        let mut hypothesis = progress.begin(0, 0, output_tokens, tokenizer().stream());
        for &id in output {
            let mut dense = vec![0.0; VOCAB];
            dense[id as usize] = 1.0;
            let mut logits = Logits::dense(dense);
            let logits = match script.fails_at == Some(decoded_tokens) {
                true => Err(Error::EmptyContext),
                false => Ok(&mut logits),
            };
            decoded_tokens += 1;
            match progress.step(&mut hypothesis, logits, &mut on_text) {
                Some(next) => assert_eq!(next, id),
                None => break,
            }
        }
        match progress.finish(hypothesis, &mut on_text) {
            Ok(Ok(decoded)) => {
                let reason = decoded.reason;
                let sentence = progress.commit(decoded, stop_logits);
                assert_eq!(sentence.index, outcome.texts.len());
                outcome.texts.push(sentence.text);
                outcome.ids.push(sentence.token_ids);
                outcome.probabilities.push(sentence.stop_probability);
                if let Some(reason) = reason {
                    outcome.reason = Ok(reason);
                    return outcome;
                }
            }
            Ok(Err(reason)) => {
                outcome.reason = Ok(reason);
                return outcome;
            }
            Err(error) => {
                outcome.reason = Err(error);
                return outcome;
            }
        }
    }
}

#[test]
fn ends() {
    let options = GenerateOptions::default;
    let stop_at = |text| options().with_stop_text(text).unwrap();
    for (name, options, room, texts, reason) in [
        (
            "stop head",
            options(),
            10,
            &["ab.", "c!"][..],
            FinishReason::Stop,
        ),
        (
            "number",
            options().with_max_sentences(1),
            10,
            &["ab."],
            FinishReason::MaxSentences,
        ),
        (
            "none asked for",
            options().with_max_sentences(0),
            10,
            &[],
            FinishReason::MaxSentences,
        ),
        ("room", options(), 1, &["ab."], FinishReason::ContextFull),
        (
            "stop text",
            stop_at("!"),
            10,
            &["ab.", "c"],
            FinishReason::StopText,
        ),
        (
            "stop text first",
            stop_at("c"),
            10,
            &["ab."],
            FinishReason::StopText,
        ),
    ] {
        let mut script = says(&["ab.", "c!"]);
        script.room = room;
        let outcome = run(&script, options);
        assert_eq!(outcome.texts, texts, "{name}");
        assert_eq!(outcome.streamed, texts.concat(), "{name}");
        assert_eq!(outcome.reason.unwrap(), reason, "{name}");
    }
}

#[test]
fn the_stop_head_can_be_ignored() {
    let script = script(vec![(ids("a"), [2.0, 1.0])]);
    let outcome = run(&script, GenerateOptions::default());
    assert_eq!(outcome.reason.unwrap(), FinishReason::Stop);
    let options = GenerateOptions::default()
        .with_ignore_eos(true)
        .with_max_sentences(1);
    assert_eq!(run(&script, options).texts, ["a"]);
}

#[test]
fn the_stop_probability_is_the_softmax_before_the_sentence() {
    let script = script(vec![(ids("a"), [0.0, 1.0]), (ids("b"), [-2.0, 2.0])]);
    let found = run(&script, GenerateOptions::default()).probabilities;
    let expected = [1.0 / (1.0 + 1f32.exp()), 1.0 / (1.0 + 4f32.exp())];
    assert_eq!(found.len(), 2);
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
    }
}

#[test]
fn a_sentence_ends_at_eos_or_at_its_longest() {
    let whole = [ids("abcdefg"), vec![EOS]].concat();
    for (said, output) in [
        (vec![EOS], vec![EOS]),
        (whole.clone(), whole),
        (ids("abcdefgh"), ids("abcdefg")),
    ] {
        let options = GenerateOptions::default().with_max_sentences(1);
        let outcome = run(&script(vec![(said, [0.0, 1.0])]), options);
        assert_eq!(outcome.ids, [output]);
    }
}

#[test]
fn an_error_ends_the_loop_and_loses_nothing() {
    let mut script = says(&["ab.", "cd."]);
    script.fails_at = Some(5);
    let outcome = run(&script, GenerateOptions::default());
    assert_eq!(outcome.texts, ["ab."]);
    assert!(outcome.reason.is_err());
}

#[test]
fn a_stop_text_is_not_empty() {
    let refused = GenerateOptions::default().with_stop_text("");
    assert!(matches!(refused, Err(Error::InvalidOption { .. })));
}

#[test]
fn stop_texts_cross_sentences() {
    for (stop_text, streamed, texts) in [
        ("b.c", "a", &["ab."][..]),
        ("!de", "ab.c", &["ab.", "c!"]),
        ("b.c!d", "a", &["ab.", "c!"]),
        ("b.cd", "ab.c!de.", &["ab.", "c!", "de."]),
        ("e.f", "ab.c!de.", &["ab.", "c!", "de."]),
    ] {
        let options = GenerateOptions::default().with_stop_text(stop_text);
        let outcome = run(&says(&["ab.", "c!", "de."]), options.unwrap());
        assert_eq!(outcome.texts, texts, "{stop_text}");
        assert_eq!(outcome.streamed, streamed, "{stop_text}");
    }
}
