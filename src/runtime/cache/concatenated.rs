//! Caches of graphs of standard operators, which return the cache concatenated with new positions.

use ort::{
    session::SessionOutputs,
    value::{DynTensor, DynTensorValueType},
};

use super::{CacheLayout, CacheRow, buffers, past_name, present_name};
use crate::{
    error::Result,
    runtime::{
        Graph, Input,
        memory::{Memory, output_memory},
    },
};

#[derive(Debug)]
pub(super) struct Concatenated {
    past: Vec<DynTensor>,
}

impl Concatenated {
    pub fn new(past: Vec<DynTensor>) -> Self {
        Self { past }
    }

    pub fn with_rows(
        graph: &Graph,
        layout: &CacheLayout,
        parts: &[Option<CacheRow<'_>>],
        width: usize,
    ) -> Result<Self> {
        let past = buffers(graph, layout, parts, width, |length| width - length)
            .map_err(|source| graph.failed(source))?;
        Ok(Self { past })
    }

    pub fn buffer(&self, number: usize) -> &DynTensor {
        &self.past[number]
    }

    /// Run the graph; its caches must come back in this memory and this shape.
    pub fn run<'a, T>(
        &mut self,
        graph: &Graph,
        inputs: impl IntoIterator<Item = Input<'a>>,
        (memory, expected): (&Memory, &[i64]),
        wanted: &[&str],
        read: impl FnOnce(&SessionOutputs<'_>) -> Result<T>,
    ) -> Result<T> {
        let failed = |source| graph.failed(source);
        let mut session = graph.session();
        let mut binding = session.create_binding().map_err(failed)?;
        for input in inputs {
            let tensor = input.tensor().map_err(failed)?;
            binding.bind_input(input.name, &tensor).map_err(failed)?;
        }
        let results = output_memory().map_err(failed)?;
        for name in wanted {
            binding
                .bind_output_to_device(*name, &results)
                .map_err(failed)?;
        }
        let caches = memory.info().map_err(failed)?;
        for (number, past) in self.past.iter().enumerate() {
            binding
                .bind_input(past_name(number), past)
                .map_err(failed)?;
            let present = present_name(number);
            binding
                .bind_output_to_device(present, &caches)
                .map_err(failed)?;
        }
        let mut outputs = session.run_binding(&binding).map_err(failed)?;
        let found = read(&outputs)?;
        let mut present = Vec::with_capacity(self.past.len());
        for number in 0..self.past.len() {
            let name = present_name(number);
            let tensor = outputs
                .remove(&name)
                .and_then(|value| value.downcast::<DynTensorValueType>().ok());
            let shape = tensor.as_ref().map(|tensor| tensor.shape().to_vec());
            match tensor {
                Some(tensor) if shape.as_deref() == Some(expected) => present.push(tensor),
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
