//! Progress of a token-level continuation.

use crate::{
    context::TokenContext,
    error::Result,
    generate::{
        FinishReason, GenerateOptions, Sentence, limits::Limits, rows::RowProgress,
        stop_text::StopText,
    },
    logits::Logits,
    sampling::Sampler,
    text::{Detokenizer, Segmentation, Tail},
};

/// Any text that is neither white space nor a mark.
const ANY_TEXT: &str = "a";

/// How far the continuation of a row is.
///
/// A sentence ends where the segmentation rule cuts the text. Only the next token says where that
/// is, since a quotation mark may follow the full stop: it is chosen, and begins the next sentence.
/// A token may be a part of a character only; then all tokens of the character are needed.
pub(super) struct Progress {
    pub(super) options: GenerateOptions,
    pub(super) rules: Rules,
    sampler: Sampler,
    limits: Limits,
    detokenizer: Detokenizer,
    sentence: OpenSentence,
    /// A chosen token that was not run yet.
    pub(super) next: Option<u32>,
    pub(super) sentences: usize,
    /// Tokens of the sentences that were given out.
    tokens: usize,
}

/// What is fixed for a model.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) eos: u32,
    segmentation: Segmentation,
    /// Most tokens of a context.
    max_tokens: usize,
}

/// A sentence that is being generated.
struct OpenSentence {
    /// Its tokens.
    ids: Vec<u32>,
    text: String,
    /// Text of its first token that was not given out yet.
    pending: Option<String>,
    /// Tokens of an incomplete character, which may begin the next sentence.
    parts: Vec<u32>,
    /// The probability of eos before these parts.
    before_parts: f32,
    /// Of its tokens and those of `parts`, if they are asked for.
    log_probabilities: Vec<f32>,
    stop_text: StopText,
    stop_probability: f32,
}

/// What a row does next.
pub(super) enum Step {
    /// Run the chosen token.
    Continue,
    /// The sentence is over.
    Sentence(Sentence),
    /// The continuation is over, after this sentence if there is one.
    End(Option<Sentence>, FinishReason),
}

impl Progress {
    pub(super) fn of_context(options: GenerateOptions, context: &TokenContext) -> Self {
        let model = context.model();
        let rules = Rules {
            eos: model.shared.special_tokens().eos,
            segmentation: model.shared.bundle.segmentation,
            max_tokens: model.graph.max_positions(),
        };
        let detokenizer = model.shared.pipeline.text_detokenizer(context.text());
        let stop_probability = context.logits().probability(rules.eos);
        let mut progress = Self::new(options, rules, detokenizer, context.text());
        progress.sentence.stop_probability = stop_probability;
        progress.sampler.observe(context.ids().iter().copied());
        progress
    }

    /// The continuation of the text `before`.
    fn new(
        options: GenerateOptions,
        mut rules: Rules,
        detokenizer: Detokenizer,
        before: &str,
    ) -> Self {
        rules.segmentation = rules.segmentation.with_tail(Tail::Keep);
        Self {
            sampler: Sampler::new(options.sampling(), rules.eos),
            limits: Limits::new(&options),
            detokenizer,
            sentence: OpenSentence::new(&options, before),
            options,
            rules,
            next: None,
            sentences: 0,
            tokens: 0,
        }
    }

    /// Give out the text that is pending, or choose the next token from the logits `after` the last
    /// one. The context holds `held` tokens; `logits` is memory for a copy.
    pub(super) fn advance(
        &mut self,
        held: usize,
        after: &Logits,
        logits: &mut Logits,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Step> {
        if self.sentences >= self.options.max_sentences {
            return Ok(Step::End(None, FinishReason::MaxSentences));
        }
        if let Some(piece) = self.sentence.pending.take()
            && self.sentence.push(&piece, on_text)
        {
            return self.end(FinishReason::StopText, on_text);
        }
        if self.next.is_some() {
            return Ok(Step::Continue);
        }
        if let Some(reason) = self.limits.reached() {
            return Ok(Step::End(None, reason));
        }
        let tokens = self.tokens + self.sentence.ids.len() + self.sentence.parts.len();
        if self.options.max_tokens.is_some_and(|max| tokens >= max) {
            return self.end(FinishReason::MaxTokens, on_text);
        }
        let position = held + self.sentence.ids.len() + self.sentence.parts.len();
        if position >= self.rules.max_tokens {
            return self.end(FinishReason::ContextFull, on_text);
        }
        logits.copy_from(after);
        let eos = self.rules.eos;
        if self.options.ignore_eos || self.options.fixed_sentence_tokens.is_some() {
            logits.mask(eos);
        }
        if let Some(hook) = &self.options.logits_hook {
            hook.call(&self.sentence.ids, logits)?;
        }
        self.sampler.go_to(0, position);
        let id = self.sampler.choose(logits);
        if self.options.log_probabilities {
            let log_probability = after.log_probability(id);
            self.sentence.log_probabilities.push(log_probability);
        }
        if id == eos {
            if !self.sentence.ids.is_empty() {
                self.sentence.parts.push(id);
            }
            return self.end(FinishReason::Stop, on_text);
        }
        self.next = Some(id);
        let piece = self.detokenizer.push(id)?.unwrap_or_default().to_owned();
        match self.options.fixed_sentence_tokens {
            Some(length) => Ok(self.take_fixed(id, &piece, length, after, on_text)),
            None => self.take(id, piece, after, on_text),
        }
    }

    /// Take the chosen token, with the text that it completes, into this sentence or the next.
    fn take(
        &mut self,
        id: u32,
        piece: String,
        after: &Logits,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Step> {
        let Rules {
            eos, segmentation, ..
        } = self.rules;
        let open = &mut self.sentence;
        if piece.is_empty() && begins_sentence(segmentation, &open.text, ANY_TEXT) {
            if open.parts.is_empty() {
                open.before_parts = after.probability(eos);
            }
            open.parts.push(id);
            return Ok(Step::Continue);
        }
        if begins_sentence(segmentation, &open.text, &piece) {
            let stop_probability = match open.parts.is_empty() {
                true => after.probability(eos),
                false => open.before_parts,
            };
            let begun = [std::mem::take(&mut open.parts), vec![id]].concat();
            let sentence = self.finish("", on_text);
            self.sentence.ids = begun;
            self.sentence.pending = Some(piece);
            self.sentence.stop_probability = stop_probability;
            return Ok(sentence.map_or(Step::Continue, Step::Sentence));
        }
        open.ids.append(&mut open.parts);
        open.ids.push(id);
        if open.push(&piece, on_text) {
            return self.end(FinishReason::StopText, on_text);
        }
        Ok(Step::Continue)
    }

    /// Take the chosen token into a sentence of a fixed length.
    fn take_fixed(
        &mut self,
        id: u32,
        piece: &str,
        length: usize,
        after: &Logits,
        on_text: &mut dyn FnMut(&str),
    ) -> Step {
        self.sentence.ids.push(id);
        self.sentence.push(piece, on_text);
        if self.sentence.ids.len() < length {
            return Step::Continue;
        }
        let sentence = self.finish("", on_text);
        self.sentence.stop_probability = after.probability(self.rules.eos);
        sentence.map_or(Step::Continue, Step::Sentence)
    }

    /// End the continuation with what there is of the sentence.
    fn end(&mut self, reason: FinishReason, on_text: &mut dyn FnMut(&str)) -> Result<Step> {
        let rest = self.detokenizer.finish()?.unwrap_or_default().to_owned();
        let sentence = self.finish(&rest, on_text);
        if !self.sentence.stop_text.found() {
            return Ok(Step::End(sentence, reason));
        }
        let sentence = sentence.filter(|sentence| !sentence.text.is_empty());
        Ok(Step::End(sentence, FinishReason::StopText))
    }

    /// The sentence with `rest` at its end; `None` if it has no tokens.
    fn finish(&mut self, rest: &str, on_text: &mut dyn FnMut(&str)) -> Option<Sentence> {
        let open = &mut self.sentence;
        let mut ids = std::mem::take(&mut open.ids);
        ids.append(&mut open.parts);
        if !open.stop_text.found() {
            open.push(rest, on_text);
        }
        let text = std::mem::take(&mut open.text);
        if ids.is_empty() {
            return None;
        }
        let index = self.sentences;
        self.sentences += 1;
        self.tokens += ids.len();
        // Those of the tokens that begin the next sentence stay.
        let log_probabilities = &mut self.sentence.log_probabilities;
        let own = log_probabilities.drain(..ids.len().min(log_probabilities.len()));
        let own = own.collect();
        Some(Sentence {
            index,
            text,
            token_ids: ids,
            stop_probability: self.sentence.stop_probability,
            log_probabilities: self.options.log_probabilities.then_some(own),
        })
    }
}

impl RowProgress for Progress {
    fn pass_on_held(&mut self, on_text: &mut dyn FnMut(&str)) {
        self.sentence.stop_text.finish(on_text);
    }
}

impl OpenSentence {
    fn new(options: &GenerateOptions, before: &str) -> Self {
        Self {
            ids: Vec::new(),
            text: String::new(),
            pending: None,
            parts: Vec::new(),
            before_parts: 0.0,
            log_probabilities: Vec::new(),
            stop_text: StopText::new(&options.stop_texts, before),
            stop_probability: 0.0,
        }
    }

    /// Add a piece of text; returns whether a stop text is complete.
    fn push(&mut self, piece: &str, on_text: &mut dyn FnMut(&str)) -> bool {
        self.stop_text.push(piece, &mut self.text, on_text)
    }
}

/// Whether the text of a token begins a new sentence after `sentence`: nothing but white space lies
/// between the last cut and the end of `sentence`.
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
