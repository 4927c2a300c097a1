//! Where one sentence ends and the next begins.

use std::iter::FusedIterator;

use serde::Deserialize;

use super::{clauses, original, white_space};

/// The rule that cuts a text into sentences: `segmentation.rule` of a bundle's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Rule {
    /// The rule of the original (BestAnHongjun/SentenceVAE). It cuts after each comma, stop, colon,
    /// straight quote and line break, also in `3.14`.
    #[default]
    Original,
    /// Sentences and long clauses. It cuts after a run of marks with its closing quotes and
    /// brackets, and after a line break; not inside numbers, addresses and ellipses, after initials
    /// and abbreviations, or at a comma shortly after the last cut.
    Clauses,
}

/// What happens to the text after the last mark, such as "Bye" in "Hello. Bye".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Tail {
    /// It is kept as a sentence.
    #[default]
    Keep,
    /// It is dropped, as in the original.
    Drop,
}

/// Cut `text` by the original's rule; joined, the pieces (and [`Segments::remainder`]) are `text`,
/// byte for byte. White space after a mark belongs to the sentence that the mark ends.
///
/// ```
/// use sllm_ort::text::{Tail, segments};
///
/// let pieces: Vec<_> = segments("Hello, my friend. Bye", Tail::Keep).collect();
/// assert_eq!(pieces, ["Hello, ", "my friend. ", "Bye"]);
/// ```
pub fn segments(text: &str, tail: Tail) -> Segments<'_> {
    Segments::new(text, Rule::Original, tail)
}

/// Iterator over the sentences of a text; see [`segments`].
#[derive(Debug, Clone)]
pub struct Segments<'t> {
    rest: &'t str,
    rule: Rule,
    tail: Tail,
    done: bool,
}

impl<'t> Segments<'t> {
    pub(super) fn new(text: &'t str, rule: Rule, tail: Tail) -> Self {
        Self {
            rest: text,
            rule,
            tail,
            done: false,
        }
    }

    /// The text not yet handed out: in the end the tail, if it is dropped.
    pub fn remainder(&self) -> &'t str {
        self.rest
    }

    /// Bytes of the last sentence that says something, and of the last two, with what says nothing
    /// behind them. They may change if the text continues: a mark may need what follows it.
    pub(crate) fn incomplete_bytes(self) -> [usize; 2] {
        let [mut last, mut before] = [0; 2];
        for piece in self {
            match white_space::says_nothing(piece) {
                true => last += piece.len(),
                false => (before, last) = (last, piece.len()),
            }
        }
        [last, before + last]
    }
}

impl<'t> Iterator for Segments<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.done || self.rest.is_empty() {
            return None;
        }
        let end = match self.rule {
            Rule::Original => original::sentence_end(self.rest.as_bytes()),
            Rule::Clauses => clauses::piece_end(self.rest),
        };
        let end = match (end, self.tail) {
            (Some(end), _) => end,
            (None, Tail::Keep) => self.rest.len(),
            (None, Tail::Drop) => {
                self.done = true;
                return None;
            }
        };
        // `end` lies behind a complete mark or behind ASCII, thus on a character boundary.
        let (sentence, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(sentence)
    }
}

impl FusedIterator for Segments<'_> {}
