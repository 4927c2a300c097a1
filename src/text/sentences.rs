//! The sentences of a text, one by one.

use super::{Segments, TextPipeline, WhiteSpace, white_space};
use crate::error::Result;

/// A sentence of a text with its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextSentence<'t> {
    /// The sentence as it stands in the text, spaces after it included.
    pub text: &'t str,
    /// Its token ids without bos and eos; at most `max_sentence_tokens - 1`.
    pub ids: Vec<u32>,
    /// Whether `ids` is only the beginning of the sentence
    /// ([`LongSentence::Truncate`](super::LongSentence::Truncate)).
    pub truncated: bool,
}

/// Iterator over the sentences of a text; see [`TextPipeline::sentences`].
#[derive(Debug, Clone)]
pub struct Sentences<'p, 't> {
    pipeline: &'p TextPipeline,
    segments: Segments<'t>,
    /// What is left of a sentence that is being split.
    rest: &'t str,
    /// The text behind the last sentence.
    unused: &'t str,
    failed: bool,
}

impl<'p, 't> Sentences<'p, 't> {
    /// Those of a text.
    pub(super) fn of_text(pipeline: &'p TextPipeline, text: &'t str) -> Self {
        Self {
            pipeline,
            segments: pipeline.segmentation().segments(text),
            rest: "",
            unused: text,
            failed: false,
        }
    }

    /// Those of a text that is one sentence, whatever marks it has.
    pub(super) fn of_sentence(pipeline: &'p TextPipeline, text: &'t str) -> Self {
        Self {
            rest: text,
            unused: text,
            ..Self::of_text(pipeline, "")
        }
    }

    /// Bytes of the text that no sentence was made of yet.
    pub(crate) fn remaining_bytes(&self) -> usize {
        self.rest.len() + self.segments.remainder().len()
    }

    /// Whether the sentence that came last is followed by another part of the same one, which is too
    /// long.
    pub(crate) fn is_within_sentence(&self) -> bool {
        !self.rest.is_empty()
    }

    /// After the last sentence: the text that was dropped by [`Tail::Drop`](super::Tail::Drop),
    /// else empty.
    pub fn dropped(&self) -> &'t str {
        self.segments.remainder()
    }
}

impl<'t> Iterator for Sentences<'_, 't> {
    type Item = Result<TextSentence<'t>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        // What says nothing belongs to the sentence after it, or to the last one.
        let mut skipped = 0;
        loop {
            let text = match self.rest {
                "" => self.segments.next()?,
                rest => rest,
            };
            let ends_text = white_space::says_nothing(self.segments.remainder());
            let sentence = match self.pipeline.first_sentence(text, ends_text) {
                Ok(sentence) => sentence,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            };
            let mut length = sentence.text.len();
            self.rest = text.get(length..).unwrap_or_default();
            if self.pipeline.segmentation().white_space == WhiteSpace::Canonical {
                if sentence.ids.is_empty() {
                    skipped += length;
                    continue;
                }
                if ends_text && self.rest.is_empty() {
                    length += self.segments.by_ref().map(str::len).sum::<usize>();
                }
            }
            let (text, after) = self.unused.split_at(skipped + length);
            self.unused = after;
            return Some(Ok(TextSentence { text, ..sentence }));
        }
    }
}
