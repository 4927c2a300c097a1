use super::*;
use crate::generate::testing::{EOS, VOCAB, ids, tokenizer};

struct Outcome {
    texts: Vec<String>,
    ids: Vec<Vec<u32>>,
    reason: FinishReason,
}

/// Continue an empty text with a model that generates `script`, and then eos.
fn run(script: &str, max_tokens: usize, options: GenerateOptions) -> Outcome {
    let rules = Rules {
        eos: EOS,
        segmentation: Segmentation::default(),
        max_tokens,
    };
    let script = ids(script);
    let after = |token: usize| {
        let mut logits = vec![0.0; VOCAB];
        logits[script.get(token).copied().unwrap_or(EOS) as usize] = 9.0;
        Logits::dense(logits)
    };
    let mut progress = Progress::new(options, rules, tokenizer().stream(), "");
    let (mut held, mut cached, mut streamed) = (0, 0, String::new());
    let mut outcome = Outcome {
        texts: Vec::new(),
        ids: Vec::new(),
        reason: FinishReason::Stop,
    };
    let mut copy = Logits::default();
    loop {
        let mut on_text = |text: &str| streamed.push_str(text);
        let step = progress.advance(held, &after(cached), &mut copy, &mut on_text);
        let (sentence, reason) = match step.unwrap() {
            Step::Continue => {
                // A run appends the chosen token.
                assert!(progress.next.take().is_some());
                cached += 1;
                continue;
            }
            Step::Sentence(sentence) => (Some(sentence), None),
            Step::End(sentence, reason) => (sentence, Some(reason)),
        };
        if let Some(sentence) = sentence {
            assert_eq!(sentence.index, outcome.texts.len());
            held += sentence.token_ids.iter().filter(|&&id| id != EOS).count();
            outcome.texts.push(sentence.text);
            outcome.ids.push(sentence.token_ids);
        }
        if let Some(reason) = reason {
            outcome.reason = reason;
            break;
        }
    }
    progress.pass_on_held(&mut |text: &str| streamed.push_str(text));
    assert_eq!(
        streamed,
        outcome.texts.concat(),
        "what was streamed is what was given"
    );
    outcome
}

#[test]
fn streams_are_cut_into_sentences() {
    let options = GenerateOptions::default;
    let stop_at = |text| options().with_stop_text(text).unwrap();
    for (script, room, options, texts, reason) in [
        (
            "ab.cd,e",
            100,
            options(),
            &["ab.", "cd,", "e"][..],
            FinishReason::Stop,
        ),
        ("", 100, options(), &[], FinishReason::Stop),
        (
            "ab!!c",
            100,
            options(),
            &["ab!", "!", "c"],
            FinishReason::Stop,
        ),
        (
            "ab.cd.",
            5,
            options(),
            &["ab.", "cd"],
            FinishReason::ContextFull,
        ),
        ("ab.cd.", 0, options(), &[], FinishReason::ContextFull),
        (
            "ab.cd.e",
            100,
            options().with_max_sentences(2),
            &["ab.", "cd."],
            FinishReason::MaxSentences,
        ),
        (
            "ab.cde.f",
            100,
            stop_at("de"),
            &["ab.", "c"],
            FinishReason::StopText,
        ),
        (
            "ab.cde.f",
            100,
            stop_at("c"),
            &["ab."],
            FinishReason::StopText,
        ),
    ] {
        let outcome = run(script, room, options);
        assert_eq!(outcome.texts, texts, "{script:?}, room {room}");
        assert_eq!(outcome.reason, reason, "{script:?}, room {room}");
    }
}

#[test]
fn eos_belongs_to_the_last_sentence() {
    let outcome = run("a.b.", 100, GenerateOptions::default());
    assert_eq!(outcome.ids, [ids("a."), [ids("b."), vec![EOS]].concat()]);
}

#[test]
fn eos_can_be_ignored() {
    let outcome = run("a.", 9, GenerateOptions::default().with_ignore_eos(true));
    assert_eq!(outcome.reason, FinishReason::ContextFull);
    assert!(outcome.texts.concat().starts_with("a."));
}

#[test]
fn sentences_have_a_fixed_length_for_the_benchmark() {
    let options = GenerateOptions::default()
        .with_max_sentences(3)
        .with_fixed_sentence_tokens(2);
    let outcome = run("a.b.cd", 100, options);
    assert_eq!(outcome.texts, ["a.", "b.", "cd"]);
    assert_eq!(outcome.reason, FinishReason::MaxSentences);
}

#[test]
fn where_a_token_begins_a_sentence() {
    for (sentence, piece, begins) in [
        ("", "The", false),
        ("Hi.", " The", true),
        ("Hi. ", "The", true),
        ("Hi.", " ", false),
        ("Hi.", "\n", false),
        ("Hi.", "\nThe", true),
        ("He said.", "\"", false),
        ("He said.", "\" she", false),
        ("He said.\"", " she", true),
        ("Hello", "\n", false),
        ("Hello", "\nThe", true),
        ("Hello", " world", false),
        ("Hi", "!!", false),
        ("Hi!!", " so", true),
        ("Hi. The", " cat", false),
        ("Hi.", "", false),
    ] {
        assert_eq!(
            begins_sentence(Segmentation::default(), sentence, piece),
            begins,
            "{sentence:?} {piece:?}"
        );
    }
}
