//! The tokens that may come next, with their logits.

/// Logits of the tokens that may come next: of the whole vocabulary, or of the best tokens of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Candidates {
    /// One for each logit; empty if the place of a logit is its id.
    ids: Vec<u32>,
    logits: Vec<f32>,
}

impl Candidates {
    #[cfg(test)]
    pub fn all(logits: Vec<f32>) -> Self {
        Self {
            ids: Vec::new(),
            logits,
        }
    }

    /// Become the logits `[vocab]` of the whole vocabulary, in the memory that is there.
    pub fn set_all(&mut self, logits: &[f32]) {
        self.set_best([], logits);
    }

    /// Become the logits of the best tokens, one for each of `ids`, in the memory that is there.
    pub fn set_best(&mut self, ids: impl IntoIterator<Item = u32>, logits: &[f32]) {
        self.clear();
        self.ids.extend(ids);
        self.logits.extend_from_slice(logits);
        debug_assert!(self.ids.is_empty() || self.ids.len() == self.logits.len());
    }

    pub fn is_empty(&self) -> bool {
        self.logits.is_empty()
    }

    pub fn clear(&mut self) {
        self.ids.clear();
        self.logits.clear();
    }

    /// Become a copy of `other`, in the memory that is there.
    pub fn copy_from(&mut self, other: &Self) {
        self.ids.clone_from(&other.ids);
        self.logits.clone_from(&other.logits);
    }

    #[cfg(test)]
    pub fn best(ids: Vec<u32>, logits: Vec<f32>) -> Self {
        Self { ids, logits }
    }

    #[cfg(test)]
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Ids with their logits.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f32)> {
        let id = |place: usize| self.ids.get(place).copied().unwrap_or(place as u32);
        let logits = self.logits.iter().enumerate();
        logits.map(move |(place, &logit)| (id(place), logit))
    }

    /// The best token with its logit; of several that are equal the one with the lowest id.
    pub fn best_token(&self) -> (u32, f32) {
        let better = |best: (u32, f32), next: (u32, f32)| {
            let wins = next.1 > best.1 || (next.1 == best.1 && next.0 < best.0);
            if wins { next } else { best }
        };
        self.iter().reduce(better).unwrap_or_default()
    }

    /// The logit of a token, if it is among the candidates.
    pub fn logit_mut(&mut self, id: u32) -> Option<&mut f32> {
        let place = if self.ids.is_empty() {
            id as usize
        } else {
            self.ids.iter().position(|&candidate| candidate == id)?
        };
        self.logits.get_mut(place)
    }

    /// See to it that a token is not chosen while there is another one.
    pub fn forbid(&mut self, id: u32) {
        if let Some(logit) = self.logit_mut(id) {
            *logit = f32::NEG_INFINITY;
        }
    }

    /// The probability of a token among the candidates, 0 if it is none of them.
    pub fn probability(&self, id: u32) -> f32 {
        let (_, most) = self.best_token();
        let weight = |logit: f32| (logit - most).exp();
        let sum: f32 = self.logits.iter().map(|&logit| weight(logit)).sum();
        let own = self.iter().find(|&(candidate, _)| candidate == id);
        own.map_or(0.0, |(_, logit)| weight(logit) / sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_of_equal_ids_is_the_best() {
        assert_eq!(Candidates::all(vec![1.0, 3.0, 3.0]).best_token(), (1, 3.0));
        let best = Candidates::best(vec![9, 7, 8], vec![3.0, 3.0, 1.0]);
        assert_eq!(best.best_token(), (7, 3.0));
    }

    #[test]
    fn tokens_are_found_by_their_ids() {
        let mut all = Candidates::all(vec![0.0, 1.0]);
        assert_eq!(all.logit_mut(1), Some(&mut 1.0));
        assert_eq!(all.logit_mut(2), None);
        let mut best = Candidates::best(vec![40, 3], vec![2.0, 1.0]);
        assert_eq!(best.logit_mut(3), Some(&mut 1.0));
        assert_eq!(best.logit_mut(0), None);
        assert_eq!(best.iter().collect::<Vec<_>>(), [(40, 2.0), (3, 1.0)]);
    }

    #[test]
    fn probabilities_are_those_of_the_softmax() {
        let best = Candidates::best(vec![40, 3], vec![2.0, 1.0]);
        let expected = 1.0 / (1.0 + 1f32.exp());
        assert!((best.probability(3) - expected).abs() < 1e-6);
        assert_eq!(best.probability(1), 0.0);
    }
}
