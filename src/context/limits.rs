//! Limits of a context, for session files that are read.

use crate::model::Model;

/// What a context of a model may hold.
pub(super) struct Limits {
    vocab_size: usize,
    max_sentences: usize,
    max_ids: usize,
}

impl Limits {
    pub fn of(model: &Model) -> Self {
        Self {
            vocab_size: model.config().vocab_size,
            max_sentences: model.config().max_sentences.unwrap_or(1),
            max_ids: model.shared().longest_sentence,
        }
    }

    /// The number of sentences that each run appended adds up to the number of sentences.
    pub fn check_runs(&self, runs: &[usize], sentences: usize) -> std::result::Result<(), String> {
        let total = runs
            .iter()
            .try_fold(0usize, |sum, &count| sum.checked_add(count));
        if total != Some(sentences) || runs.contains(&0) {
            return Err(format!(
                "its runs do not add up to its {sentences} sentences"
            ));
        }
        let max = self.max_sentences;
        if sentences > max {
            return Err(format!(
                "it has {sentences} sentences, at most {max} are allowed"
            ));
        }
        Ok(())
    }

    pub fn check_ids(
        &self,
        number: usize,
        ids: &[u32],
        least: usize,
    ) -> std::result::Result<(), String> {
        let (found, max) = (ids.len(), self.max_ids);
        if !(least..=max).contains(&found) {
            return Err(format!(
                "sentence {number} has {found} ids, allowed are {least} to {max}"
            ));
        }
        let size = self.vocab_size;
        match ids.iter().find(|&&id| id as usize >= size) {
            Some(id) => Err(format!(
                "sentence {number} has the id {id}, the vocabulary {size}"
            )),
            None => Ok(()),
        }
    }
}
