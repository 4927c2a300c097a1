//! Choosing a token from its logits: greedy, or drawn at random.

use std::collections::VecDeque;

use rand::{RngExt as _, SeedableRng, rngs::StdRng};

use crate::{
    candidates::Candidates,
    error::{Error, Result},
};

/// How many of the last tokens the repetition penalty looks back on.
pub const REPETITION_WINDOW: usize = 64;

/// How the next token is chosen: from the whole vocabulary, or from the best tokens of it where the
/// graphs of a fast variant choose those (64 in the exporter's, if the vocabulary is large).
///
/// In this order: the repetition penalty; with temperature 0 then the best token, else the logits
/// are divided by the temperature, cut to the `top_k` best, cut to the fewest best that together
/// have the probability `top_p`, and one is drawn.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SamplingOptions {
    pub(crate) temperature: f32,
    pub(crate) top_k: Option<usize>,
    pub(crate) top_p: f32,
    pub(crate) repetition_penalty: f32,
    pub(crate) seed: u64,
}

impl Default for SamplingOptions {
    /// Greedy: temperature 0, no cut, no penalty, seed 0.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: None,
            top_p: 1.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

impl SamplingOptions {
    /// Temperature, 0 (greedy) to 100.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], here and in the methods below, for a value out of range.
    pub fn with_temperature(mut self, temperature: f32) -> Result<Self> {
        in_range("temperature", temperature, 0.0..=100.0, "0 (greedy) to 100")?;
        self.temperature = temperature;
        Ok(self)
    }

    /// Only the `top_k` best tokens may be drawn, at least 1; `None` for all.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for 0.
    pub fn with_top_k(mut self, top_k: Option<usize>) -> Result<Self> {
        if top_k == Some(0) {
            return Err(invalid("top-k", 0, "1 or more"));
        }
        self.top_k = top_k;
        Ok(self)
    }

    /// Only the fewest best tokens with at least this probability together may be drawn, above 0 to
    /// 1 (all).
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_top_p(mut self, top_p: f32) -> Result<Self> {
        in_range("top-p", top_p, f32::MIN_POSITIVE..=1.0, "above 0 to 1")?;
        self.top_p = top_p;
        Ok(self)
    }

    /// Divides the positive logits of the last [`REPETITION_WINDOW`] tokens, and multiplies the
    /// negative ones (arXiv 1909.05858, section 4.1); 1 (none) to 10.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_repetition_penalty(mut self, penalty: f32) -> Result<Self> {
        in_range("repetition-penalty", penalty, 1.0..=10.0, "1 (none) to 10")?;
        self.repetition_penalty = penalty;
        Ok(self)
    }

    /// The seed: the same one gives the same tokens with the same version of this crate.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

fn in_range(
    option: &'static str,
    value: f32,
    range: std::ops::RangeInclusive<f32>,
    allowed: &str,
) -> Result<()> {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(invalid(option, value, allowed))
    }
}

fn invalid(option: &'static str, value: impl ToString, allowed: &str) -> Error {
    Error::InvalidOption {
        option,
        value: value.to_string(),
        allowed: allowed.to_owned(),
    }
}

/// Chooses tokens, and remembers those chosen for the repetition penalty.
#[derive(Debug)]
pub(crate) struct Sampler {
    options: SamplingOptions,
    random: StdRng,
    /// The last tokens chosen, but for `eos`: sentences must end.
    recent: VecDeque<u32>,
    eos: u32,
    /// Tokens with their weights, to draw from.
    weights: Vec<(u32, f32)>,
}

impl Sampler {
    pub fn new(options: SamplingOptions, eos: u32) -> Self {
        let random = StdRng::seed_from_u64(options.seed);
        let recent = VecDeque::with_capacity(REPETITION_WINDOW);
        Self {
            options,
            random,
            recent,
            eos,
            weights: Vec::new(),
        }
    }

    /// Choose from candidates with finite logits, at least one, which may be changed.
    pub fn choose(&mut self, candidates: &mut Candidates) -> u32 {
        self.penalize(candidates);
        let id = if self.options.temperature == 0.0 {
            candidates.best_token().0
        } else {
            self.draw(candidates)
        };
        if id != self.eos {
            if self.recent.len() == REPETITION_WINDOW {
                self.recent.pop_front();
            }
            self.recent.push_back(id);
        }
        id
    }

    fn penalize(&self, candidates: &mut Candidates) {
        let penalty = self.options.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        for (number, &id) in self.recent.iter().enumerate() {
            let seen_before = self
                .recent
                .iter()
                .take(number)
                .any(|&earlier| earlier == id);
            if let Some(logit) = candidates.logit_mut(id).filter(|_| !seen_before) {
                *logit = if *logit > 0.0 {
                    *logit / penalty
                } else {
                    *logit * penalty
                };
            }
        }
    }

    fn draw(&mut self, candidates: &Candidates) -> u32 {
        let temperature = self.options.temperature;
        let (best, most) = candidates.best_token();
        let weights = &mut self.weights;
        weights.clear();
        let weight = |logit: f32| ((logit - most) / temperature).exp();
        weights.extend(candidates.iter().map(|(id, logit)| (id, weight(logit))));
        let heavier = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if let Some(k) = self.options.top_k.filter(|&k| k < weights.len()) {
            weights.select_nth_unstable_by(k, heavier);
            weights.truncate(k);
        }
        let mut total: f32 = weights.iter().map(|(_, weight)| weight).sum();
        if self.options.top_p < 1.0 {
            weights.sort_unstable_by(heavier);
            let wanted = total * self.options.top_p;
            total = 0.0;
            let reached = weights.iter().position(|(_, weight)| {
                total += weight;
                total >= wanted
            });
            weights.truncate(reached.map_or(weights.len(), |last| last + 1));
        }
        let mut left = self.random.random::<f32>() * total;
        let chosen = weights.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        // Rounding can leave a rest after the last candidate; the best one is always among them.
        chosen.map_or(best, |&(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, -1.0];

    fn counts(options: SamplingOptions) -> [usize; 5] {
        let mut sampler = Sampler::new(options, 2);
        let mut counts = [0; 5];
        for _ in 0..4000 {
            counts[sampler.choose(&mut Candidates::all(LOGITS.to_vec())) as usize] += 1;
        }
        counts
    }

    fn options(temperature: f32) -> SamplingOptions {
        SamplingOptions::default()
            .with_temperature(temperature)
            .unwrap()
    }

    #[test]
    fn greedy_takes_the_first_best() {
        assert_eq!(counts(options(0.0)), [0, 4000, 0, 0, 0]);
    }

    #[test]
    fn drawing_follows_the_softmax() {
        let total: f32 = LOGITS.iter().map(|logit| logit.exp()).sum();
        for (id, count) in counts(options(1.0)).into_iter().enumerate() {
            let expected = LOGITS[id].exp() / total * 4000.0;
            assert!(
                (count as f32 - expected).abs() < 120.0,
                "{id}: {count} for {expected}"
            );
        }
    }

    #[test]
    fn cuts_leave_the_best() {
        let top_k = counts(options(1.0).with_top_k(Some(2)).unwrap());
        assert_eq!(top_k[0] + top_k[2] + top_k[4], 0, "{top_k:?}");
        assert!(top_k[1] > 1500 && top_k[3] > 1500, "{top_k:?}");
        let top_p = counts(options(1.0).with_top_p(0.6).unwrap());
        assert_eq!(top_p[0] + top_p[2] + top_p[4], 0, "{top_p:?}");
        assert_eq!(counts(options(1.0).with_top_p(1e-6).unwrap())[1], 4000);
    }

    #[test]
    fn the_seed_decides() {
        let draw = |seed| {
            let mut sampler = Sampler::new(options(1.0).with_seed(seed), 2);
            (0..50)
                .map(|_| sampler.choose(&mut Candidates::all(LOGITS.to_vec())))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn the_penalty_counts_each_token_once_and_spares_eos() {
        let penalized = options(0.0).with_repetition_penalty(2.0).unwrap();
        let mut sampler = Sampler::new(penalized, 2);
        let mut chosen = |logits: [f32; 4]| {
            let mut candidates = Candidates::all(logits.to_vec());
            let id = sampler.choose(&mut candidates);
            (id, [0, 1, 2, 3].map(|place| candidates.logits()[place]))
        };
        assert_eq!(chosen([0.0, 5.0, 0.0, 0.0]), (1, [0.0, 5.0, 0.0, 0.0]));
        assert_eq!(chosen([0.0, 9.0, 0.0, 1.0]), (1, [0.0, 4.5, 0.0, 1.0]));
        assert_eq!(chosen([0.0, 9.0, 0.0, 5.0]), (3, [0.0, 4.5, 0.0, 5.0]));
        assert_eq!(chosen([0.0, -1.0, 7.0, 2.0]), (2, [0.0, -2.0, 7.0, 1.0]));
        assert_eq!(chosen([0.0, 0.0, 7.0, 0.0]), (2, [0.0, 0.0, 7.0, 0.0]));
    }

    #[test]
    fn ranges_are_kept() {
        let options = SamplingOptions::default;
        for refused in [
            options().with_temperature(-0.1),
            options().with_temperature(f32::NAN),
            options().with_top_k(Some(0)),
            options().with_top_p(0.0),
            options().with_top_p(1.1),
            options().with_repetition_penalty(0.5),
        ] {
            assert!(
                matches!(refused, Err(Error::InvalidOption { .. })),
                "{refused:?}"
            );
        }
    }
}
