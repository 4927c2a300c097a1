//! Several contexts of sentences that go on together.

use ndarray::Array2;

use super::{ContextSentence, SentenceContext, sentences::separate};
use crate::{
    backbone::Prediction,
    candidates::Candidates,
    error::{Error, Result},
    model::Model,
    runtime::KvCache,
};

/// Copies of the contexts' sentence caches as rows of one cache, and what was added since.
///
/// A context is as it was until its row is given back to it.
#[derive(Debug)]
pub(crate) struct SentenceBatch {
    model: Model,
    cache: KvCache,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    prediction: Prediction,
    sentences: Vec<ContextSentence>,
}

impl SentenceBatch {
    /// The rows are in the order of the contexts, at least one, which are of one model.
    pub fn join(contexts: &[&mut SentenceContext]) -> Result<Self> {
        let model = contexts[0].model.clone();
        let row = |context: &&mut SentenceContext| {
            Ok(Row {
                prediction: context.prediction.clone().ok_or(Error::EmptyContext)?,
                sentences: Vec::new(),
            })
        };
        let rows = contexts.iter().map(row).collect::<Result<_>>()?;
        let caches: Vec<_> = contexts.iter().map(|c| (&c.sentence_cache, 0)).collect();
        let cache = model.parts().backbone()?.join(&caches)?;
        Ok(Self { model, cache, rows })
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn prediction(&self, row: usize) -> &Prediction {
        &self.rows[row].prediction
    }

    /// The stop logits of all rows.
    pub fn stop_logits(&self) -> Vec<[f32; 2]> {
        let rows = self.rows.iter();
        rows.map(|row| row.prediction.stop_logits).collect()
    }

    /// Number of sentences that were added to a row.
    pub fn new_sentences(&self, row: usize) -> usize {
        self.rows[row].sentences.len()
    }

    /// Decode the predicted sentences of these rows, of which one may be there several times; see
    /// [`Decoder::decode_together`](crate::decoder::Decoder::decode_together).
    pub fn decode(
        &self,
        rows: &[usize],
        next: impl FnMut(usize, &mut Candidates) -> Result<Option<u32>>,
    ) -> Result<()> {
        let parts = self.model.parts();
        let vector = |&row: &usize| self.rows[row].prediction.hidden.iter().copied();
        let vectors: Vec<f32> = rows.iter().flat_map(vector).collect();
        let bos = parts.special_tokens().bos;
        let decoder = &parts.sentence_graphs()?.decoder;
        decoder.decode_together(bos, vectors, next)
    }

    /// Add a decoded sentence, as the decoder emitted it and as text, to each row.
    pub fn append_generated<'a>(
        &mut self,
        sentences: impl Iterator<Item = (&'a [u32], &'a str)>,
    ) -> Result<()> {
        let parts = self.model.parts();
        let sentence = |(ids, text)| ContextSentence::generated(parts, ids, text);
        self.append(sentences.map(sentence).collect())
    }

    /// Add a sentence to each row.
    pub fn append(&mut self, sentences: Vec<ContextSentence>) -> Result<()> {
        let parts = self.model.parts();
        let ids: Vec<_> = sentences.iter().map(|s| s.ids.clone()).collect();
        let vectors: Array2<f32> = parts.sentence_graphs()?.encoder.encode(&ids)?;
        let backbone = parts.backbone()?;
        let predictions = backbone.append_to_each(&mut self.cache, vectors.view())?;
        for ((row, sentence), prediction) in self.rows.iter_mut().zip(sentences).zip(predictions) {
            row.sentences.push(sentence);
            row.prediction = prediction;
        }
        Ok(())
    }

    /// Let the context have what was added to its row.
    pub fn give_back(&mut self, row: usize, context: &mut SentenceContext) -> Result<()> {
        if self.rows[row].sentences.is_empty() {
            return Ok(());
        }
        let backbone = self.model.parts().backbone()?;
        context.sentence_cache = backbone.join(&[(&self.cache, row)])?;
        let added = &mut self.rows[row];
        separate(self.model.parts(), &mut context.sentences);
        context.runs.extend(vec![1; added.sentences.len()]);
        context.sentences.append(&mut added.sentences);
        context.prediction = Some(added.prediction.clone());
        Ok(())
    }

    /// Make room in a context that is full with what was added to its row; returns the context as it
    /// was before.
    pub fn drop_oldest(
        &mut self,
        row: usize,
        context: &mut SentenceContext,
    ) -> Result<SentenceContext> {
        self.give_back(row, context)?;
        let shorter = context.without_oldest()?;
        let cache = |other| match other == row {
            true => (&shorter.sentence_cache, 0),
            false => (&self.cache, other),
        };
        let rows: Vec<_> = (0..self.rows.len()).map(cache).collect();
        let joined = self.model.parts().backbone()?.join(&rows)?;
        self.cache = joined;
        if let Some(prediction) = &shorter.prediction {
            self.rows[row].prediction = prediction.clone();
        }
        Ok(std::mem::replace(context, shorter))
    }

    /// Drop all rows but these, of which there is at least one.
    pub fn keep(&mut self, rows: &[usize]) -> Result<()> {
        let kept: Vec<_> = rows.iter().map(|&row| (&self.cache, row)).collect();
        self.cache = self.model.parts().backbone()?.join(&kept)?;
        let mut row = 0..;
        self.rows
            .retain(|_| row.next().is_some_and(|row| rows.contains(&row)));
        Ok(())
    }
}
