//! Windows of sentences under a sentence-level model.

use ndarray::{ArrayView2, s};

use crate::{
    error::Result,
    eval::{
        score::{Score, Target, score},
        sums::{Predicted, Sums},
        windows::Window,
    },
    graphs::{Backbone, Prediction},
    model::{Autoencoder, SentenceModel},
    runtime::KvCache,
};

/// Measures windows, one batch of them after the other.
#[derive(Debug)]
pub struct SentenceMeasure<'m> {
    autoencoder: &'m Autoencoder,
    backbone: Option<(&'m Backbone, KvCache)>,
}

/// How the sentences of a window are given to the backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feed {
    OneByOne,
    AtOnce,
}

impl<'m> SentenceMeasure<'m> {
    /// Measure reconstruction alone.
    pub fn of_autoencoder(autoencoder: &'m Autoencoder) -> Self {
        Self {
            autoencoder,
            backbone: None,
        }
    }

    pub fn new(model: &'m SentenceModel) -> Result<Self> {
        Ok(Self {
            autoencoder: &model.autoencoder,
            backbone: Some((&model.backbone, model.backbone.cached().cache(1)?)),
        })
    }

    /// Add what is found of `windows` to `sums`. All their sentences are encoded, and decoded, in
    /// few runs.
    pub fn add(&mut self, windows: &[Window], sums: &mut Sums) -> Result<()> {
        let sentences = windows.iter().flat_map(|window| &window.sentences);
        let ids: Vec<_> = sentences
            .clone()
            .map(|sentence| self.autoencoder.shared.prompt_ids(sentence.ids.clone()))
            .collect();
        let vectors = self.autoencoder.encoder.encode(&ids)?;
        let targets: Vec<Vec<f32>> = vectors.outer_iter().map(|row| row.to_vec()).collect();
        let targets: Vec<Target<'_>> = targets
            .iter()
            .zip(sentences.clone())
            .map(|(vector, sentence)| Target {
                vector,
                before: &[],
                ids: &sentence.ids,
            })
            .collect();
        let scores = self.score(&targets)?;
        for (sentence, score) in sentences.zip(scores) {
            sums.sentences += 1;
            sums.bytes += sentence.bytes;
            sums.truncated_sentences += u64::from(sentence.truncated);
            sums.add_reconstruction(sentence.bytes, score);
        }
        for window in windows {
            sums.records += u64::from(window.starts_record);
        }
        self.add_predictions(windows, vectors.view(), sums)
    }

    fn add_predictions(
        &mut self,
        windows: &[Window],
        vectors: ArrayView2<'_, f32>,
        sums: &mut Sums,
    ) -> Result<()> {
        let Some((backbone, _)) = self.backbone else {
            return Ok(());
        };
        let causal = match backbone.is_causal() {
            true => self.predict(windows, vectors, Feed::AtOnce)?,
            false => self.predict(windows, vectors, Feed::OneByOne)?,
        };
        for (window, predictions) in windows.iter().zip(&causal) {
            let last = predictions.len() - 1;
            for (place, prediction) in predictions.iter().enumerate() {
                let [stop, go_on] = prediction.stop_logits;
                sums.stop
                    .add(stop >= go_on, place == last && window.ends_record);
            }
        }
        self.add_next(windows, &causal, &mut sums.next_sentence)?;
        if !backbone.is_causal() {
            let seeing = self.predict(windows, vectors, Feed::AtOnce)?;
            self.add_next(windows, &seeing, &mut sums.next_sentence_bidirectional)?;
        }
        Ok(())
    }

    /// What the backbone predicts after each sentence of each window.
    fn predict(
        &mut self,
        windows: &[Window],
        vectors: ArrayView2<'_, f32>,
        feed: Feed,
    ) -> Result<Vec<Vec<Prediction>>> {
        let Some((backbone, cache)) = &mut self.backbone else {
            return Ok(Vec::new());
        };
        let mut start = 0;
        let mut predict = |window: &Window| {
            let end = start + window.sentences.len();
            backbone.cached().truncate(cache, 0)?;
            let predictions = match feed {
                Feed::AtOnce => backbone.append_all(cache, vectors.slice(s![start..end, ..])),
                Feed::OneByOne => (start..end)
                    .map(|row| backbone.append(cache, vectors.slice(s![row..row + 1, ..])))
                    .collect(),
            };
            start = end;
            predictions
        };
        windows.iter().map(&mut predict).collect()
    }

    fn add_next(
        &self,
        windows: &[Window],
        predictions: &[Vec<Prediction>],
        predicted: &mut Predicted,
    ) -> Result<()> {
        let tokens = |window: &Window| -> Vec<u32> {
            let ids = window.sentences.iter().flat_map(|sentence| &sentence.ids);
            ids.copied().collect()
        };
        let tokens: Vec<Vec<u32>> = windows.iter().map(tokens).collect();
        let mut targets = Vec::new();
        for ((window, tokens), predictions) in windows.iter().zip(&tokens).zip(predictions) {
            let mut before = 0;
            let pairs = window.sentences.iter().zip(window.following());
            for (prediction, (last, sentence)) in predictions.iter().zip(pairs) {
                before += last.ids.len();
                targets.push(Target {
                    vector: &prediction.hidden,
                    before: &tokens[..before],
                    ids: &sentence.ids,
                });
            }
        }
        let mut scores = self.score(&targets)?.into_iter();
        for window in windows {
            let mut whole = Score::default();
            for (sentence, score) in window.following().iter().zip(scores.by_ref()) {
                predicted.add_sentence(sentence.bytes, score);
                whole += score;
            }
            if whole.tokens > 0 {
                predicted.add_sample(whole.mean());
            }
        }
        Ok(())
    }

    fn score(&self, targets: &[Target<'_>]) -> Result<Vec<Score>> {
        let tokens = self.autoencoder.shared.special_tokens();
        score(&self.autoencoder.decoder, tokens, targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        LoadOptions, Model,
        eval::{records::Position, window_limit::WindowLimit, windows::Windows},
    };

    const TEXT: &str = "Hello, the cat sat on the hill. She ran，and then? Is it so; The end.";

    /// Perplexity of the next sentence, fed in both ways.
    fn perplexities(bundle: &str, variant: &str) -> [f64; 2] {
        let options = LoadOptions::default().with_variant(variant);
        let model = Model::load(format!("tests/golden/{bundle}"), options).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), TEXT).unwrap();
        let pipeline = model.text_pipeline();
        let limit = WindowLimit::Sentences(12);
        let mut windows = Windows::open(pipeline, file.path(), Position::default(), limit).unwrap();
        let windows = [windows.next_window().unwrap().unwrap()];
        let ids: Vec<_> = windows[0]
            .sentences
            .iter()
            .map(|sentence| model.shared().prompt_ids(sentence.ids.clone()))
            .collect();
        let model = model.sentence_model().unwrap();
        let vectors = model.autoencoder.encoder.encode(&ids).unwrap();
        let mut measure = SentenceMeasure::new(model).unwrap();
        [Feed::OneByOne, Feed::AtOnce].map(|feed| {
            let predictions = measure.predict(&windows, vectors.view(), feed).unwrap();
            let mut predicted = Predicted::default();
            measure
                .add_next(&windows, &predictions, &mut predicted)
                .unwrap();
            predicted.report(None).unwrap().perplexity
        })
    }

    #[test]
    fn a_causal_model_may_be_fed_at_once() {
        for variant in ["portable", "cpu-int8"] {
            let [one_by_one, at_once] = perplexities("bundle", variant);
            let difference = (one_by_one / at_once - 1.0).abs();
            assert!(difference < 1e-4, "{variant}: {one_by_one}, {at_once}");
        }
    }

    #[test]
    fn a_bidirectional_model_sees_more_at_once() {
        for variant in ["portable", "cpu-int8"] {
            let [one_by_one, at_once] = perplexities("bundle-original", variant);
            let difference = (one_by_one / at_once - 1.0).abs();
            assert!(difference > 1e-3, "{variant}: {one_by_one}, {at_once}");
        }
    }
}
