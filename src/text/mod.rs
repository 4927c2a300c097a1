//! From text to sentences of token ids, and back.

mod clauses;
mod guard;
mod line_feeds;
mod original;
mod pipeline;
mod segment;
mod sentences;
mod split;
mod stream;
mod token_bytes;
mod tokenizer;
mod white_space;
mod words;

use serde::Deserialize;

use crate::error::{Error, Result, TextError};

#[cfg(feature = "measure")]
pub(crate) use line_feeds::LineFeeds;
pub use line_feeds::{with_line_feeds, without_byte_order_mark};
pub use pipeline::TextPipeline;
pub use segment::{Rule, Segments, Tail, segments};
pub use sentences::{Sentences, TextSentence};
pub use split::LongSentence;
pub use stream::Detokenizer;
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
    /// What happens to the text after the last mark.
    pub tail: Tail,
    /// What happens to a sentence that is too long for the model.
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
