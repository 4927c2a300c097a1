//! Windows of tokens under a token-level OPT model.

use crate::{
    error::Result,
    eval::{score::Score, sums::Sums, windows::Window},
    graphs::RUN_LOGITS,
    model::TokenModel,
    runtime::KvCache,
    text::WhiteSpace,
};

/// Measures windows one by one, each in as many runs as its logits need.
#[derive(Debug)]
pub struct TokenMeasure<'m> {
    model: &'m TokenModel,
    cache: KvCache,
    /// Tokens of one run.
    run_tokens: usize,
}

impl<'m> TokenMeasure<'m> {
    pub fn new(model: &'m TokenModel) -> Result<Self> {
        let vocab_size = model.shared.bundle.config.vocab_size;
        Ok(Self {
            model,
            cache: model.graph.cached().cache(1)?,
            run_tokens: (RUN_LOGITS / vocab_size).max(1),
        })
    }

    pub fn add(&mut self, windows: &[Window], sums: &mut Sums) -> Result<()> {
        windows
            .iter()
            .try_for_each(|window| self.add_window(window, sums))
    }

    fn add_window(&mut self, window: &Window, sums: &mut Sums) -> Result<()> {
        let text = window.text();
        // Behind the text there is no word whose token these spaces could begin, as they do in a
        // longer text.
        let text = text.trim_end();
        let ids = self.model.shared.pipeline.encode(text)?;
        let first = window.sentences.first().map_or(0, |s| s.text.len());
        let first_tokens = self.first_tokens(window, &ids)?;
        let end = window
            .ends_record
            .then_some(self.model.shared.special_tokens().eos);
        let targets: Vec<u32> = ids.iter().copied().chain(end).collect();
        let scores = self.score(&targets)?;

        sums.records += u64::from(window.starts_record);
        sums.sentences += window.sentences.len() as u64;
        sums.bytes += text.len() as u64;
        let all = total(&scores);
        sums.next_token.add_texts(1, text.len() as u64, all);
        let following = total(&scores[first_tokens..ids.len()]);
        sums.next_sentence.add_texts(
            window.following().len() as u64,
            text.len().saturating_sub(first) as u64,
            following,
        );
        for (predicted, score) in [
            (&mut sums.next_token, all),
            (&mut sums.next_sentence, following),
        ] {
            if score.tokens > 0 {
                predicted.add_sample(score.mean());
            }
        }
        Ok(())
    }

    /// How many of the window's `ids` are those of its first sentence.
    fn first_tokens(&self, window: &Window, ids: &[u32]) -> Result<usize> {
        let Some(first) = window.sentences.first() else {
            return Ok(0);
        };
        match self.model.shared.bundle.segmentation.white_space {
            WhiteSpace::Kept => self.tokens_within(first.text.len(), ids),
            WhiteSpace::Canonical => Ok(first.ids.len().min(ids.len())),
        }
    }

    /// How many of `ids` lie within the first `bytes` of their text.
    fn tokens_within(&self, bytes: usize, ids: &[u32]) -> Result<usize> {
        let mut text = self.model.shared.pipeline.tokenizer().stream();
        let mut seen = 0;
        for (number, &id) in ids.iter().enumerate() {
            seen += text.push(id)?.map_or(0, str::len);
            if seen >= bytes {
                return Ok(number + usize::from(seen == bytes));
            }
        }
        Ok(ids.len())
    }

    /// The score of each of `targets`, which follow bos.
    fn score(&mut self, targets: &[u32]) -> Result<Vec<Score>> {
        let Some((_, before_last)) = targets.split_last() else {
            return Ok(Vec::new());
        };
        let inputs = self.model.shared.prompt_ids(before_last.to_vec());
        self.model.graph.cached().truncate(&mut self.cache, 0)?;
        let mut scores = Vec::with_capacity(targets.len());
        let runs = inputs.chunks(self.run_tokens);
        for (inputs, targets) in runs.zip(targets.chunks(self.run_tokens)) {
            let logits = self.model.graph.append_all(&mut self.cache, inputs)?;
            let rows = logits.chunks_exact(logits.len() / inputs.len());
            scores.extend(targets.iter().zip(rows).map(|(&id, row)| {
                let mut score = Score::default();
                score.add(id, row);
                score
            }));
        }
        Ok(scores)
    }
}

fn total(scores: &[Score]) -> Score {
    let mut total = Score::default();
    scores.iter().for_each(|&score| total += score);
    total
}

#[cfg(test)]
mod tests;
