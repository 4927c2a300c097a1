use super::*;
use crate::generation::tests::{EOS, VOCAB, ids, tokenizer};

/// A model that says what it was told to say, and then eos.
struct Scripted {
    script: Vec<u32>,
    place: usize,
    text: String,
    room: usize,
    candidates: Candidates,
    /// The token at which it fails.
    fails_at: Option<usize>,
}

impl Scripted {
    fn says(text: &str) -> Self {
        let mut model = Self {
            script: ids(text),
            place: 0,
            text: String::new(),
            room: 100,
            candidates: Candidates::default(),
            fails_at: None,
        };
        model.predict();
        model
    }

    fn predict(&mut self) {
        let mut logits = vec![0.0; VOCAB];
        let next = self.script.get(self.place).copied().unwrap_or(EOS);
        logits[next as usize] = 9.0;
        self.candidates = Candidates::all(logits);
    }
}

impl TokenModel for Scripted {
    type Mark = (usize, usize);

    fn eos(&self) -> u32 {
        EOS
    }

    fn room(&self) -> usize {
        self.room
    }

    fn candidates(&self) -> Option<&Candidates> {
        Some(&self.candidates)
    }

    fn detokenizer(&self) -> Detokenizer {
        tokenizer().stream()
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn ids(&self) -> &[u32] {
        self.script.get(..self.place).unwrap_or(&self.script)
    }

    fn segmentation(&self) -> Segmentation {
        Segmentation::default()
    }

    fn append_token(&mut self, _: u32) -> Result<()> {
        if self.fails_at == Some(self.place) {
            return Err(Error::EmptyContext);
        }
        self.place += 1;
        self.room -= 1;
        self.predict();
        Ok(())
    }

    fn append_text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn mark(&self) -> Self::Mark {
        (self.place, self.text.len())
    }

    fn go_back(&mut self, (place, bytes): Self::Mark) -> Result<()> {
        self.room += self.place - place;
        self.place = place;
        self.text.truncate(bytes);
        self.predict();
        Ok(())
    }
}

fn sentences(model: &mut Scripted, options: GenerateOptions) -> (Vec<String>, FinishReason) {
    let mut inner = TokenLoop::new(model, options);
    let mut shown = String::new();
    let mut texts = Vec::new();
    while let Some(sentence) = inner.next_with(&mut |text| shown.push_str(text)) {
        let sentence = sentence.unwrap();
        assert_eq!(sentence.index, texts.len());
        texts.push(sentence.text);
    }
    assert_eq!(shown, texts.concat(), "what was streamed is what was given");
    let reason = inner.finish_reason().unwrap();
    assert_eq!(model.text, texts.concat());
    (texts, reason)
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
        let mut model = Scripted::says(script);
        model.room = room;
        let found = sentences(&mut model, options);
        let expected: Vec<String> = texts.iter().map(ToString::to_string).collect();
        assert_eq!(found, (expected, reason), "{script:?}, room {room}");
    }
}

#[test]
fn eos_belongs_to_the_last_sentence() {
    let mut model = Scripted::says("a.b.");
    let mut inner = TokenLoop::new(&mut model, GenerateOptions::default());
    let mut next = || inner.next_with(&mut |_| ()).unwrap().unwrap().token_ids;
    assert_eq!(next(), ids("a."));
    assert_eq!(next(), [ids("b."), vec![EOS]].concat());
    assert!(inner.next_with(&mut |_| ()).is_none());
    assert_eq!((inner.sentences(), inner.tokens()), (2, 5));
}

#[test]
fn without_a_stop_it_goes_on() {
    let mut model = Scripted::says("a.");
    model.room = 9;
    let (texts, reason) = sentences(
        &mut model,
        GenerateOptions::default().with_ignore_stop(true),
    );
    assert_eq!(reason, FinishReason::ContextFull);
    assert!(texts.concat().starts_with("a."), "{texts:?}");
}

#[test]
fn a_failed_sentence_leaves_no_trace() {
    let mut model = Scripted::says("ab.cd.");
    model.fails_at = Some(4);
    let mut inner = TokenLoop::new(&mut model, GenerateOptions::default());
    assert_eq!(inner.next_with(&mut |_| ()).unwrap().unwrap().text, "ab.");
    assert!(inner.next_with(&mut |_| ()).unwrap().is_err());
    assert!(inner.next_with(&mut |_| ()).is_none());
    assert!(inner.finish_reason().is_none());
    assert_eq!((model.place, model.text.as_str()), (3, "ab."));
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
