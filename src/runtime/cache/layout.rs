//! Layout of a graph's caches: sizes, element type and memory.

use ort::value::TensorElementType;

use super::{is_in_place, past_name};
use crate::{
    error::Result,
    runtime::{Graph, memory::Memory},
};

/// Sizes of a cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheShape {
    pub layers: usize,
    pub heads: usize,
    pub head_size: usize,
    /// The largest number of positions that a row may ever hold.
    pub limit: usize,
}

impl CacheShape {
    pub(super) fn tensor(&self, rows: usize, positions: usize) -> [i64; 4] {
        [rows, self.heads, positions, self.head_size].map(|size| size as i64)
    }

    /// Keys and values of all layers.
    pub fn tensors(&self) -> usize {
        2 * self.layers
    }

    /// Numbers in one position of one row.
    pub(super) fn values_per_position(&self) -> usize {
        self.tensors() * self.heads * self.head_size
    }
}

/// How the caches of a graph are made.
#[derive(Clone, Debug)]
pub(crate) struct CacheLayout {
    pub(super) shape: CacheShape,
    pub(super) element: Element,
    /// Where the buffers are.
    pub(super) memory: Memory,
}

impl CacheLayout {
    /// That of the caches of this graph, which are where it reads them.
    pub fn of(graph: &Graph, shape: CacheShape) -> Result<Self> {
        Ok(Self {
            shape,
            element: Element::of(graph),
            memory: cache_memory(graph, &shape)?,
        })
    }

    /// Sizes of the caches.
    pub fn shape(&self) -> &CacheShape {
        &self.shape
    }

    /// Bytes of a number in the caches.
    pub fn number_bytes(&self) -> usize {
        self.element.bytes()
    }

    /// As if the processor could not read its memory.
    #[cfg(test)]
    pub fn unreadable(self) -> Self {
        Self {
            memory: Memory::unreadable(),
            ..self
        }
    }
}

/// The memory in which a graph reads its caches.
///
/// A cache in place is bound once. In another memory than that of its input, ONNX Runtime would copy
/// it at that moment, and never again.
fn cache_memory(graph: &Graph, shape: &CacheShape) -> Result<Memory> {
    let session = graph.session();
    let memories = Memory::of_inputs(&session).map_err(|source| graph.failed(source))?;
    let names: Vec<String> = (0..shape.tensors()).map(past_name).collect();
    let inputs = session.inputs().iter().zip(memories);
    let mut found = inputs
        .filter(|(input, _)| names.iter().any(|name| name == input.name()))
        .map(|(_, memory)| memory);
    let Some(first) = found.next() else {
        return Ok(Memory::host());
    };
    if first.is_usable() && found.all(|memory| memory == first) {
        return Ok(first);
    }
    if is_in_place(graph) {
        return Err(graph.broken(format!(
            "its caches cannot be kept in place in the memory {}; a variant such as portable keeps \
             them elsewhere",
            first.name()
        )));
    }
    Ok(Memory::host())
}

/// The numbers that a cache is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F16,
}

impl Element {
    /// That of the graph's caches; if it is neither, the signature will not match.
    pub fn of(graph: &Graph) -> Self {
        match graph.element(&past_name(0)) {
            Some(TensorElementType::Float16) => Self::F16,
            _ => Self::F32,
        }
    }

    pub fn tensor_type(self) -> TensorElementType {
        match self {
            Self::F32 => TensorElementType::Float32,
            Self::F16 => TensorElementType::Float16,
        }
    }

    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::F16 => size_of::<half::f16>(),
        }
    }
}
