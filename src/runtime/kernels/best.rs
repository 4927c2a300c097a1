//! The best tokens of one vector, while all are looked at.

/// Candidates are gathered up to this many times those that are kept, and then sifted.
const GATHERED: usize = 4;

/// Scores that are compared together.
const COMPARED: usize = 8;

/// A token and its score.
pub(super) type Scored = (u32, f32);

/// The `count` tokens of the highest scores; of equal ones those of lower number.
#[derive(Clone, Debug)]
pub(super) struct Best {
    count: usize,
    tokens: Vec<Scored>,
    /// Scores up to this one are too low.
    threshold: f32,
}

impl Best {
    pub fn new(count: usize) -> Self {
        Self {
            count,
            tokens: Vec::with_capacity(count * GATHERED),
            threshold: f32::NEG_INFINITY,
        }
    }

    /// Offer tokens from number `first` on, in rising order. NaN and -infinity are never chosen.
    #[inline(always)]
    pub fn offer(&mut self, first: usize, scores: &[f32]) {
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
        if self.tokens.len() >= self.count * GATHERED {
            self.sift();
        }
    }

    fn sift(&mut self) {
        if self.tokens.len() > self.count {
            self.tokens.select_nth_unstable_by(self.count - 1, rank);
            self.tokens.truncate(self.count);
            self.threshold = self.tokens[self.count - 1].1;
        }
    }

    /// Add those that were found elsewhere.
    pub fn merge(&mut self, other: Self) {
        self.tokens.extend(other.tokens);
        self.sift();
    }

    /// The tokens found, in no order; fewer than asked for only if others have no finite score.
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
        ) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let (former, latter) = scores.split_at(split % (scores.len() + 1));
            let offered = |first: usize, scores: &[f32]| {
                let mut best = Best::new(count);
                for (number, scores) in scores.chunks(8).enumerate() {
                    best.offer(first + 8 * number, scores);
                }
                best
            };
            let mut best = offered(0, former);
            best.merge(offered(former.len(), latter));
            let mut found = best.finish();
            found.sort_by(rank);
            let mut expected: Vec<Scored> = (0..).zip(scores).collect();
            expected.sort_by(rank);
            expected.truncate(count);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_no_number_is_never_chosen() {
        let mut best = Best::new(2);
        best.offer(0, &[f32::NAN, f32::NEG_INFINITY, 1.0, f32::NAN]);
        assert_eq!(best.finish(), [(2, 1.0)]);
    }
}
