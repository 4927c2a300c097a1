//! Sentences that may not be repeated.

use std::collections::HashMap;

/// How often a part of a sentence may come where no sentence may come twice.
const MAX_PART_REPEATS: usize = 2;
/// Marks that end a sentence of grammar; the segmentation rule cuts at others too.
const WHOLE_MARKS: [char; 7] = ['.', '!', '?', '…', '。', '！', '？'];
/// What may stand between such a mark and the end.
const QUOTES: [char; 6] = ['"', '\'', '“', '”', '‘', '’'];

/// The sentences of a context, of which none may be generated again.
#[derive(Default)]
pub(super) struct Repeats {
    /// All tokens of a sentence but the last: the last tokens that would repeat one.
    sentences: HashMap<Vec<u32>, Vec<u32>>,
    /// How often each part of a sentence was there.
    parts: HashMap<Vec<u32>, usize>,
}

impl Repeats {
    /// Remember a sentence by its tokens, without bos and eos. What does not end with a full stop,
    /// an exclamation mark or a question mark is a part of a sentence, which may come twice.
    pub fn remember(&mut self, ids: &[u32], text: &str) {
        let closing = |mark: char| mark.is_whitespace() || QUOTES.contains(&mark);
        if !text.trim_end_matches(closing).ends_with(WHOLE_MARKS) {
            let count = self.parts.entry(ids.to_vec()).or_default();
            *count += 1;
            if *count < MAX_PART_REPEATS {
                return;
            }
        }
        if let Some((last, before)) = ids.split_last() {
            self.sentences
                .entry(before.to_vec())
                .or_default()
                .push(*last);
        }
    }

    /// The tokens that would complete a repeated sentence after `ids`.
    pub fn completions(&self, ids: &[u32]) -> &[u32] {
        self.sentences.get(ids).map_or(&[], Vec::as_slice)
    }
}
