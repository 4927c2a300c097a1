use std::collections::VecDeque;

use super::*;
use crate::{config::ModelConfig, text::SentenceTokenizer};

pub(super) const VOCAB: usize = 40;
/// Token ids of the fake's tokenizer: pad, bos, eos, then one token for each of these characters.
const CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyz.,!?";
const BOS: u32 = 1;
pub(super) const EOS: u32 = 2;

fn id(character: char) -> u32 {
    CHARACTERS.find(character).unwrap() as u32 + 3
}

pub(super) fn ids(text: &str) -> Vec<u32> {
    text.chars().map(id).collect()
}

pub(super) fn tokenizer() -> SentenceTokenizer {
    let mut vocab = serde_json::Map::new();
    for (number, token) in ["<pad>", "<s>", "</s>"].iter().enumerate() {
        vocab.insert((*token).to_owned(), number.into());
    }
    for character in CHARACTERS.chars() {
        vocab.insert(character.to_string(), id(character).into());
    }
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []}
    });
    let config = ModelConfig::from_json_str(CONFIG, "test").unwrap();
    SentenceTokenizer::from_bytes(json.to_string().as_bytes(), &config, "test").unwrap()
}

const CONFIG: &str = r#"{"name": "fake", "kind": "sllm", "vocab_size": 40, "hidden_size": 8,
    "max_sentence_tokens": 8, "max_sentences": 16, "tokens": {"bos": 1, "eos": 2, "pad": 0},
    "svae": {"layers": 1, "heads": 1, "ffn_size": 8, "word_embed_size": 8, "learnable_add": false},
    "backbone": {"layers": 1, "heads": 1, "ffn_size": 8, "norm_first": true, "max_positions": 16,
        "prefill_attention": "causal"}, "reencode_bos": true}"#;

/// A model that says what it was told to say.
struct Scripted {
    tokenizer: SentenceTokenizer,
    /// The sentences to come, with their stop logits.
    script: VecDeque<(Vec<u32>, [f32; 2])>,
    current: Vec<u32>,
    place: usize,
    room: usize,
    prediction: Option<Prediction>,
    appended: Vec<(Vec<u32>, String)>,
    /// The token, counted over all sentences, at which the decoder fails.
    fails_at: Option<usize>,
    decoded: usize,
    candidates: Candidates,
    /// Sentences of the context.
    said: Vec<(Vec<u32>, String)>,
}

impl Scripted {
    fn new(script: &[(Vec<u32>, [f32; 2])]) -> Self {
        let mut model = Self {
            tokenizer: tokenizer(),
            script: script.iter().cloned().collect(),
            current: Vec::new(),
            place: 0,
            room: 10,
            prediction: None,
            appended: Vec::new(),
            fails_at: None,
            decoded: 0,
            candidates: Candidates::default(),
            said: Vec::new(),
        };
        model.predict();
        model
    }

    fn says(texts: &[&str]) -> Self {
        let sentence = |text: &&str| ([ids(text), vec![EOS]].concat(), [-1.0, 1.0]);
        Self::new(&texts.iter().map(sentence).collect::<Vec<_>>())
    }

    fn predict(&mut self) {
        let stop_logits = self
            .script
            .front()
            .map_or([1.0, -1.0], |(_, logits)| *logits);
        self.prediction = Some(Prediction {
            hidden: Vec::new(),
            stop_logits,
        });
    }
}

impl SentenceModel for Scripted {
    fn special_tokens(&self) -> SpecialTokens {
        self.tokenizer.special_tokens()
    }
    fn max_sentence_tokens(&self) -> usize {
        8
    }
    fn room(&self) -> usize {
        self.room
    }
    fn prediction(&self) -> Option<&Prediction> {
        self.prediction.as_ref()
    }
    fn detokenizer(&self) -> Detokenizer {
        self.tokenizer.stream()
    }
    fn begin_sentence(&mut self) -> Result<()> {
        self.current = self
            .script
            .pop_front()
            .map(|(ids, _)| ids)
            .unwrap_or_default();
        self.place = 0;
        Ok(())
    }
    fn candidates_after(&mut self, id: u32) -> Result<&mut Candidates> {
        let expected = if self.place == 0 {
            BOS
        } else {
            self.current[self.place - 1]
        };
        assert_eq!(id, expected, "the loop feeds back what it chose");
        if self.fails_at == Some(self.decoded) {
            return Err(Error::NotFinite {
                path: "fake".into(),
                output: "logits",
            });
        }
        self.decoded += 1;
        let mut logits = vec![0.0; VOCAB];
        logits[self.current[self.place] as usize] = 1.0;
        self.place += 1;
        self.candidates = Candidates::all(logits);
        Ok(&mut self.candidates)
    }
    fn decode_attempts(
        &mut self,
        count: usize,
        next: &mut dyn FnMut(usize, &mut Candidates) -> Result<Option<u32>>,
    ) -> Result<()> {
        for number in 0..count {
            self.begin_sentence()?;
            let mut last = Some(BOS);
            while let Some(id) = last {
                last = next(number, self.candidates_after(id)?)?;
            }
        }
        Ok(())
    }
    fn sentences(&self) -> impl Iterator<Item = (&[u32], &str)> {
        self.said.iter().map(|(ids, text)| (&**ids, &**text))
    }
    fn append_generated(&mut self, token_ids: &[u32], text: &str) -> Result<()> {
        self.appended.push((token_ids.to_vec(), text.to_owned()));
        self.room -= 1;
        self.predict();
        Ok(())
    }
}

struct Outcome {
    texts: Vec<String>,
    streamed: String,
    reason: Option<FinishReason>,
    error: Option<Error>,
}

fn run(model: &mut Scripted, options: GenerateOptions) -> Outcome {
    let mut inner = Loop::new(model, options);
    let (mut texts, mut streamed, mut error) = (Vec::new(), String::new(), None);
    while let Some(sentence) = inner.next_with(&mut |text| streamed.push_str(text)) {
        match sentence {
            Ok(sentence) => {
                assert_eq!(sentence.index, texts.len());
                texts.push(sentence.text);
            }
            Err(found) => error = Some(found),
        }
    }
    assert!(
        inner.next_with(&mut |_| {}).is_none(),
        "an ended loop stays ended"
    );
    Outcome {
        texts,
        streamed,
        reason: inner.progress.finished,
        error,
    }
}

#[test]
fn ends() {
    let options = GenerateOptions::default;
    let table = [
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
            options().with_stop_text("!").unwrap(),
            10,
            &["ab.", "c"],
            FinishReason::StopText,
        ),
        (
            "stop text first",
            options().with_stop_text("c").unwrap(),
            10,
            &["ab."],
            FinishReason::StopText,
        ),
    ];
    for (name, options, room, texts, reason) in table {
        let mut model = Scripted::says(&["ab.", "c!"]);
        model.room = room;
        let outcome = run(&mut model, options);
        assert_eq!(outcome.texts, texts, "{name}");
        assert_eq!(outcome.streamed, texts.concat(), "{name}");
        assert_eq!(outcome.reason, Some(reason), "{name}");
        assert!(outcome.error.is_none(), "{name}");
        let appended: Vec<_> = model
            .appended
            .iter()
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(
            appended, texts,
            "{name}: what is given out is what the context holds"
        );
    }
}

#[test]
fn the_stop_head_can_be_ignored() {
    let mut model = Scripted::new(&[(vec![id('a'), EOS], [2.0, 1.0])]);
    assert_eq!(
        run(&mut model, GenerateOptions::default()).reason,
        Some(FinishReason::Stop)
    );
    let options = GenerateOptions::default()
        .with_ignore_stop(true)
        .with_max_sentences(1);
    assert_eq!(run(&mut model, options).texts, ["a"]);
}

#[test]
fn the_stop_probability_is_the_softmax_asked_before_the_sentence() {
    let mut model = Scripted::new(&[(vec![id('a'), EOS], [0.0, 1.0]), (vec![EOS], [-2.0, 2.0])]);
    let found: Vec<f32> = std::iter::from_fn({
        let mut inner = Loop::new(&mut model, GenerateOptions::default());
        move || inner.next_with(&mut |_| {})
    })
    .map(|sentence| sentence.unwrap().stop_probability)
    .collect();
    let expected = [1.0 / (1.0 + 1f32.exp()), 1.0 / (1.0 + 4f32.exp())];
    assert_eq!(found.len(), 2);
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
    }
}

#[test]
fn a_sentence_ends_at_eos_or_at_its_longest() {
    for (said, emitted) in [
        (vec![EOS], vec![EOS]),
        (
            [ids("abcdefg"), vec![EOS]].concat(),
            [ids("abcdefg"), vec![EOS]].concat(),
        ),
        (ids("abcdefgh"), ids("abcdefg")),
    ] {
        let mut model = Scripted::new(&[(said, [0.0, 1.0])]);
        let options = GenerateOptions::default().with_max_sentences(1);
        let sentence = Loop::new(&mut model, options)
            .next_with(&mut |_| {})
            .unwrap()
            .unwrap();
        assert_eq!(sentence.token_ids, emitted);
    }
}

#[test]
fn an_error_ends_the_loop_and_loses_nothing() {
    let mut model = Scripted::says(&["ab.", "cd."]);
    model.fails_at = Some(5);
    let outcome = run(&mut model, GenerateOptions::default());
    assert_eq!(outcome.texts, ["ab."]);
    assert!(matches!(outcome.error, Some(Error::NotFinite { .. })));
    assert_eq!(outcome.reason, None);
    assert_eq!(model.appended.len(), 1);
}

#[test]
fn an_empty_context_is_an_error() {
    let mut model = Scripted::says(&["ab."]);
    model.prediction = None;
    let outcome = run(&mut model, GenerateOptions::default());
    assert!(matches!(outcome.error, Some(Error::EmptyContext)));
}

#[test]
fn a_stop_text_must_lie_within_a_sentence() {
    for text in ["", "One. Two"] {
        let refused = GenerateOptions::default().with_stop_text(text);
        assert!(
            matches!(refused, Err(Error::InvalidOption { .. })),
            "{text:?}"
        );
    }
    assert!(
        GenerateOptions::default()
            .with_stop_text("The end.")
            .is_ok()
    );
    let long = "\u{11}. ".repeat(1000);
    let refused = GenerateOptions::default().with_stop_text(&long);
    let message = refused.unwrap_err().to_string();
    assert!(message.len() < 1000, "{} bytes", message.len());
}
