//! From a text to sentences that a model can take, and from token ids to text.

use std::borrow::Cow;

use super::{
    Detokenizer, LongSentence, Rule, Segmentation, Segments, SentenceTokenizer, Sentences, Tail,
    TextSentence, WhiteSpace, check_length, split, stream::Spacing, white_space, words,
};
use crate::error::{Error, Result, TextError};

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
        Ok(Sentences::of_text(self, text))
    }

    /// `text` as one sentence, not cut at its marks; as several if it is too long and the
    /// segmentation splits.
    ///
    /// # Errors
    /// As [`sentences`](Self::sentences).
    pub fn one_sentence<'p, 't>(&'p self, text: &'t str) -> Result<Sentences<'p, 't>> {
        check_length(text)?;
        Ok(Sentences::of_sentence(self, text))
    }

    /// How many tokens of `text` are kept if it is taken as one sentence.
    ///
    /// `None` if it is not truncated, as in all bundles whose segmentation does not truncate.
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
    pub(super) fn first_sentence<'t>(
        &self,
        text: &'t str,
        ends_text: bool,
    ) -> Result<TextSentence<'t>> {
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

    /// What the model sees of `text`.
    fn form<'t>(&self, text: &'t str, ends_text: bool) -> Cow<'t, str> {
        match self.segmentation.white_space {
            WhiteSpace::Kept => Cow::Borrowed(text),
            WhiteSpace::Canonical => Cow::Owned(white_space::canonical(text, ends_text)),
        }
    }

    /// The text of a decoded sentence, with white space after it.
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
