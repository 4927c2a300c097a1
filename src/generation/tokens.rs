//! The loop over a token-level model, whose stream of tokens is given out in sentences.

use crate::{
    error::{Error, Result},
    sampling::Sampler,
    text::{Detokenizer, Tail, segments},
};

use super::{FinishReason, GenerateOptions, Sentence, stop_text::StopText};

/// What the loop needs of a token-level model with a context.
pub(crate) trait TokenModel {
    /// A place in the context.
    type Mark;

    fn eos(&self) -> u32;
    /// How many tokens fit into the context yet.
    fn room(&self) -> usize;
    /// Logits `[vocab]` of the next token, `None` without a context.
    fn logits(&self) -> Option<&[f32]>;
    fn detokenizer(&self) -> Detokenizer;
    fn append_token(&mut self, id: u32) -> Result<()>;
    /// Append the text of the tokens that were appended.
    fn append_text(&mut self, text: &str);
    fn mark(&self) -> Self::Mark;
    fn go_back(&mut self, mark: Self::Mark) -> Result<()>;
}

/// The loop over any model; [`Generation`](super::Generation) is the one over a session.
///
/// A sentence ends where the segmentation rule cuts the text. Only the next token says where that
/// is, since a quotation mark may follow the full stop: it is chosen, and kept for the next
/// sentence.
pub(crate) struct TokenLoop<'m, M> {
    model: &'m mut M,
    options: GenerateOptions,
    sampler: Sampler,
    detokenizer: Detokenizer,
    /// The token that begins the next sentence, with its text.
    pending: Option<(u32, String)>,
    /// Logits to choose from.
    logits: Vec<f32>,
    sentences: usize,
    tokens: usize,
    finished: Option<FinishReason>,
    failed: bool,
}

impl<'m, M: TokenModel> TokenLoop<'m, M> {
    pub fn new(model: &'m mut M, options: GenerateOptions) -> Self {
        Self {
            sampler: Sampler::new(options.sampling.clone(), model.eos()),
            detokenizer: model.detokenizer(),
            model,
            options,
            pending: None,
            logits: Vec::new(),
            sentences: 0,
            tokens: 0,
            finished: None,
            failed: false,
        }
    }

    pub fn sentences(&self) -> usize {
        self.sentences
    }

    pub fn tokens(&self) -> usize {
        self.tokens
    }

    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finished
    }

    pub fn next_with(&mut self, on_text: &mut dyn FnMut(&str)) -> Option<Result<Sentence>> {
        if self.finished.is_some() || self.failed {
            return None;
        }
        let mark = self.model.mark();
        let sentence = match self.advance(on_text) {
            Ok(None) => self.model.go_back(mark).map(|()| None),
            // That the context cannot be restored would only hide what failed.
            Err(error) => self.model.go_back(mark).and(Err(error)),
            sentence => sentence,
        };
        self.failed = sentence.is_err();
        sentence.transpose()
    }

    fn advance(&mut self, on_text: &mut dyn FnMut(&str)) -> Result<Option<Sentence>> {
        let logits = self.model.logits().ok_or(Error::EmptyContext)?;
        if self.sentences >= self.options.max_sentences {
            self.finished = Some(FinishReason::MaxSentences);
            return Ok(None);
        }
        let stop_probability = probability(logits, self.model.eos());
        let (token_ids, text) = self.decode(on_text)?;
        if token_ids.is_empty()
            || (text.is_empty() && self.finished == Some(FinishReason::StopText))
        {
            return Ok(None);
        }
        self.model.append_text(&text);
        let index = self.sentences;
        self.sentences += 1;
        self.tokens += token_ids.len();
        Ok(Some(Sentence {
            index,
            text,
            token_ids,
            stop_probability,
        }))
    }

    /// The tokens of the next sentence and its text, which ends before the stop text.
    fn decode(&mut self, on_text: &mut dyn FnMut(&str)) -> Result<(Vec<u32>, String)> {
        let (mut ids, mut text, mut whole) = (Vec::new(), String::new(), String::new());
        let stop_text = self.options.stop_text.clone();
        let mut watch = StopText::new(stop_text.as_deref());
        let mut emit = |new: &str| {
            on_text(new);
            text.push_str(new);
        };
        while self.finished.is_none() {
            if self.model.room() == 0 {
                self.finished = Some(FinishReason::ContextFull);
                break;
            }
            let (id, piece) = match self.pending.take() {
                Some(pending) => pending,
                None => self.choose()?,
            };
            if id == self.model.eos() {
                self.finished = Some(FinishReason::Stop);
                if !ids.is_empty() {
                    ids.push(id);
                }
                break;
            }
            if begins_sentence(&whole, &piece) {
                self.pending = Some((id, piece));
                break;
            }
            self.model.append_token(id)?;
            ids.push(id);
            whole.push_str(&piece);
            if watch.push(&piece, &mut emit).is_break() {
                self.finished = Some(FinishReason::StopText);
            }
        }
        if !watch.found() {
            let rest = match self.finished {
                Some(_) => self.detokenizer.finish()?.unwrap_or_default(),
                None => "",
            };
            if watch.push(rest, &mut emit).is_continue() {
                watch.finish(&mut emit);
            }
        }
        Ok((ids, text))
    }

    /// The next token and the text that became complete by it.
    fn choose(&mut self) -> Result<(u32, String)> {
        let logits = self.model.logits().ok_or(Error::EmptyContext)?;
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        let eos = self.model.eos();
        if self.options.ignore_stop
            && let Some(logit) = self.logits.get_mut(eos as usize)
        {
            *logit = f32::NEG_INFINITY;
        }
        let id = self.sampler.choose(&mut self.logits);
        let piece = match id {
            id if id == eos => String::new(),
            id => self.detokenizer.push(id)?.unwrap_or_default().to_owned(),
        };
        Ok((id, piece))
    }
}

/// Whether the text of a token is the beginning of a new sentence after `sentence`: nothing but
/// white space lies between the last cut and the end of `sentence`.
fn begins_sentence(sentence: &str, piece: &str) -> bool {
    let joined = [sentence, piece].concat();
    let last = segments(&joined, Tail::Keep).last().map_or(0, str::len);
    let cut = joined.len() - last;
    cut > 0
        && joined
            .get(sentence.len()..cut)
            .is_some_and(|between| between.trim().is_empty())
}

/// The probability of a token.
fn probability(logits: &[f32], id: u32) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    logits
        .get(id as usize)
        .map_or(0.0, |logit| (logit - most).exp() / sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::tests::{EOS, VOCAB, ids, tokenizer};

    /// A model that says what it was told to say, and then eos.
    struct Scripted {
        script: Vec<u32>,
        place: usize,
        text: String,
        room: usize,
        logits: Vec<f32>,
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
                logits: Vec::new(),
                fails_at: None,
            };
            model.predict();
            model
        }

        fn predict(&mut self) {
            self.logits = vec![0.0; VOCAB];
            let next = self.script.get(self.place).copied().unwrap_or(EOS);
            self.logits[next as usize] = 9.0;
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

        fn logits(&self) -> Option<&[f32]> {
            Some(&self.logits)
        }

        fn detokenizer(&self) -> Detokenizer {
            tokenizer().stream()
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
                begins_sentence(sentence, piece),
                begins,
                "{sentence:?} {piece:?}"
            );
        }
    }
}
