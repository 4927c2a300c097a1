//! Which tokens of the vocabulary a text uses, and how often.

use std::cmp::Reverse;

use serde::Serialize;

use crate::{error::Result, text::SentenceTokenizer};

/// How many of the most frequent tokens are listed.
const LISTED: usize = 20;

/// How often each token occurs, by id.
#[derive(Clone, Debug)]
pub(super) struct TokenCounts {
    counts: Vec<u64>,
}

/// Which tokens of the vocabulary a text uses. bos, eos and pad are not counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VocabularyUse {
    /// The model's `vocab_size`, ids without a token included.
    pub size: usize,
    /// Ids that occur.
    pub used: usize,
    /// Their share of `size`.
    pub used_share: f64,
    /// The fewest ids that make up 99 % of all tokens of the text.
    pub ids_for_99_percent: usize,
    /// The 20 most frequent tokens, the most frequent first.
    pub most_frequent: Vec<TokenCount>,
}

/// How often a token occurs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TokenCount {
    /// Its id.
    pub id: u32,
    /// Its text; bytes that are not UTF-8 are U+FFFD.
    pub text: String,
    /// How often it occurs.
    pub count: u64,
    /// Its share of all tokens of the text.
    pub share: f64,
}

impl TokenCounts {
    pub fn new(vocab_size: usize) -> Self {
        Self {
            counts: vec![0; vocab_size],
        }
    }

    pub fn add(&mut self, ids: &[u32]) {
        for &id in ids {
            // A tokenizer that has ids beyond the vocabulary was refused when it was loaded.
            if let Some(count) = self.counts.get_mut(id as usize) {
                *count += 1;
            }
        }
    }

    pub fn report(&self, tokenizer: &SentenceTokenizer) -> Result<VocabularyUse> {
        let mut used: Vec<(u32, u64)> = (0..)
            .zip(&self.counts)
            .filter(|&(_, &count)| count > 0)
            .map(|(id, &count)| (id, count))
            .collect();
        used.sort_by_key(|&(id, count)| (Reverse(count), id));
        let total: u64 = self.counts.iter().sum();
        let most_frequent = used.iter().take(LISTED).map(|&(id, count)| {
            Ok(TokenCount {
                id,
                text: tokenizer.decode(&[id])?,
                count,
                share: count as f64 / total as f64,
            })
        });
        Ok(VocabularyUse {
            size: self.counts.len(),
            used: used.len(),
            used_share: used.len() as f64 / self.counts.len() as f64,
            ids_for_99_percent: covering(&used, total, 99),
            most_frequent: most_frequent.collect::<Result<_>>()?,
        })
    }
}

/// How many of `used`, the most frequent first, make up `percent` of `total`.
fn covering(used: &[(u32, u64)], total: u64, percent: u128) -> usize {
    let mut covered = 0;
    let short = |&&(_, count): &&(u32, u64)| {
        let before = covered;
        covered += u128::from(count);
        before * 100 < u128::from(total) * percent
    };
    used.iter().take_while(short).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage() {
        let rows: [(&[u64], usize); 5] = [
            (&[], 0),
            (&[7], 1),
            (&[99, 1], 1),
            (&[98, 1, 1], 2),
            (&[1; 100], 99),
        ];
        for (counts, expected) in rows {
            let used: Vec<_> = (0..).zip(counts.iter().copied()).collect();
            let total = counts.iter().sum();
            assert_eq!(covering(&used, total, 99), expected, "{counts:?}");
        }
    }
}
