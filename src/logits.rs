//! Logits of the next token.

mod softmax;

pub(crate) use softmax::sum_of_weights;

/// The part of the best token's probability that a token must have to be chosen where sentences are
/// guided: the constraint of contrastive decoding (arXiv 2210.15097).
pub(crate) const PLAUSIBLE: f32 = 0.1;

/// Logits of the next token: dense over the vocabulary, or those of its top k tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logits {
    /// One for each value; empty if the index of a value is its id.
    ids: Vec<u32>,
    values: Vec<f32>,
}

impl Logits {
    #[cfg(test)]
    pub(crate) fn dense(values: Vec<f32>) -> Self {
        Self {
            ids: Vec::new(),
            values,
        }
    }

    /// Become the logits `[vocab]` of the whole vocabulary. Memory is reused.
    pub(crate) fn set_dense(&mut self, values: &[f32]) {
        self.set_top([], values);
    }

    /// Become the logits of the top k tokens, one for each of `ids`. Memory is reused.
    pub(crate) fn set_top(&mut self, ids: impl IntoIterator<Item = u32>, values: &[f32]) {
        self.clear();
        self.ids.extend(ids);
        self.values.extend_from_slice(values);
        debug_assert!(self.ids.is_empty() || self.ids.len() == self.values.len());
    }

    /// The ids of top k logits, none if they are dense.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The values, in the order of [`ids`](Self::ids).
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.ids.clear();
        self.values.clear();
    }

    /// Become a copy of `other`. Memory is reused.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.ids.clone_from(&other.ids);
        self.values.clone_from(&other.values);
    }

    /// Classifier-free guidance: lead each logit away from that of the same token without a context,
    /// of which dense logits are given.
    ///
    /// The context does not make a token more likely that the `sentence` already has: a vector says
    /// which words a sentence has, not how often, so that guidance would repeat them ("the bird and
    /// the bird"). Tokens with less than [`PLAUSIBLE`] of the best one's probability are masked: of
    /// what is unlikely either way the difference means nothing.
    pub(crate) fn guide(&mut self, without_context: &Self, scale: f32, sentence: &[u32]) {
        debug_assert!(without_context.ids.is_empty());
        let mut least = largest(&self.values) + PLAUSIBLE.ln();
        let mut plausible = |&id: &u32| self.logit_mut(id).is_some_and(|logit| *logit >= least);
        if sentence.iter().any(&mut plausible) {
            // As probabilities they can be compared. Of top k logits the sum is nearly that of all.
            let shift = log_sum_exp(&self.values) - log_sum_exp(&without_context.values);
            for &id in sentence {
                let without = without_context.values.get(id as usize);
                if let (Some(logit), Some(without)) = (self.logit_mut(id), without) {
                    *logit = logit.min(without + shift);
                }
            }
            least = largest(&self.values) + PLAUSIBLE.ln();
        }
        for (place, value) in self.values.iter_mut().enumerate() {
            let id = self.ids.get(place).map_or(place, |&id| id as usize);
            // An id that is none is refused where it is chosen.
            *value = match without_context.values.get(id) {
                Some(without) if *value >= least => without + scale * (*value - without),
                _ => f32::NEG_INFINITY,
            };
        }
    }

    #[cfg(test)]
    pub(crate) fn top(ids: Vec<u32>, values: Vec<f32>) -> Self {
        Self { ids, values }
    }

    /// Ids with their logits.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f32)> {
        let id = |place: usize| self.ids.get(place).copied().unwrap_or(place as u32);
        let values = self.values.iter().enumerate();
        values.map(move |(place, &logit)| (id(place), logit))
    }

    /// The token with the highest logit, and the logit. Among equal logits, the lowest id wins.
    #[must_use]
    pub fn best_token(&self) -> (u32, f32) {
        let most = largest(&self.values);
        let best = self.iter().filter(|&(_, logit)| logit == most);
        best.min_by_key(|&(id, _)| id).unwrap_or_default()
    }

    /// The logit of a token; `None` if the token has none.
    pub fn logit_mut(&mut self, id: u32) -> Option<&mut f32> {
        let place = if self.ids.is_empty() {
            id as usize
        } else {
            self.ids.iter().position(|&candidate| candidate == id)?
        };
        self.values.get_mut(place)
    }

    /// Mask a token with negative infinity.
    pub fn mask(&mut self, id: u32) {
        if let Some(logit) = self.logit_mut(id) {
            *logit = f32::NEG_INFINITY;
        }
    }

    /// The log-softmax of a token, negative infinity if it is not among them.
    pub(crate) fn log_probability(&self, id: u32) -> f32 {
        let (_, max) = self.best_token();
        let sum: f64 = self.values.iter().map(|&v| f64::from(v - max).exp()).sum();
        let own = self.iter().find(|&(candidate, _)| candidate == id);
        own.map_or(f32::NEG_INFINITY, |(_, logit)| {
            (f64::from(logit - max) - sum.ln()) as f32
        })
    }

    /// The softmax probability of a token, 0 if it is not among them.
    pub(crate) fn probability(&self, id: u32) -> f32 {
        let (_, most) = self.best_token();
        let weight = |logit: f32| (logit - most).exp();
        let sum: f32 = self.values.iter().map(|&logit| weight(logit)).sum();
        let own = self.iter().find(|&(candidate, _)| candidate == id);
        own.map_or(0.0, |(_, logit)| weight(logit) / sum)
    }
}

/// The logarithm of the sum of exponentials.
fn log_sum_exp(logits: &[f32]) -> f32 {
    let most = largest(logits);
    most + sum_of_weights(logits, most, 1.0).ln() as f32
}

/// The place of the largest number, the first of several that are equal; 0 if there is none.
pub(crate) fn best_of(numbers: &[f32]) -> usize {
    let most = largest(numbers);
    let best = numbers.iter().position(|&number| number == most);
    best.unwrap_or(0)
}

/// The largest number, -infinity if there is none. Several are compared together.
fn largest(numbers: &[f32]) -> f32 {
    const TOGETHER: usize = 16;
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = numbers.as_chunks::<TOGETHER>();
    let mut most = [f32::NEG_INFINITY; TOGETHER];
    for chunk in chunks {
        for (most, &number) in most.iter_mut().zip(chunk) {
            *most = larger(*most, number);
        }
    }
    let all = most.iter().chain(rest).copied();
    all.fold(f32::NEG_INFINITY, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_of_equal_ids_is_the_best() {
        assert_eq!(Logits::dense(vec![1.0, 3.0, 3.0]).best_token(), (1, 3.0));
        let best = Logits::top(vec![9, 7, 8], vec![3.0, 3.0, 1.0]);
        assert_eq!(best.best_token(), (7, 3.0));
    }

    #[test]
    fn tokens_are_found_by_their_ids() {
        let mut all = Logits::dense(vec![0.0, 1.0]);
        assert_eq!(all.logit_mut(1), Some(&mut 1.0));
        assert_eq!(all.logit_mut(2), None);
        let mut best = Logits::top(vec![40, 3], vec![2.0, 1.0]);
        assert_eq!(best.logit_mut(3), Some(&mut 1.0));
        assert_eq!(best.logit_mut(0), None);
        assert_eq!(best.iter().collect::<Vec<_>>(), [(40, 2.0), (3, 1.0)]);
    }

    /// Tokens that the sentence has get no more than their probability without a context; the
    /// others are led away from it.
    #[test]
    fn guidance_repeats_no_token() {
        let context = [3.0, 2.5, 0.0, 2.0];
        let without = [1.0, 1.0, 1.0, 4.0].map(|logit| logit + 10.0);
        let guided = |sentence: &[u32]| {
            let mut logits = Logits::dense(context.to_vec());
            logits.guide(&Logits::dense(without.to_vec()), 1.5, sentence);
            logits
        };
        let unlikely = f32::NEG_INFINITY;
        assert_eq!(guided(&[]).values(), [-1.0, -1.75, unlikely, -4.0]);
        // The context makes token 0 more likely, and token 3 less.
        let repeated = guided(&[0, 3]);
        assert_eq!(repeated.values()[1..], guided(&[]).values()[1..]);
        let shift = log_sum_exp(&context) - log_sum_exp(&without);
        assert!(context[0] > without[0] + shift && context[3] < without[3] + shift);
        assert!((repeated.values()[0] - (without[0] + 1.5 * shift)).abs() < 1e-5);
    }

    #[test]
    fn probabilities_are_those_of_the_softmax() {
        let best = Logits::top(vec![40, 3], vec![2.0, 1.0]);
        let expected = 1.0 / (1.0 + 1f32.exp());
        assert!((best.probability(3) - expected).abs() < 1e-6);
        assert_eq!(best.probability(1), 0.0);
    }
}
