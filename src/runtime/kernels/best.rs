//! The best tokens of one vector, selected in several parts at once.

use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Candidates are gathered up to this many times those that are kept, and then sifted.
const GATHERED: usize = 4;

/// Scores that are compared together.
const COMPARED: usize = 8;

/// A token and its score.
pub(super) type Scored = (u32, f32);

/// What all parts know of the scores of one vector: those up to a threshold are too low.
#[derive(Debug)]
pub(super) struct Floor(AtomicI32);

impl Floor {
    pub fn new() -> Self {
        Self(AtomicI32::new(key(f32::NEG_INFINITY)))
    }

    fn threshold(&self) -> f32 {
        number(self.0.load(Relaxed))
    }

    /// A part has as many tokens as are asked for, with this score or a higher one. Another part may
    /// have tokens of the same score and lower numbers.
    fn raise(&self, score: f32) {
        self.0.fetch_max(key(score.next_down()), Relaxed);
    }
}

/// An integer for each number, in the order of the numbers.
fn key(number: f32) -> i32 {
    flipped(number.to_bits() as i32)
}

/// The number of a key.
fn number(key: i32) -> f32 {
    f32::from_bits(flipped(key) as u32)
}

/// Of negative ones, all bits but the sign are the other way round.
fn flipped(bits: i32) -> i32 {
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// The `count` tokens of the highest scores in a part; of equal ones those of lower number.
#[derive(Debug)]
pub(super) struct Best<'a> {
    count: usize,
    tokens: Vec<Scored>,
    /// Scores up to this one are too low.
    threshold: f32,
    floor: &'a Floor,
}

impl<'a> Best<'a> {
    pub fn new(count: usize, floor: &'a Floor) -> Self {
        Self {
            count,
            tokens: Vec::with_capacity(count * GATHERED),
            threshold: f32::NEG_INFINITY,
            floor,
        }
    }

    /// Offer tokens from number `first` on, in rising order. NaN and -infinity are never chosen.
    #[inline(always)]
    pub fn offer(&mut self, first: usize, scores: &[f32]) {
        self.threshold = self.threshold.max(self.floor.threshold());
        let (chunks, rest) = scores.as_chunks::<COMPARED>();
        // Without a branch for each score, so that they are compared together.
        let any = |scores: &[f32]| {
            scores
                .iter()
                .fold(false, |any, &score| any | (score > self.threshold))
        };
        if chunks.iter().fold(false, |found, chunk| found | any(chunk)) | any(rest) {
            self.gather(first, scores);
        }
    }

    #[inline(never)]
    fn gather(&mut self, first: usize, scores: &[f32]) {
        for (place, &score) in scores.iter().enumerate() {
            if score > self.threshold {
                self.tokens.push(((first + place) as u32, score));
            }
        }
        self.sift_if_full();
    }

    fn sift_if_full(&mut self) {
        if self.tokens.len() >= self.count * GATHERED {
            self.sift();
        }
    }

    fn sift(&mut self) {
        if self.tokens.len() > self.count {
            self.tokens.select_nth_unstable_by(self.count - 1, rank);
            self.tokens.truncate(self.count);
            let score = self.tokens[self.count - 1].1;
            self.threshold = self.threshold.max(score);
            self.floor.raise(score);
        }
    }

    /// Add those that were found elsewhere, and are not too low by now.
    pub fn merge(&mut self, other: Self) {
        self.threshold = self.threshold.max(self.floor.threshold());
        let high = |&(_, score): &Scored| score > self.threshold;
        self.tokens.extend(other.tokens.into_iter().filter(high));
        self.sift_if_full();
    }

    /// The tokens found, in no order; once all parts are merged, fewer than asked for only if others
    /// have no finite score.
    pub fn finish(mut self) -> Vec<Scored> {
        self.sift();
        self.tokens
    }
}

/// The order of tokens, best first.
pub(super) fn rank(a: &Scored, b: &Scored) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_the_best(
            scores in proptest::collection::vec(-20i8..20, 1..600), count in 1usize..70, split: usize,
            latter_first: bool,
        ) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let (former, latter) = scores.split_at(split % (scores.len() + 1));
            let floor = Floor::new();
            let offered = |first: usize, scores: &[f32]| {
                let mut best = Best::new(count, &floor);
                for (number, scores) in scores.chunks(8).enumerate() {
                    best.offer(first + 8 * number, scores);
                }
                best
            };
            let (mut best, behind);
            if latter_first {
                behind = offered(former.len(), latter);
                best = offered(0, former);
            } else {
                best = offered(0, former);
                behind = offered(former.len(), latter);
            }
            best.merge(behind);
            let mut found = best.finish();
            found.sort_by(rank);
            let mut expected: Vec<Scored> = (0..).zip(scores).collect();
            expected.sort_by(rank);
            expected.truncate(count);
            prop_assert_eq!(found, expected);
        }
    }

    proptest! {
        #[test]
        fn keys_are_in_the_order_of_numbers(a: f32, b: f32) {
            prop_assert_eq!(key(a).cmp(&key(b)), a.total_cmp(&b));
            prop_assert_eq!(number(key(a)).to_bits(), a.to_bits());
        }
    }

    #[test]
    fn what_is_no_number_is_never_chosen() {
        let floor = Floor::new();
        let mut best = Best::new(2, &floor);
        best.offer(0, &[f32::NAN, f32::NEG_INFINITY, 1.0, f32::NAN]);
        assert_eq!(best.finish(), [(2, 1.0)]);
    }
}
