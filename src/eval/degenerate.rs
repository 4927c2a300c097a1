//! Degenerate continuations.

use std::{collections::HashMap, fmt};

use serde::Serialize;

/// Words from which on a sentence counts as repeated.
const MIN_WORDS: usize = 3;
/// How often a sentence may come.
const MAX_TIMES: usize = 2;

/// Why a continuation is degenerate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Degeneration {
    /// It has no text.
    Empty,
    /// Fewer than half of its characters are letters or digits.
    Marks,
    /// A sentence of three or more words occurs three times or more, regardless of case and white
    /// space.
    Repetition,
}

impl Degeneration {
    /// Judge a continuation by the texts of its sentences; `None` if it is not degenerate.
    ///
    /// ```
    /// use sllm_ort::eval::Degeneration;
    ///
    /// assert_eq!(Degeneration::of(["The dog ran. ", "It was happy. "]), None);
    /// assert_eq!(Degeneration::of(["... ", "!? "]), Some(Degeneration::Marks));
    /// ```
    pub fn of<'t>(sentences: impl IntoIterator<Item = &'t str>) -> Option<Self> {
        let (mut all, mut letters) = (0, 0);
        let mut times: HashMap<String, usize> = HashMap::new();
        let mut repeated = false;
        let sentences: Vec<&str> = sentences.into_iter().collect();
        let joined = sentences.concat();
        for c in joined.trim().chars() {
            all += 1;
            letters += usize::from(c.is_alphanumeric());
        }
        for sentence in sentences {
            let words: Vec<String> = sentence.split_whitespace().map(str::to_lowercase).collect();
            if words.len() >= MIN_WORDS {
                let count = times.entry(words.join(" ")).or_default();
                *count += 1;
                repeated |= *count > MAX_TIMES;
            }
        }
        match () {
            () if all == 0 => Some(Self::Empty),
            () if 2 * letters < all => Some(Self::Marks),
            () if repeated => Some(Self::Repetition),
            () => None,
        }
    }
}

impl fmt::Display for Degeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no text",
            Self::Marks => "mostly marks",
            Self::Repetition => "repetition",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let cases: [(&[&str], Option<Degeneration>); 9] = [
            (&[], Some(Degeneration::Empty)),
            (&[" \n"], Some(Degeneration::Empty)),
            (&[". ", ". ", ". "], Some(Degeneration::Marks)),
            (&["ab."], None),
            (&["a..."], Some(Degeneration::Marks)),
            (&["He ran home. "; 2], None),
            (&["He ran home. "; 3], Some(Degeneration::Repetition)),
            (&["He ran. "; 9], None),
            (
                &[
                    "He ran home. ",
                    "HE RAN HOME.\n",
                    "It sat. ",
                    "he  ran home.",
                ],
                Some(Degeneration::Repetition),
            ),
        ];
        for (sentences, expected) in cases {
            assert_eq!(
                Degeneration::of(sentences.iter().copied()),
                expected,
                "{sentences:?}"
            );
        }
    }
}
