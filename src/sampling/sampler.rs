//! The choice of tokens, one after the other.

use rand::{RngExt as _, SeedableRng, rngs::StdRng};

use super::{REPETITION_WINDOW, SamplingOptions};
use crate::candidates::Candidates;

/// Chooses tokens, and remembers those chosen.
#[derive(Debug)]
pub(crate) struct Sampler {
    options: SamplingOptions,
    random: StdRng,
    /// The tokens chosen, but for `eos`: sentences must end.
    chosen: Vec<u32>,
    eos: u32,
    /// Tokens with their weights, to draw from.
    weights: Vec<(u32, f32)>,
}

impl Sampler {
    pub fn new(options: SamplingOptions, eos: u32) -> Self {
        let random = StdRng::seed_from_u64(options.seed);
        Self {
            options,
            random,
            chosen: Vec::new(),
            eos,
            weights: Vec::new(),
        }
    }

    /// Choose from candidates with finite logits, at least one, which may be changed.
    pub fn choose(&mut self, candidates: &mut Candidates) -> u32 {
        self.penalize(candidates);
        self.forbid_repeats(candidates);
        let (best, logit) = candidates.best_token();
        let id = if logit == f32::NEG_INFINITY {
            self.eos
        } else if self.options.temperature == 0.0 {
            best
        } else {
            self.draw(candidates)
        };
        if id != self.eos {
            self.chosen.push(id);
        }
        id
    }

    /// One that has chosen the same, and goes on with chances of its own.
    pub fn split(&mut self) -> Self {
        Self {
            options: self.options.clone(),
            random: StdRng::seed_from_u64(self.random.random()),
            chosen: self.chosen.clone(),
            eos: self.eos,
            weights: Vec::new(),
        }
    }

    /// Forbid the tokens that would make a second of an n-gram.
    fn forbid_repeats(&self, candidates: &mut Candidates) {
        let Some(n) = self.options.no_repeat_ngram else {
            return;
        };
        let Some(begin) = (self.chosen.len() + 1).checked_sub(n) else {
            return;
        };
        for earlier in self.chosen.windows(n) {
            if earlier[..n - 1] == self.chosen[begin..] {
                candidates.forbid(earlier[n - 1]);
            }
        }
    }

    fn penalize(&self, candidates: &mut Candidates) {
        let penalty = self.options.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let recent = &self.chosen[self.chosen.len().saturating_sub(REPETITION_WINDOW)..];
        for (number, &id) in recent.iter().enumerate() {
            let seen_before = recent[..number].contains(&id);
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
        if self.options.min_p > 0.0 {
            // The best one's weight is 1.
            weights.retain(|&(_, weight)| weight >= self.options.min_p);
            total = weights.iter().map(|(_, weight)| weight).sum();
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
mod tests;
