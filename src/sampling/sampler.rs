//! The choice of tokens, one after the other.

use super::{MAX_DRY_LENGTH, MAX_DRY_PENALTY, REPETITION_WINDOW, SamplingOptions};
use crate::logits::{Logits, sum_of_weights};

/// Chooses tokens, and remembers those chosen.
///
/// A token is drawn as the best of the logits plus Gumbel noise, which has the distribution of the
/// softmax. The noise of a token depends on nothing but the seed, the place in the context and the
/// token's id: a rounding error of a logit changes a choice only where two scores are as close as
/// that, and a continuation in parts is the same as one in one go.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    options: SamplingOptions,
    /// Which of several hypotheses it chooses for.
    hypothesis: u64,
    /// The number of the sentence in the context, and of the token in it.
    place: [u64; 2],
    /// The tokens so far, but for `eos`: sentences must end.
    chosen: Vec<u32>,
    eos: u32,
    /// Tokens with their weights, to draw from.
    weights: Vec<(u32, f64)>,
}

impl Sampler {
    pub fn new(options: SamplingOptions, eos: u32) -> Self {
        Self {
            options,
            hypothesis: 0,
            place: [0; 2],
            chosen: Vec::new(),
            eos,
            weights: Vec::new(),
        }
    }

    pub fn options(&self) -> &SamplingOptions {
        &self.options
    }

    /// Forget the tokens so far.
    pub fn forget(&mut self) {
        self.chosen.clear();
    }

    /// Take the tokens of a context as if they had been chosen.
    pub fn observe(&mut self, ids: impl IntoIterator<Item = u32>) {
        let eos = self.eos;
        self.chosen.extend(ids.into_iter().filter(|&id| id != eos));
    }

    /// Go to the beginning of a sentence, or to a token of a text.
    pub fn go_to(&mut self, sentence: usize, token: usize) {
        self.place = [sentence as u64, token as u64];
    }

    /// Choose from finite logits, at least one, which may be changed.
    pub fn choose(&mut self, logits: &mut Logits) -> u32 {
        self.penalize(logits);
        self.penalize_sequences(logits);
        self.forbid_repeats(logits);
        let (best, logit) = logits.best_token();
        let id = if logit == f32::NEG_INFINITY {
            self.eos
        } else if self.options.temperature == 0.0 {
            best
        } else {
            self.draw(logits, (best, logit))
        };
        if id != self.eos {
            self.chosen.push(id);
        }
        self.place[1] += 1;
        id
    }

    /// A copy for a hypothesis of a sentence, with noise of its own.
    pub fn for_hypothesis(&self, number: usize, sentence: usize) -> Self {
        Self {
            hypothesis: number as u64,
            place: [sentence as u64, 0],
            ..self.clone()
        }
    }

    /// Forbid the tokens that would make a second of an n-gram.
    fn forbid_repeats(&self, logits: &mut Logits) {
        let Some(n) = self.options.no_repeat_ngram else {
            return;
        };
        let Some(begin) = (self.chosen.len() + 1).checked_sub(n) else {
            return;
        };
        for earlier in self.chosen.windows(n) {
            if earlier[..n - 1] == self.chosen[begin..] {
                logits.mask(earlier[n - 1]);
            }
        }
    }

    fn penalize(&self, logits: &mut Logits) {
        let penalty = self.options.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let recent = &self.chosen[self.chosen.len().saturating_sub(REPETITION_WINDOW)..];
        for (number, &id) in recent.iter().enumerate() {
            let seen_before = recent[..number].contains(&id);
            if let Some(logit) = logits.logit_mut(id).filter(|_| !seen_before) {
                *logit = if *logit > 0.0 {
                    *logit / penalty
                } else {
                    *logit * penalty
                };
            }
        }
    }

    /// Make tokens less likely that would continue the last ones as they went on before.
    fn penalize_sequences(&self, logits: &mut Logits) {
        let options = &self.options;
        let Some((&last, before)) = self.chosen.split_last() else {
            return;
        };
        if options.dry_multiplier == 0.0 {
            return;
        }
        // Each token that followed, with the longest sequence before it.
        let mut followed: Vec<(u32, usize)> = Vec::new();
        for place in (0..before.len()).filter(|&place| before[place] == last) {
            let pairs = before[..place].iter().rev().zip(before.iter().rev());
            let equal = pairs.take(MAX_DRY_LENGTH - 1).take_while(|(a, b)| a == b);
            let length = 1 + equal.count();
            if length < options.dry_allowed_length {
                continue;
            }
            let next = self.chosen[place + 1];
            match followed.iter_mut().find(|(id, _)| *id == next) {
                Some((_, longest)) => *longest = length.max(*longest),
                None => followed.push((next, length)),
            }
        }
        for (id, length) in followed {
            if let Some(logit) = logits.logit_mut(id) {
                let beyond = (length - options.dry_allowed_length) as i32;
                let penalty = options.dry_multiplier * options.dry_base.powi(beyond);
                *logit -= penalty.min(MAX_DRY_PENALTY);
            }
        }
    }

    /// Draw one of the tokens, of which the best and its logit are given.
    fn draw(&mut self, logits: &Logits, (best, most): (u32, f32)) -> u32 {
        let temperature = f64::from(self.options.temperature);
        let scaled = |logit: f32| (f64::from(logit) - f64::from(most)) / temperature;
        let top_k = self.options.top_k.filter(|&k| k < logits.values().len());
        let top_p = f64::from(self.options.top_p);
        // Tokens below it, all together, are no more than what top p leaves out: the best one's weight
        // is 1.
        let least = match top_k {
            None => {
                let score = ((1.0 - top_p) / logits.values().len() as f64).ln();
                (f64::from(most) + score * temperature) as f32
            }
            Some(_) => f32::NEG_INFINITY,
        };
        let weights = &mut self.weights;
        weights.clear();
        let likely = logits.iter().filter(|&(_, logit)| logit >= least);
        weights.extend(likely.map(|(id, logit)| (id, scaled(logit))));
        let heavier = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if let Some(k) = top_k {
            weights.select_nth_unstable_by(k, heavier);
            weights.truncate(k);
        }
        if self.options.top_p < 1.0 {
            weights.sort_unstable_by(heavier);
            let total: f64 = match top_k {
                None => sum_of_weights(logits.values(), most, self.options.temperature),
                Some(_) => weights.iter().map(|(_, score)| score.exp()).sum(),
            };
            let wanted = total * top_p;
            let mut sum = 0.0;
            let reached = weights.iter().position(|(_, score)| {
                sum += score.exp();
                sum >= wanted
            });
            weights.truncate(reached.map_or(weights.len(), |last| last + 1));
        }
        if self.options.min_p > 0.0 {
            // The best one's weight is 1.
            let least = f64::from(self.options.min_p).ln();
            weights.retain(|&(_, score)| score >= least);
        }
        let [sentence, token] = self.place;
        let key = [self.options.seed, self.hypothesis, sentence, token];
        let key = key.into_iter().fold(0, |key, part| mixed(key ^ part));
        let noisy = |&(id, score): &(u32, f64)| (id, score + gumbel(mixed(key ^ u64::from(id))));
        let drawn = self.weights.iter().map(noisy);
        let better = |a: (u32, f64), b: (u32, f64)| if b.1 > a.1 { b } else { a };
        drawn.reduce(better).map_or(best, |(id, _)| id)
    }
}

/// A number whose bits all depend on all bits of `x` (SplitMix64, <https://prng.di.unimi.it>).
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Noise with the standard Gumbel distribution, from uniform bits.
fn gumbel(bits: u64) -> f64 {
    // 53 bits, in the middle of their interval: never 0 or 1.
    let uniform = ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -(-uniform.ln()).ln()
}

#[cfg(test)]
mod tests;
