//! Distributions of lengths.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts by length.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths {
    counts: BTreeMap<u64, u64>,
}

/// Mean and percentiles of lengths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LengthSummary {
    /// Mean.
    pub mean: f64,
    /// The smallest length that at least half do not exceed.
    pub median: u64,
    /// The smallest length that at least 90 % do not exceed.
    pub p90: u64,
    /// The smallest length that at least 99 % do not exceed.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

/// How many sentences have a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SentenceLength {
    /// Tokens, bos and eos not counted.
    pub tokens: u64,
    /// Sentences of so many tokens.
    pub sentences: u64,
}

/// A bin of a histogram: how many sentences have a length in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bin {
    /// The smallest length, in tokens.
    pub from: u64,
    /// The largest length; `None` for all from `from` on.
    pub to: Option<u64>,
    /// Sentences of these lengths.
    pub sentences: u64,
}

impl Bin {
    /// The lengths: `7`, `7-8` or `7+`.
    #[must_use]
    pub fn label(&self) -> String {
        match self.to {
            Some(to) if to == self.from => to.to_string(),
            Some(to) => format!("{}-{to}", self.from),
            None => format!("{}+", self.from),
        }
    }
}

impl Lengths {
    pub fn add(&mut self, length: u64) {
        *self.counts.entry(length).or_default() += 1;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// All lengths together.
    pub fn total(&self) -> u64 {
        self.counts
            .iter()
            .map(|(length, count)| length * count)
            .sum()
    }

    /// `None` without any.
    pub fn summary(&self) -> Option<LengthSummary> {
        let (&max, _) = self.counts.last_key_value()?;
        Some(LengthSummary {
            mean: self.total() as f64 / self.count() as f64,
            median: self.percentile(50)?,
            p90: self.percentile(90)?,
            p99: self.percentile(99)?,
            max,
        })
    }

    /// The smallest length that at least `percent` of 100 do not exceed.
    fn percentile(&self, percent: u128) -> Option<u64> {
        let count = u128::from(self.count());
        let mut seen = 0;
        let reached = |&(_, &count_of_length): &(&u64, &u64)| {
            seen += u128::from(count_of_length);
            seen * 100 >= count * percent
        };
        self.counts.iter().find(reached).map(|(&length, _)| length)
    }

    pub fn by_length(&self) -> Vec<SentenceLength> {
        let one = |(&tokens, &sentences)| SentenceLength { tokens, sentences };
        self.counts.iter().map(one).collect()
    }
}

/// The lengths, shortest first, in at most `most` bins of equal width from the shortest (but not
/// above 1) on. A few sentences that are far longer than the others share the last bin.
pub(super) fn bins(lengths: &[SentenceLength], p99: u64, most: u64) -> Vec<Bin> {
    let (Some(shortest), Some(longest)) = (lengths.first(), lengths.last()) else {
        return Vec::new();
    };
    let first = shortest.tokens.min(1);
    let most = most.max(2);
    // One bin is kept for what is longer than nearly all.
    let width = bin_width((p99 - first + 1).div_ceil(most - 1));
    let last = (longest.tokens - first) / width;
    let bin = |number: u64| {
        let from = first + number * width;
        let to = (number < most - 1 || last == number).then_some(from + width - 1);
        let inside = |length: &&SentenceLength| {
            length.tokens >= from && to.is_none_or(|to| length.tokens <= to)
        };
        let sentences = lengths.iter().filter(inside).map(|one| one.sentences).sum();
        Bin {
            from,
            to,
            sentences,
        }
    };
    (0..=last.min(most - 1)).map(bin).collect()
}

/// The smallest of 1, 2, 5, 10, 20, 50, ... that is at least `least`.
fn bin_width(least: u64) -> u64 {
    let mut power = 1;
    loop {
        for step in [1, 2, 5] {
            if step * power >= least {
                return step * power;
            }
        }
        power *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(all: impl IntoIterator<Item = u64>) -> Lengths {
        let mut lengths = Lengths::default();
        all.into_iter().for_each(|length| lengths.add(length));
        lengths
    }

    #[test]
    fn summaries() {
        let summary = |all: &[u64]| {
            let found = lengths(all.iter().copied()).summary()?;
            Some((found.mean, [found.median, found.p90, found.p99, found.max]))
        };
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(&[4]), Some((4.0, [4, 4, 4, 4])));
        assert_eq!(summary(&[9, 1, 2]), Some((4.0, [2, 9, 9, 9])));
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(summary(&hundred), Some((50.5, [50, 90, 99, 100])));
    }

    /// The labels of the bins with their counts.
    fn binned(all: impl IntoIterator<Item = u64>, most: u64) -> Vec<(String, u64)> {
        let lengths = lengths(all);
        let p99 = lengths.summary().map_or(0, |summary| summary.p99);
        let bins = bins(&lengths.by_length(), p99, most);
        bins.iter()
            .map(|bin| (bin.label(), bin.sentences))
            .collect()
    }

    #[test]
    fn bins_hold_every_length_once() {
        let named = |bins: &[(&str, u64)]| -> Vec<(String, u64)> {
            bins.iter()
                .map(|&(name, count)| (name.to_owned(), count))
                .collect()
        };
        assert_eq!(binned([], 4), []);
        assert_eq!(binned([0, 2, 2], 4), named(&[("0", 1), ("1", 0), ("2", 2)]));
        assert_eq!(binned([3, 3], 4), named(&[("1", 0), ("2", 0), ("3", 2)]));
        assert_eq!(binned(1..=4, 4), named(&[("1-2", 2), ("3-4", 2)]));
        // A single long one among many does not widen the bins.
        let tailed = (0..200).map(|number| number % 3 + 1).chain([5000]);
        assert_eq!(
            binned(tailed, 4),
            named(&[("1", 67), ("2", 67), ("3", 66), ("4+", 1)])
        );
        for most in 2..9 {
            let found = binned((1..500).map(|number| number * number % 97), most);
            assert!(found.len() as u64 <= most);
            assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), 499);
        }
    }

    #[test]
    fn widths() {
        let widths = [0, 1, 2, 3, 6, 11, 21, 500, 501].map(bin_width);
        assert_eq!(widths, [1, 1, 2, 5, 10, 20, 50, 500, 1000]);
    }
}
