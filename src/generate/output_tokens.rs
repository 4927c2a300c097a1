//! The output tokens of a sentence.

use crate::config::SpecialTokens;

/// Output tokens of a sentence: without bos, with eos if it was generated.
#[derive(Clone, Debug)]
pub(crate) struct OutputTokens {
    ids: Vec<u32>,
    eos: u32,
    max_tokens: usize,
}

impl OutputTokens {
    /// No tokens yet. A sentence has at most `max_tokens`, bos included.
    pub fn new(tokens: SpecialTokens, max_tokens: usize) -> Self {
        Self {
            ids: Vec::with_capacity(max_tokens),
            eos: tokens.eos,
            max_tokens,
        }
    }

    /// Add the next token; returns it if the sentence continues after it.
    pub fn push(&mut self, id: u32) -> Option<u32> {
        if id == self.eos {
            self.ids.push(id);
            return None;
        }
        if self.ids.len() + 1 >= self.max_tokens {
            return None;
        }
        self.ids.push(id);
        Some(id)
    }

    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub fn into_ids(self) -> Vec<u32> {
        self.ids
    }
}
