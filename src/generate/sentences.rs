//! The loop over sentence-level contexts: one sentence for each row in a step.

use std::{ops::DerefMut, sync::Arc};

use super::{
    GenerateOptions, OnEvent, OutputTokens, RowEvent, Sentence,
    progress::{Decoded, Hypothesis, Progress},
    rows::{Row, RowLoop, Rows, fail},
    step_span,
};
use crate::{
    context::{CachedContext as _, ContextSentence, SentenceContext},
    error::{Error, Result},
    graphs::{DecodeBuffers, Prediction},
    logits::Logits,
    model::SentenceModel,
};

/// Most sentences that are decoded in the same runs: more are no faster, and need more memory.
const MAX_DECODED_TOGETHER: usize = 128;

/// Sentence-level contexts that are generated together.
pub(crate) struct SentenceRows<C> {
    model: Arc<SentenceModel>,
    rows: Rows<C, Progress>,
    buffers: DecodeBuffers,
}

impl<C: DerefMut<Target = SentenceContext>> SentenceRows<C> {
    pub fn new(model: Arc<SentenceModel>) -> Self {
        Self {
            model,
            rows: Rows::new(),
            buffers: DecodeBuffers::default(),
        }
    }
}

impl<C: DerefMut<Target = SentenceContext>> RowLoop<C> for SentenceRows<C> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn join(
        &mut self,
        id: usize,
        context: C,
        options: GenerateOptions,
    ) -> std::result::Result<(), (C, Error)> {
        if context.prediction().is_none() {
            return Err((context, Error::EmptyContext));
        }
        if let Err(error) = options.check_best_of() {
            return Err((context, error));
        }
        let tokens = self.model.shared().special_tokens();
        let progress = Progress::new(options, tokens, context.sentences());
        self.rows.join(id, context, progress)
    }

    fn leave(&mut self, id: usize) -> Option<C> {
        self.rows.leave(id)
    }

    /// Generate one sentence for each row.
    fn step(&mut self, on_event: OnEvent<'_, C>) {
        self.end_finished();
        self.rows.remove_ended(on_event);
        if self.rows.len() == 0 {
            return;
        }
        let first = self.rows.rows().first();
        let span = step_span(
            self.rows.len(),
            first.map_or(0, |row| row.progress.sentences()),
        );
        let _entered = span.enter();
        let decoded = self.decode(on_event);
        let tokens = decoded
            .iter()
            .flatten()
            .map(|decoded| decoded.token_ids.len());
        span.record("tokens", tokens.sum::<usize>());
        // Rows without a sentence leave before the backbone runs.
        self.rows.remove_ended(on_event);
        self.append(decoded.into_iter().flatten().collect(), on_event);
        self.end_finished();
        self.rows.remove_ended(on_event);
    }
}

impl<C: DerefMut<Target = SentenceContext>> SentenceRows<C> {
    /// End the rows that get no further sentence.
    fn end_finished(&mut self) {
        for row in self.rows.rows_mut() {
            let remaining = row.context.remaining();
            if let (None, Some(prediction)) = (&row.ended, row.context.prediction()) {
                row.ended = row.progress.finished(prediction, remaining).map(Ok);
            }
        }
    }

    /// Decode the next sentence of each row. Rows that get none have ended.
    fn decode(&mut self, on_event: OnEvent<'_, C>) -> Vec<Option<Decoded>> {
        let hypotheses = self.decode_hypotheses(on_event);
        let rows = self.rows.rows_mut().iter_mut().zip(hypotheses);
        let finish = |(row, hypothesis): (&mut Row<C, Progress>, Option<Hypothesis>)| {
            // A row whose hypotheses did not all come to an end has none that counts.
            let hypothesis = hypothesis.filter(|_| row.ended.is_none())?;
            let id = row.id;
            let mut emit = |text: &str| on_event(id, RowEvent::Text(text));
            match row.progress.finish(hypothesis, &mut emit) {
                Ok(Ok(decoded)) => return Some(decoded),
                Ok(Err(reason)) => row.ended = Some(Ok(reason)),
                Err(error) => row.ended = Some(Err(error)),
            }
            None
        };
        rows.map(finish).collect()
    }

    /// The best hypothesis of each row; `None` for a row that has ended with an error.
    fn decode_hypotheses(&mut self, on_event: OnEvent<'_, C>) -> Vec<Option<Hypothesis>> {
        let shared = self.model.shared();
        let tokens = shared.special_tokens();
        let rows = self.rows.rows_mut();
        let mut best: Vec<Option<Hypothesis>> = rows.iter().map(|_| None).collect();
        let places: Vec<(usize, usize)> = rows
            .iter()
            .enumerate()
            .flat_map(|(row, state)| (0..state.progress.hypotheses()).map(move |n| (row, n)))
            .collect();
        for places in places.chunks(MAX_DECODED_TOGETHER) {
            let mut hypotheses = Vec::with_capacity(places.len());
            let (mut conditions, mut scales) = (Vec::new(), Vec::new());
            let decoder = &self.model.autoencoder.decoder;
            for &(row, number) in places {
                let Row {
                    context, progress, ..
                } = &rows[row];
                let output = OutputTokens::new(tokens, shared.longest_sentence);
                let position = context.position();
                let detokenizer = shared.pipeline.detokenizer();
                hypotheses.push(progress.begin(number, position, output, detokenizer));
                if let Some(prediction) = context.prediction() {
                    let before = context.sentences().iter().flat_map(|s| &s.ids).copied();
                    decoder.push_condition(&mut conditions, &prediction.hidden, before);
                }
                scales.push(progress.guidance_scale());
            }
            let buffers = &mut self.buffers;
            let next = |place: usize, logits: Result<&mut Logits>| {
                let row = &rows[places[place].0];
                let mut emit = |text: &str| on_event(row.id, RowEvent::Text(text));
                row.progress.step(&mut hypotheses[place], logits, &mut emit)
            };
            let decoded = decoder.decode_guided(buffers, tokens.bos, &conditions, &scales, next);
            match decoded {
                Ok(()) => {
                    for (&(row, _), hypothesis) in places.iter().zip(hypotheses) {
                        let other = best[row].take();
                        best[row] = Some(match other {
                            Some(other) => other.better(hypothesis),
                            None => hypothesis,
                        });
                    }
                }
                Err(error) => {
                    let failed = places.iter().map(|&(row, _)| row);
                    failed.clone().for_each(|row| best[row] = None);
                    fail(rows, failed, error);
                }
            }
        }
        best
    }

    /// Append its sentence to each row. A row whose sentence cannot be appended ends alone.
    fn append(&mut self, decoded: Vec<Decoded>, on_event: OnEvent<'_, C>) {
        let encoder_ids = |decoded: &Decoded| self.model.encoder_ids(&decoded.token_ids);
        let ids: Vec<Vec<u32>> = decoded.iter().map(encoder_ids).collect();
        let appended: Vec<Result<NewSentence>> = match self.append_to_all(&ids) {
            Ok(appended) => appended.into_iter().map(Ok).collect(),
            Err(error) if ids.len() == 1 => vec![Err(error)],
            Err(_) => (0..ids.len())
                .map(|row| self.append_alone(row, &ids[row]))
                .collect(),
        };
        let rows = self.rows.rows_mut().iter_mut();
        let mut sentences = Vec::with_capacity(ids.len());
        for ((row, decoded), appended) in rows.zip(decoded).zip(appended) {
            match appended {
                Ok(new) => {
                    let reason = decoded.reason;
                    sentences.push((row.id, commit(row, decoded, new)));
                    row.ended = reason.map(Ok);
                }
                Err(error) => row.ended = Some(Err(error)),
            }
        }
        // All contexts agree with their caches before a callback runs.
        for (id, sentence) in sentences {
            on_event(id, RowEvent::Sentence(sentence));
        }
    }

    /// Encode a sentence for each row and append it to the row's cache. After an error all rows are
    /// as they were.
    fn append_to_all(&mut self, encoder_ids: &[Vec<u32>]) -> Result<Vec<NewSentence>> {
        match encoder_ids {
            [] => return Ok(Vec::new()),
            [ids] => return Ok(vec![self.append_alone(0, ids)?]),
            _ => {}
        }
        let vectors = self.model.autoencoder.encoder.encode(encoder_ids)?;
        let rows = self.rows.rows().iter();
        let shorter = rows.map(|row| shorter_if_full(&row.context));
        let shorter = shorter.collect::<Result<Vec<_>>>()?;
        let backbone = &self.model.backbone;
        let predictions = if shorter.iter().any(Option::is_some) {
            let replaced = shorter.iter().map(|s| s.as_ref().and_then(|s| s.cache()));
            let mut shared = self.rows.copy(&replaced.collect::<Vec<_>>())?;
            let predictions = backbone.append_to_each(&mut shared, vectors.view())?;
            self.rows.share(shared);
            predictions
        } else {
            let shared = self.rows.gathered()?.1.ok_or(Error::EmptyContext)?;
            backbone.append_to_each(shared, vectors.view())?
        };
        let rows = vectors.outer_iter().zip(predictions).zip(shorter);
        let new = rows.map(|((vector, prediction), shorter)| NewSentence {
            vector: vector.to_vec(),
            prediction,
            shorter,
        });
        Ok(new.collect())
    }

    /// The same for one row, on a cache of its own.
    fn append_alone(&mut self, row: usize, encoder_ids: &[u32]) -> Result<NewSentence> {
        let vector = self
            .model
            .autoencoder
            .encoder
            .encode(&[encoder_ids.to_vec()])?;
        self.rows.separate(row)?;
        let context = &mut self.rows.rows_mut()[row].context;
        let mut shorter = shorter_if_full(context)?;
        let target = shorter.as_mut().unwrap_or(context);
        let cache = target.cache_mut().ok_or(Error::EmptyContext)?;
        Ok(NewSentence {
            prediction: self.model.backbone.append(cache, vector.view())?,
            vector: vector.into_iter().collect(),
            shorter,
        })
    }
}

/// The context without its oldest sentences, if it is full.
fn shorter_if_full(context: &SentenceContext) -> Result<Option<SentenceContext>> {
    let full = context.remaining() == 0;
    full.then(|| context.without_oldest()).transpose()
}

/// A sentence that is in a row's cache but not in its context yet.
struct NewSentence {
    vector: Vec<f32>,
    prediction: Prediction,
    /// The context without its oldest sentences, if it was full.
    shorter: Option<SentenceContext>,
}

/// Make a sentence part of a row's context.
fn commit<C: DerefMut<Target = SentenceContext>>(
    row: &mut Row<C, Progress>,
    decoded: Decoded,
    new: NewSentence,
) -> Sentence {
    let context = &mut *row.context;
    let stop_logits = context.prediction().map_or([0.0; 2], |p| p.stop_logits);
    let dropped = new.shorter.is_some();
    if let Some(mut shorter) = new.shorter {
        // Where several rows share a cache, the context's own was dropped.
        if context.cache().is_none() {
            shorter.set_cache(None);
        }
        *context = shorter;
    }
    let tokens = context.model().shared().special_tokens();
    let sentence = ContextSentence {
        text: decoded.text.clone(),
        ids: tokens.without_eos(&decoded.token_ids).to_vec(),
    };
    context.push_generated(sentence, &new.vector, new.prediction);
    let sentence = row.progress.commit(decoded, stop_logits);
    if dropped {
        row.progress.observe(row.context.sentences());
    }
    sentence
}
