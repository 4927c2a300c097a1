//! The loop over token-level contexts. It emits their tokens in sentences.

mod progress;

use std::{ops::DerefMut, sync::Arc};

use super::{
    FinishReason, GenerateOptions, OnEvent, RowEvent,
    rows::{Row, RowLoop, Rows, fail},
    step_span,
};
use crate::{
    context::TokenContext,
    error::{Error, Result},
    logits::Logits,
    model::TokenModel,
};
use progress::{Progress, Step};

/// Token-level contexts that are generated together.
pub(crate) struct TokenRows<C> {
    model: Arc<TokenModel>,
    rows: Rows<C, Progress>,
    /// What is chosen from.
    logits: Logits,
}

impl<C: DerefMut<Target = TokenContext>> TokenRows<C> {
    pub fn new(model: Arc<TokenModel>) -> Self {
        Self {
            model,
            rows: Rows::new(),
            logits: Logits::default(),
        }
    }
}

impl<C: DerefMut<Target = TokenContext>> RowLoop<C> for TokenRows<C> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn join(
        &mut self,
        id: usize,
        context: C,
        options: GenerateOptions,
    ) -> std::result::Result<(), (C, Error)> {
        if let Err(error) = options.check_token_level() {
            return Err((context, error));
        }
        if context.ids().is_empty() {
            return Err((context, Error::EmptyContext));
        }
        let progress = Progress::of_context(options, &context);
        self.rows.join(id, context, progress)
    }

    fn leave(&mut self, id: usize) -> Option<C> {
        self.rows.leave(id)
    }

    fn step(&mut self, on_event: OnEvent<'_, C>) {
        let first = self.rows.rows().first();
        let span = step_span(
            self.rows.len(),
            first.map_or(0, |row| row.progress.sentences),
        );
        let _entered = span.enter();
        let mut tokens = 0;
        let on_event: OnEvent<'_, C> = &mut |row, event| {
            if let RowEvent::Sentence(sentence) = &event {
                tokens += sentence.token_ids.len();
            }
            on_event(row, event);
        };
        while self.rows.len() > 0 {
            let mut events = false;
            for row in self.rows.rows_mut() {
                events |= advance(row, &self.model, &mut self.logits, on_event);
            }
            if events {
                break;
            }
            if let Err(error) = self.run() {
                let all = 0..self.rows.len();
                fail(self.rows.rows_mut(), all, error);
                break;
            }
        }
        self.rows.remove_ended(on_event);
        span.record("tokens", tokens);
    }
}

impl<C: DerefMut<Target = TokenContext>> TokenRows<C> {
    /// Run the chosen token of each row.
    fn run(&mut self) -> Result<()> {
        let graph = &self.model.graph;
        let (rows, shared) = self.rows.gathered()?;
        let ids: Vec<u32> = rows
            .iter_mut()
            .filter_map(|r| r.progress.next.take())
            .collect();
        match (shared, rows) {
            (None, [row]) => {
                let (cache, logits) = row.context.cache_and_logits();
                let cache = cache.ok_or(Error::EmptyContext)?;
                graph.append_to_each(cache, &ids, std::iter::once(logits))
            }
            (Some(shared), rows) => {
                let logits = rows.iter_mut().map(|row| row.context.cache_and_logits().1);
                graph.append_to_each(shared, &ids, logits)
            }
            (None, _) => Ok(()),
        }
    }
}

/// Choose the next token of a row; returns whether the row has a sentence or has ended.
fn advance<C: DerefMut<Target = TokenContext>>(
    row: &mut Row<C, Progress>,
    model: &TokenModel,
    logits: &mut Logits,
    on_event: OnEvent<'_, C>,
) -> bool {
    if row.context.logits().is_empty() {
        row.ended = Some(Err(model.graph.not_finite()));
        return true;
    }
    let id = row.id;
    let mut emit = |text: &str| on_event(id, RowEvent::Text(text));
    let held = row.context.ids().len();
    let after = row.context.logits();
    let advanced = row.progress.advance(held, after, logits, &mut emit);
    let (sentence, reason) = match advanced {
        Ok(Step::Continue) => return false,
        Ok(Step::Sentence(sentence)) => (Some(sentence), None),
        Ok(Step::End(sentence, reason)) => (sentence, Some(reason)),
        Err(error) => {
            row.ended = Some(Err(error));
            return true;
        }
    };
    if let Some(sentence) = sentence {
        let tokens = model.shared.special_tokens();
        let ids = tokens.without_eos(&sentence.token_ids);
        row.context.push_generated(ids, &sentence.text);
        on_event(id, RowEvent::Sentence(sentence));
    }
    let last = row.progress.sentences >= row.progress.options.max_sentences;
    row.ended = reason
        .or(last.then_some(FinishReason::MaxSentences))
        .map(Ok);
    true
}
