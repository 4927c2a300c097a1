//! The loop over a token-level model, whose stream of tokens is given out in sentences.

use std::collections::VecDeque;

use crate::{
    candidates::Candidates,
    error::{Error, Result},
    sampling::Sampler,
    text::{Detokenizer, Segmentation},
};

use super::{FinishReason, GenerateOptions, Limits, Sentence, sentence_span, stop_text::StopText};

/// Any text that is no white space and no mark.
const ANY_TEXT: &str = "a";

/// What the loop needs of a token-level model with a context.
pub(crate) trait TokenModel {
    /// A place in the context.
    type Mark;

    fn eos(&self) -> u32;
    /// How many tokens fit into the context yet.
    fn room(&self) -> usize;
    /// What may come next, `None` without a context.
    fn candidates(&self) -> Option<&Candidates>;
    fn detokenizer(&self) -> Detokenizer;
    /// The text of the context.
    fn text(&self) -> &str;
    /// The tokens of the context.
    fn ids(&self) -> &[u32];
    /// How text is cut into sentences, its end kept.
    fn segmentation(&self) -> Segmentation;
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
/// sentence. A token may be a part of a character only; then it takes all tokens of the character.
pub(crate) struct TokenLoop<'m, M> {
    model: &'m mut M,
    options: GenerateOptions,
    sampler: Sampler,
    detokenizer: Detokenizer,
    /// The tokens that begin the next sentence, each with the text that became complete by it.
    pending: VecDeque<(u32, String)>,
    /// What is being chosen from.
    candidates: Candidates,
    sentences: usize,
    tokens: usize,
    finished: Option<FinishReason>,
    failed: bool,
    limits: Limits,
}

impl<'m, M: TokenModel> TokenLoop<'m, M> {
    pub fn new(model: &'m mut M, options: GenerateOptions) -> Self {
        let mut sampler = Sampler::new(options.sampling(), model.eos());
        sampler.observe(model.ids().iter().copied());
        Self {
            sampler,
            detokenizer: model.detokenizer(),
            model,
            limits: Limits::new(&options),
            options,
            pending: VecDeque::new(),
            candidates: Candidates::default(),
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
        self.options.only_tokens()?;
        let candidates = self.model.candidates().ok_or(Error::EmptyContext)?;
        if self.sentences >= self.options.max_sentences {
            self.finished = Some(FinishReason::MaxSentences);
            return Ok(None);
        }
        let span = sentence_span(self.sentences);
        let _entered = span.enter();
        let stop_probability = candidates.probability(self.model.eos());
        let (token_ids, text) = self.decode(on_text)?;
        if token_ids.is_empty()
            || (text.is_empty() && self.finished == Some(FinishReason::StopText))
        {
            return Ok(None);
        }
        span.record("tokens", token_ids.len());
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
        let rule = self.model.segmentation();
        let mut watch = StopText::new(&self.options.stop_texts, self.model.text());
        let mut emit = |new: &str| {
            on_text(new);
            text.push_str(new);
        };
        // Parts of a character that may begin the next sentence, and the place before them.
        let mut parts: Vec<u32> = Vec::new();
        let mut before_parts = None;
        while self.finished.is_none() {
            self.finished = self.limits.reached();
            if self.finished.is_some() {
                return Ok((Vec::new(), String::new()));
            }
            if self.model.room() == 0 {
                self.finished = Some(FinishReason::ContextFull);
                break;
            }
            let (id, piece) = match self.pending.pop_front() {
                Some(pending) => pending,
                None => self.choose()?,
            };
            if id == self.model.eos() {
                self.finished = Some(FinishReason::Stop);
                if !ids.is_empty() {
                    parts.push(id);
                }
                break;
            }
            if piece.is_empty() && begins_sentence(rule, &whole, ANY_TEXT) {
                if before_parts.is_none() {
                    before_parts = Some(self.model.mark());
                }
                self.model.append_token(id)?;
                parts.push(id);
                continue;
            }
            if begins_sentence(rule, &whole, &piece) {
                if let Some(mark) = before_parts.take() {
                    self.model.go_back(mark)?;
                }
                let parts = parts.drain(..).map(|part| (part, String::new()));
                self.pending = parts.chain([(id, piece)]).collect();
                break;
            }
            self.model.append_token(id)?;
            ids.append(&mut parts);
            before_parts = None;
            ids.push(id);
            whole.push_str(&piece);
            if watch.push(&piece, &mut emit).is_break() {
                self.finished = Some(FinishReason::StopText);
            }
        }
        ids.append(&mut parts);
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
        let candidates = self.model.candidates().ok_or(Error::EmptyContext)?;
        self.candidates.copy_from(candidates);
        let eos = self.model.eos();
        if self.options.ignore_stop
            && let Some(logit) = self.candidates.logit_mut(eos)
        {
            *logit = f32::NEG_INFINITY;
        }
        self.sampler.go_to(0, self.model.ids().len());
        let id = self.sampler.choose(&mut self.candidates);
        let piece = match id {
            id if id == eos => String::new(),
            id => self.detokenizer.push(id)?.unwrap_or_default().to_owned(),
        };
        Ok((id, piece))
    }
}

/// Whether the text of a token is the beginning of a new sentence after `sentence`: nothing but
/// white space lies between the last cut and the end of `sentence`.
fn begins_sentence(rule: Segmentation, sentence: &str, piece: &str) -> bool {
    let joined = [sentence, piece].concat();
    let last = rule.segments(&joined).last().map_or(0, str::len);
    let cut = joined.len() - last;
    cut > 0
        && joined
            .get(sentence.len()..cut)
            .is_some_and(|between| between.trim().is_empty())
}

#[cfg(test)]
mod tests;
