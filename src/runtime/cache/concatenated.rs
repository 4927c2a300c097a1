//! Caches of graphs of standard operators, which return them longer than they were.

use std::borrow::Cow;

use ort::{
    session::{SessionInputValue, SessionOutputs},
    value::DynValue,
};

use super::{CacheRow, CacheShape, Element, buffers, past_name, present_name};
use crate::{
    error::Result,
    runtime::{Graph, Input},
};

#[derive(Debug)]
pub(super) struct Concatenated {
    past: Vec<DynValue>,
}

impl Concatenated {
    pub fn new(past: Vec<DynValue>) -> Self {
        Self { past }
    }

    pub fn with_rows(
        graph: &Graph,
        form: (&CacheShape, Element),
        parts: &[Option<CacheRow<'_>>],
        width: usize,
    ) -> Result<Self> {
        let past = buffers(form, parts, width, |length| width - length)
            .map_err(|source| graph.failed(source))?;
        Ok(Self { past })
    }

    pub fn buffer(&self, number: usize) -> &DynValue {
        &self.past[number]
    }

    /// Run the graph; its caches must come back in the shape `expected`.
    pub fn run<'a, T>(
        &mut self,
        graph: &Graph,
        inputs: impl IntoIterator<Item = Input<'a>>,
        expected: &[i64],
        read: impl FnOnce(&SessionOutputs<'_>) -> Result<T>,
    ) -> Result<T> {
        let failed = |source| graph.failed(source);
        let mut feed: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        for input in inputs {
            feed.push((input.name.into(), input.tensor().map_err(failed)?.into()));
        }
        for (number, value) in self.past.iter().enumerate() {
            feed.push((past_name(number).into(), value.into()));
        }
        let mut session = graph.session();
        let mut outputs = session.run(feed).map_err(failed)?;
        let found = read(&outputs)?;
        let mut present = Vec::with_capacity(self.past.len());
        for number in 0..self.past.len() {
            let name = present_name(number);
            let value = outputs.remove(&name);
            let shape = value.as_ref().map(|value| value.shape().to_vec());
            match value {
                Some(value) if shape.as_deref() == Some(expected) => present.push(value),
                _ => {
                    return Err(graph.broken(format!(
                        "output {name}: expected the shape {expected:?}, found {:?}",
                        shape.unwrap_or_default()
                    )));
                }
            }
        }
        self.past = present;
        Ok(found)
    }
}
