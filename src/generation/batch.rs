//! The loop that continues many contexts together.

use tracing::{debug_span, field, info_span};

use super::{
    FinishReason, GenerateOptions, Sentence, SentenceModel as _,
    progress::{Decoded, Emitted, Progress},
};
use crate::{
    error::Result,
    session::{SentenceBatch, SentenceContext},
};

/// A continuation whose context is in the batch.
struct Row {
    /// Its place among all continuations.
    number: usize,
    progress: Progress,
}

/// Continue each of the contexts, of one model, as its options say; returns why each ended.
///
/// `on_sentence` gets each sentence with the number of its context. After an error each context
/// holds what it held before the sentence that failed.
pub(crate) fn generate_batch(
    contexts: &mut [&mut SentenceContext],
    options: Vec<GenerateOptions>,
    on_sentence: &mut dyn FnMut(usize, Sentence),
) -> Result<Vec<FinishReason>> {
    if contexts.is_empty() {
        return Ok(Vec::new());
    }
    let model = &contexts[0].model;
    let span = info_span!(
        "batch",
        model = model.config().name,
        variant = model.variant(),
        provider = model.provider().name(),
        contexts = contexts.len(),
        sentences = field::Empty,
        tokens = field::Empty,
    )
    .entered();
    let row =
        |(number, (context, options)): (usize, (&&mut SentenceContext, GenerateOptions))| Row {
            number,
            progress: Progress::new(
                options.resolved(
                    context.model.generation_defaults(),
                    context.model.config().kind,
                ),
                context.special_tokens(),
                context.sentences(),
            ),
        };
    let rows = contexts.iter().zip(options).enumerate().map(row).collect();
    let mut batch = BatchLoop {
        batch: SentenceBatch::join(contexts)?,
        rows,
        reasons: vec![FinishReason::MaxSentences; contexts.len()],
        contexts,
    };
    let (mut sentences, mut tokens) = (0, 0);
    let done = batch.run(&mut |number, sentence| {
        sentences += 1;
        tokens += sentence.token_ids.len();
        on_sentence(number, sentence);
    });
    span.record("sentences", sentences);
    span.record("tokens", tokens);
    let left = batch.leave(|_, _| true);
    done.and(left)?;
    Ok(batch.reasons)
}

struct BatchLoop<'a, 'c> {
    contexts: &'a mut [&'c mut SentenceContext],
    batch: SentenceBatch,
    /// One for each row of the batch.
    rows: Vec<Row>,
    reasons: Vec<FinishReason>,
}

impl BatchLoop<'_, '_> {
    fn run(&mut self, on_sentence: &mut dyn FnMut(usize, Sentence)) -> Result<()> {
        loop {
            for (place, row) in self.rows.iter_mut().enumerate() {
                let room = self.contexts[row.number].room();
                let room = room.saturating_sub(self.batch.new_sentences(place));
                row.progress.goes_on(self.batch.prediction(place), room);
            }
            self.leave(|_, row| row.progress.finished.is_some())?;
            if self.rows.is_empty() {
                return Ok(());
            }
            let _span = debug_span!("sentences", rows = self.rows.len()).entered();
            let decoded = self.decode()?;
            self.leave(|place, _| decoded[place].is_none())?;
            let decoded: Vec<Decoded> = decoded.into_iter().flatten().collect();
            if decoded.is_empty() {
                return Ok(());
            }
            let stop_logits = self.batch.stop_logits();
            self.append(&decoded)?;
            for ((row, decoded), logits) in self.rows.iter_mut().zip(decoded).zip(stop_logits) {
                on_sentence(row.number, row.progress.count(decoded, logits));
            }
        }
    }

    /// Add its sentence to each row. Full contexts lose their oldest sentences only if all goes well.
    fn append(&mut self, decoded: &[Decoded]) -> Result<()> {
        let mut whole = Vec::new();
        let appended = self.append_dropping(decoded, &mut whole);
        if appended.is_err() {
            for (number, context) in whole {
                *self.contexts[number] = context;
            }
        }
        appended
    }

    /// The same; `whole` gets the contexts that were full, with their numbers, as they were.
    fn append_dropping(
        &mut self,
        decoded: &[Decoded],
        whole: &mut Vec<(usize, SentenceContext)>,
    ) -> Result<()> {
        for (place, row) in self.rows.iter().enumerate() {
            let context = &mut *self.contexts[row.number];
            if context.room() == self.batch.new_sentences(place) {
                whole.push((row.number, self.batch.drop_oldest(place, context)?));
            }
        }
        let said = decoded
            .iter()
            .map(|d| (d.token_ids.as_slice(), d.text.as_str()));
        self.batch.append_generated(said)
    }

    /// The next sentence of each row; `None` if there is none to be given out.
    fn decode(&mut self) -> Result<Vec<Option<Decoded>>> {
        let parts = self.batch.model().parts();
        let emitted = Emitted::new(parts.special_tokens(), parts.longest_sentence);
        let begin = |row: &mut Row| {
            row.progress
                .begin(&emitted, || parts.pipeline.detokenizer())
        };
        let mut attempts: Vec<Vec<_>> = self.rows.iter_mut().map(begin).collect();
        let mut places = Vec::new();
        for (row, attempts) in attempts.iter().enumerate() {
            places.extend((0..attempts.len()).map(|attempt| (row, attempt)));
        }
        let of_row: Vec<usize> = places.iter().map(|&(row, _)| row).collect();
        self.batch.decode(&of_row, |place, candidates| {
            let (row, attempt) = places[place];
            let attempt = &mut attempts[row][attempt];
            self.rows[row]
                .progress
                .step(attempt, candidates, &mut |_| {})
        })?;
        let rows = self.rows.iter_mut().zip(attempts);
        rows.map(|(row, attempts)| row.progress.finish(attempts, &mut |_| {}))
            .collect()
    }

    /// Give the rows that this is true of back to their contexts; after an error every row that can be.
    fn leave(&mut self, leaves: impl Fn(usize, &Row) -> bool) -> Result<()> {
        let leaves: Vec<bool> = self
            .rows
            .iter()
            .enumerate()
            .map(|(place, row)| leaves(place, row))
            .collect();
        let stay: Vec<usize> = (0..leaves.len()).filter(|&place| !leaves[place]).collect();
        if stay.len() == leaves.len() {
            return Ok(());
        }
        let mut done = Ok(());
        let mut staying = Vec::with_capacity(stay.len());
        for (place, row) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            if !leaves[place] {
                staying.push(row);
                continue;
            }
            done = done.and(self.batch.give_back(place, self.contexts[row.number]));
            if let Some(reason) = row.progress.finished {
                self.reasons[row.number] = reason;
            }
        }
        if staying.is_empty() {
            return done;
        }
        let kept = self.batch.keep(&stay);
        if kept.is_ok() {
            self.rows = staying;
            return done;
        }
        for (place, row) in stay.into_iter().zip(staying) {
            done = done.and(self.batch.give_back(place, self.contexts[row.number]));
        }
        done.and(kept)
    }
}
