//! The rows of a batch and their KV caches.

use std::{ops::DerefMut, sync::Arc};

use super::{FinishReason, GenerateOptions, Sentence};
use crate::{
    context::CachedContext,
    error::{Error, Result},
    runtime::KvCache,
};

/// What happens to a row in a step.
pub(crate) enum RowEvent<'e, C> {
    /// The next piece of text of its sentence.
    Text(&'e str),
    /// A whole sentence, which is part of the context now.
    Sentence(Sentence),
    /// The row has left, for this reason or with this error.
    Ended(C, Result<FinishReason>),
}

/// Receives the events of rows, each with the id of its row.
pub(crate) type OnEvent<'f, C> = &'f mut dyn for<'e> FnMut(usize, RowEvent<'e, C>);

/// The loop over contexts of one kind.
pub(crate) trait RowLoop<C> {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Add a row, from the next step on. The context is given back if it cannot be continued.
    fn join(
        &mut self,
        id: usize,
        context: C,
        options: GenerateOptions,
    ) -> std::result::Result<(), (C, Error)>;

    /// Run until at least one row has a sentence or has ended.
    fn step(&mut self, on_event: OnEvent<'_, C>);

    /// Remove a row. Its context holds the sentences that were given out.
    fn leave(&mut self, id: usize) -> Option<C>;
}

/// The progress of a continuation.
pub(super) trait RowProgress {
    /// Pass on the text that was held back, since a stop text might have begun with it.
    fn pass_on_held(&mut self, on_text: &mut dyn FnMut(&str));
}

/// A context that is generated, with the progress `P` of its continuation.
pub(super) struct Row<C, P> {
    pub id: usize,
    pub context: C,
    pub progress: P,
    /// Its row in the shared cache; `None` if the context has its own cache.
    place: Option<usize>,
    /// Why it is to leave.
    pub ended: Option<Result<FinishReason>>,
}

/// All rows and, if there are several, the cache they run on.
type Gathered<'r, C, P> = (&'r mut [Row<C, P>], Option<&'r mut KvCache>);

/// Contexts of one model that run together.
///
/// A single row runs on its context's own cache. Several rows run on a shared cache with copies of
/// theirs, and a context gets its row back when it leaves. A context that does not get it back,
/// since memory is short or the program panicked, recomputes its cache when it is used.
pub(super) struct Rows<C, P> {
    rows: Vec<Row<C, P>>,
    shared: Option<KvCache>,
}

impl<C, P> Rows<C, P>
where
    C: DerefMut,
    C::Target: CachedContext,
    P: RowProgress,
{
    pub fn new() -> Self {
        Self {
            rows: Vec::new(),
            shared: None,
        }
    }

    /// Add a row. If its context cannot be prepared, it is given back.
    pub fn join(
        &mut self,
        id: usize,
        mut context: C,
        progress: P,
    ) -> std::result::Result<(), (C, Error)> {
        if let Err(error) = context.prepare() {
            return Err((context, error));
        }
        self.rows.push(Row {
            id,
            context,
            progress,
            place: None,
            ended: None,
        });
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn rows(&self) -> &[Row<C, P>] {
        &self.rows
    }

    pub fn rows_mut(&mut self) -> &mut [Row<C, P>] {
        &mut self.rows
    }

    /// The rows and, if there are several, the cache they run on, one row each in their order.
    pub fn gathered(&mut self) -> Result<Gathered<'_, C, P>> {
        if let [_] = self.rows[..] {
            self.separate(0)?;
        } else {
            let in_place = |(place, row): (usize, &Row<C, P>)| row.place == Some(place);
            let width = self.shared.as_ref().map_or(0, KvCache::rows);
            let complete = width == self.rows.len();
            if !(complete && self.rows.iter().enumerate().all(in_place)) {
                let shared = self.copy(&vec![None; self.rows.len()])?;
                self.share(shared);
            }
        }
        Ok((&mut self.rows, self.shared.as_mut()))
    }

    /// Copy the caches of all rows into one cache, with those given in place of a row's own.
    pub fn copy(&self, replaced: &[Option<&KvCache>]) -> Result<KvCache> {
        let mut parts = Vec::with_capacity(self.rows.len());
        for (row, replaced) in self.rows.iter().zip(replaced) {
            let part = match (replaced, row.place, &self.shared) {
                (Some(cache), ..) => Some(cache.row(0)),
                (None, Some(place), Some(shared)) => Some(shared.row(place)),
                (None, ..) => row.context.cache().map(|cache| cache.row(0)),
            };
            parts.extend(part);
        }
        match self.rows.first() {
            Some(first) => first.context.copy_rows(&parts),
            None => Err(Error::EmptyContext),
        }
    }

    /// Run on this cache from now on, which has a row for each row in their order.
    pub fn share(&mut self, cache: KvCache) {
        self.shared = Some(cache);
        for (place, row) in self.rows.iter_mut().enumerate() {
            row.place = Some(place);
            row.context.set_cache(None);
        }
    }

    /// Give a row its own cache back.
    pub fn separate(&mut self, index: usize) -> Result<()> {
        let row = &mut self.rows[index];
        if let (Some(place), Some(shared)) = (row.place.take(), &self.shared) {
            let own = row.context.copy_rows(&[shared.row(place)])?;
            row.context.set_cache(Some(own));
        }
        if self.rows.iter().all(|row| row.place.is_none()) {
            self.shared = None;
        }
        Ok(())
    }

    /// The same for a row that leaves, whose context recomputes a cache that it does not get.
    fn separate_leaving(&mut self, index: usize) {
        if self.separate(index).is_err() {
            self.rows[index].context.set_cache(None);
        }
    }

    /// Remove the rows that have ended.
    pub fn remove_ended(&mut self, on_event: OnEvent<'_, C>) {
        let mut index = 0;
        while index < self.rows.len() {
            match self.rows[index].ended.take() {
                Some(result) => {
                    self.separate_leaving(index);
                    let mut row = self.rows.remove(index);
                    let mut emit = |text: &str| on_event(row.id, RowEvent::Text(text));
                    row.progress.pass_on_held(&mut emit);
                    on_event(row.id, RowEvent::Ended(row.context, result));
                }
                None => index += 1,
            }
        }
    }

    /// Remove a row before it has ended.
    pub fn leave(&mut self, id: usize) -> Option<C> {
        let index = self.rows.iter().position(|row| row.id == id)?;
        self.separate_leaving(index);
        Some(self.rows.remove(index).context)
    }
}

/// End these rows with an error.
pub(super) fn fail<C, P>(
    rows: &mut [Row<C, P>],
    failed: impl Iterator<Item = usize> + Clone,
    error: Error,
) {
    let first = failed.clone().next();
    if let Some(only) = first.filter(|&only| failed.clone().all(|row| row == only)) {
        rows[only].ended = Some(Err(error));
        return;
    }
    let error = Arc::new(error);
    for row in failed {
        rows[row].ended = Some(Err(Error::Shared(error.clone())));
    }
}
