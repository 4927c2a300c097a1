//! Caches with room to grow, updated in place.

use ort::{session::SessionOutputs, value::DynTensor};

use super::{CacheLayout, CacheRow, LENGTHS, TOTAL, buffers, past_name, present_name};
use crate::{
    error::Result,
    runtime::{Graph, Input, input::Bound},
};

/// Least room that is made at a time, in positions.
pub(super) const LEAST_ROOM: usize = 16;

/// Buffers bound as past and present.
#[derive(Debug)]
pub(super) struct InPlace {
    /// The number of the session that the buffers are bound to.
    session: usize,
    bound: Bound,
    buffers: Vec<DynTensor>,
    capacity: usize,
    /// Positions in each row after a run.
    totals: Vec<i32>,
}

impl InPlace {
    /// Rows with room for at least `capacity` positions.
    pub fn with_rows(
        graph: &Graph,
        layout: &CacheLayout,
        parts: &[Option<CacheRow<'_>>],
        capacity: usize,
    ) -> Result<Self> {
        let failed = |source: ort::Error| graph.failed(source);
        let capacity = capacity.max(LEAST_ROOM.min(layout.shape.limit));
        let session = graph.session_number();
        let mut buffers = buffers(graph, layout, parts, capacity, |_| 0).map_err(failed)?;
        let binding = graph.numbered_session(session).create_binding();
        let mut bound = Bound::new(binding.map_err(failed)?, graph.on_device());
        for (number, buffer) in buffers.iter_mut().enumerate() {
            bound
                .alias(past_name(number), present_name(number), buffer)
                .map_err(failed)?;
        }
        Ok(Self {
            session,
            bound,
            buffers,
            capacity,
            totals: Vec::with_capacity(parts.len()),
        })
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn buffer(&self, number: usize) -> &DynTensor {
        &self.buffers[number]
    }

    /// `totals` are the positions in each row after the run.
    pub fn run<'a, T>(
        &mut self,
        graph: &Graph,
        inputs: impl IntoIterator<Item = Input<'a>>,
        totals: impl Iterator<Item = usize>,
        wanted: &[&str],
        read: impl FnOnce(&SessionOutputs<'_>) -> Result<T>,
    ) -> Result<T> {
        let failed = |source| graph.failed(source);
        // The operator is told the place of the last position.
        self.totals.clear();
        self.totals.extend(totals.map(|total| total as i32 - 1));
        let total = self.totals.iter().copied().max().unwrap_or(0) + 1;
        for input in inputs {
            self.bound.set(input).map_err(failed)?;
        }
        let lengths = Input::lengths(LENGTHS, &[self.totals.len()], &self.totals);
        self.bound.set(lengths).map_err(failed)?;
        let total = Input::lengths(TOTAL, &[], std::slice::from_ref(&total));
        self.bound.set(total).map_err(failed)?;
        self.bound.want(wanted).map_err(failed)?;
        let mut session = graph.numbered_session(self.session);
        let found = session.run_binding(self.bound.binding());
        let found = found.map_err(failed).and_then(|outputs| read(&outputs));
        drop(session);
        if found.is_err() {
            self.bound.forget_outputs();
        }
        found
    }
}
