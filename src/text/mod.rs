//! From text to sentences of token ids, and back.

mod clauses;
mod guard;
mod line_feeds;
mod original;
mod segment;
mod split;
mod stream;
mod token_bytes;
mod tokenizer;
mod white_space;
mod words;

use std::borrow::Cow;

use serde::Deserialize;

use crate::error::{Error, Result, TextError};

#[cfg(feature = "measure")]
pub(crate) use line_feeds::LineFeeds;
pub use line_feeds::{with_line_feeds, without_byte_order_mark};
pub use segment::{Rule, Segments, Tail, segments};
pub use split::LongSentence;
pub use stream::Detokenizer;
use stream::Spacing;
pub use tokenizer::SentenceTokenizer;
pub use white_space::{WhiteSpace, is_blank};

/// Longest text that is accepted at once, in bytes. A context holds a few thousand sentences; this
/// is far beyond it.
pub const MAX_TEXT_BYTES: usize = 64 << 20;

/// How text is cut for a model: the `segmentation` of a bundle's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Segmentation {
    /// Where sentences end.
    #[serde(default)]
    pub rule: Rule,
    /// What the model sees of white space.
    #[serde(default)]
    pub white_space: WhiteSpace,
    /// What becomes of the text after the last mark.
    pub tail: Tail,
    /// What becomes of a sentence that is too long for the model.
    pub long_sentence: LongSentence,
}

impl Segmentation {
    /// The same with another rule.
    #[must_use]
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// The same with white space in another form.
    #[must_use]
    pub fn with_white_space(mut self, white_space: WhiteSpace) -> Self {
        self.white_space = white_space;
        self
    }

    /// The same with another treatment of the text after the last mark.
    #[must_use]
    pub fn with_tail(mut self, tail: Tail) -> Self {
        self.tail = tail;
        self
    }

    /// The same with another treatment of sentences that are too long.
    #[must_use]
    pub fn with_long_sentence(mut self, long_sentence: LongSentence) -> Self {
        self.long_sentence = long_sentence;
        self
    }

    /// Cut `text` by the rule; joined, the pieces (and [`Segments::remainder`]) are `text`, byte for
    /// byte.
    pub fn segments(self, text: &str) -> Segments<'_> {
        Segments::new(text, self.rule, self.tail)
    }
}

/// A sentence of a text with its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextSentence<'t> {
    /// The sentence as it stands in the text, spaces after it included.
    pub text: &'t str,
    /// Its token ids without bos and eos; at most `max_sentence_tokens - 1`.
    pub ids: Vec<u32>,
    /// Whether `ids` is only the beginning of the sentence ([`LongSentence::Truncate`]).
    pub truncated: bool,
}

/// Turns text into sentences that a model can take: cut, split where too long, and tokenized.
#[derive(Debug, Clone)]
pub struct TextPipeline {
    tokenizer: SentenceTokenizer,
    segmentation: Segmentation,
    /// Tokens of a sentence without bos, at least 1.
    limit: usize,
}

impl TextPipeline {
    /// A pipeline for sentences of at most `max_sentence_tokens` tokens, bos included.
    ///
    /// # Errors
    /// [`TextError::SentenceLimit`] if `max_sentence_tokens` is below 2.
    pub fn new(
        tokenizer: SentenceTokenizer,
        segmentation: Segmentation,
        max_sentence_tokens: usize,
    ) -> Result<Self> {
        match max_sentence_tokens.checked_sub(1) {
            None | Some(0) => Err(Error::Text(TextError::SentenceLimit {
                found: max_sentence_tokens,
            })),
            Some(limit) => Ok(Self {
                tokenizer,
                segmentation,
                limit,
            }),
        }
    }

    /// The tokenizer in use.
    pub fn tokenizer(&self) -> &SentenceTokenizer {
        &self.tokenizer
    }

    /// How text is cut and treated.
    pub(crate) fn segmentation(&self) -> Segmentation {
        self.segmentation
    }

    /// The sentences of `text`, one by one: only what is asked for is tokenized.
    ///
    /// # Errors
    /// [`TextError::TooLarge`] here; each item may be [`TextError::CharacterTooLong`] or
    /// [`TextError::Encode`], after which the iterator ends.
    pub fn sentences<'p, 't>(&'p self, text: &'t str) -> Result<Sentences<'p, 't>> {
        check_length(text)?;
        Ok(Sentences {
            pipeline: self,
            segments: self.segmentation.segments(text),
            rest: "",
            unused: text,
            failed: false,
        })
    }

    /// `text` as one sentence, not cut at its marks; more than one where it is too long and is to
    /// be split.
    ///
    /// # Errors
    /// As [`sentences`](Self::sentences).
    pub fn one_sentence<'p, 't>(&'p self, text: &'t str) -> Result<Sentences<'p, 't>> {
        check_length(text)?;
        Ok(Sentences {
            pipeline: self,
            segments: segments("", Tail::Keep),
            rest: text,
            unused: text,
            failed: false,
        })
    }

    /// How many tokens are kept of a text that is taken as one sentence; `None` if it is not cut
    /// short, as in all bundles whose segmentation does not truncate.
    ///
    /// # Errors
    /// As [`sentences`](Self::sentences).
    pub fn truncated_tokens(&self, text: &str) -> Result<Option<usize>> {
        if self.segmentation.long_sentence != LongSentence::Truncate {
            return Ok(None);
        }
        let first = self.one_sentence(text)?.next().transpose()?;
        let truncated = first.filter(|sentence| sentence.truncated);
        Ok(truncated.map(|sentence| sentence.ids.len()))
    }

    /// The beginning of `text` that the model takes as one sentence; `ends_text` if nothing follows
    /// in the text that it is of.
    fn first_sentence<'t>(&self, text: &'t str, ends_text: bool) -> Result<TextSentence<'t>> {
        let Segmentation {
            rule,
            white_space,
            long_sentence,
            ..
        } = self.segmentation;
        if (rule, white_space) == (Rule::Original, WhiteSpace::Kept) {
            return split::first_piece(&self.tokenizer, text, self.limit, long_sentence);
        }
        // What stands in front of the words in canonical form says nothing, however it is split.
        let words = match white_space {
            WhiteSpace::Kept => text,
            WhiteSpace::Canonical => white_space::trim_indent(text),
        };
        let first = match long_sentence {
            LongSentence::Split => words::first_part(&self.tokenizer, words, self.limit, |text| {
                self.form(text, ends_text)
            })?,
            LongSentence::Truncate => {
                let formed = self.form(words, ends_text);
                let first =
                    split::first_piece(&self.tokenizer, &formed, self.limit, long_sentence)?;
                TextSentence {
                    text: words,
                    ids: first.ids,
                    truncated: first.truncated,
                }
            }
        };
        let rest = words.len() - first.text.len();
        let text = text.get(..text.len() - rest).unwrap_or(text);
        Ok(TextSentence { text, ..first })
    }

    /// Token ids of a whole text, for a token-level model: in canonical form those of its sentences,
    /// one after the other.
    ///
    /// # Errors
    /// Those of [`SentenceTokenizer::encode`].
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        if self.segmentation.white_space == WhiteSpace::Kept {
            return self.tokenizer.encode(text);
        }
        check_length(text)?;
        let mut ids = Vec::new();
        let mut pieces = self.pieces(text);
        while let Some(piece) = pieces.next() {
            let form = self.form(piece, white_space::says_nothing(pieces.remainder()));
            ids.extend(self.tokenizer.encode(&form)?);
        }
        Ok(ids)
    }

    /// The least number of tokens that `text` can have, as far as that is known.
    pub(crate) fn min_tokens(&self, text: &str) -> usize {
        let bytes = match self.segmentation.white_space {
            WhiteSpace::Kept => text.len(),
            WhiteSpace::Canonical => white_space::word_bytes(text),
        };
        self.tokenizer.min_tokens(bytes)
    }

    /// The sentences of `text` as the rule cuts it, its end included.
    pub(crate) fn pieces<'t>(&self, text: &'t str) -> Segments<'t> {
        self.segmentation.with_tail(Tail::Keep).segments(text)
    }

    /// Bytes at the end of `text` whose sentences may change if the text continues: those of the last
    /// two that say something, since a mark may need what follows it.
    pub(crate) fn incomplete_bytes(&self, text: &str) -> usize {
        let [mut last, mut before] = [0; 2];
        for piece in self.pieces(text) {
            match white_space::says_nothing(piece) {
                true => last += piece.len(),
                false => (before, last) = (last, piece.len()),
            }
        }
        before + last
    }

    /// What the model sees of `text`.
    fn form<'t>(&self, text: &'t str, ends_text: bool) -> Cow<'t, str> {
        match self.segmentation.white_space {
            WhiteSpace::Kept => Cow::Borrowed(text),
            WhiteSpace::Canonical => Cow::Owned(white_space::canonical(text, ends_text)),
        }
    }

    /// The text of a sentence that was decoded, with white space behind it.
    ///
    /// # Errors
    /// [`TextError::Decode`], never for a byte-level tokenizer.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let text = self.tokenizer.decode(ids)?;
        Ok(match self.segmentation.white_space {
            WhiteSpace::Kept => text,
            WhiteSpace::Canonical => white_space::sentence(&text),
        })
    }

    /// As [`decode`](Self::decode), in canonical form with the white space around `original`.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub(crate) fn decode_like(&self, ids: &[u32], original: &str) -> Result<String> {
        let text = self.tokenizer.decode(ids)?;
        Ok(match self.segmentation.white_space {
            WhiteSpace::Kept => text,
            WhiteSpace::Canonical => white_space::surround(&text, original),
        })
    }

    /// Put a blank behind a text that is continued and ends without white space, in canonical form.
    pub(crate) fn separate(&self, text: &mut String) {
        let separated = text.ends_with(char::is_whitespace);
        if self.segmentation.white_space == WhiteSpace::Canonical && !separated {
            text.push(' ');
        }
    }

    /// A decoder that takes the ids of a sentence one by one.
    pub fn detokenizer(&self) -> Detokenizer {
        Detokenizer::new(
            self.tokenizer.clone(),
            match self.segmentation.white_space {
                WhiteSpace::Kept => Spacing::Kept,
                WhiteSpace::Canonical => Spacing::Sentence,
            },
        )
    }

    /// A decoder that takes the ids of a text after `before`, for a token-level model: in canonical
    /// form each word has a blank in front of it, which is left out after white space.
    pub(crate) fn text_detokenizer(&self, before: &str) -> Detokenizer {
        let after_space = before.is_empty() || before.ends_with(char::is_whitespace);
        Detokenizer::new(
            self.tokenizer.clone(),
            match self.segmentation.white_space {
                WhiteSpace::Kept => Spacing::Kept,
                WhiteSpace::Canonical => Spacing::Text { after_space },
            },
        )
    }
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

impl<'t> Sentences<'_, 't> {
    /// Bytes of the text that no sentence was made of yet.
    pub(crate) fn remaining_bytes(&self) -> usize {
        self.rest.len() + self.segments.remainder().len()
    }

    /// Whether the sentence that came last is followed by another part of the same one, which is too
    /// long.
    pub(crate) fn is_within_sentence(&self) -> bool {
        !self.rest.is_empty()
    }

    /// After the last sentence: the text that was dropped by [`Tail::Drop`], else empty.
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
            if self.pipeline.segmentation.white_space == WhiteSpace::Canonical {
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

/// Refuses a text that is longer than [`MAX_TEXT_BYTES`].
fn check_length(text: &str) -> Result<()> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Error::Text(TextError::TooLarge {
            bytes: text.len(),
            limit: MAX_TEXT_BYTES,
        }));
    }
    Ok(())
}
