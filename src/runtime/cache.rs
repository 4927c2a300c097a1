//! The KV cache of a graph, in either of the two forms that variants use.

mod concatenated;
mod in_place;
mod rows;

use ort::{
    session::SessionOutputs,
    value::{DynValue, TensorElementType},
};

use super::{
    Graph,
    graph::{ANY, Port},
    input::Input,
};
use crate::error::{Error, Result};
use concatenated::Concatenated;
use in_place::InPlace;
use rows::buffers;

/// A cache in place that is too small grows by this part of what it is to hold.
const GROWTH: usize = 4;
/// The input by which an in-place graph is told from one that concatenates.
const LENGTHS: &str = "seqlens_k";
const TOTAL: &str = "total_sequence_length";

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
    fn tensor(&self, rows: usize, positions: usize) -> [i64; 4] {
        [rows, self.heads, positions, self.head_size].map(|size| size as i64)
    }

    /// Keys and values of all layers.
    fn tensors(&self) -> usize {
        2 * self.layers
    }

    /// Numbers in one position of one row.
    fn values_per_position(&self) -> usize {
        self.tensors() * self.heads * self.head_size
    }
}

/// Keys and values of some sequences, the rows, for all layers of one graph.
///
/// A graph either concatenates (takes `past_*`, returns longer `present_*`) or works in place
/// (one buffer with room to grow is bound as past and present, lengths are told apart).
#[derive(Debug)]
pub(crate) struct KvCache {
    shape: CacheShape,
    /// Positions held in each row.
    lengths: Vec<usize>,
    element: Element,
    storage: Storage,
}

/// The numbers that a cache is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    F32,
    F16,
}

impl Element {
    /// That of the graph's caches; if it is neither, the contract will not be kept.
    fn of(graph: &Graph) -> Self {
        match graph.element(&past_name(0)) {
            Some(TensorElementType::Float16) => Self::F16,
            _ => Self::F32,
        }
    }

    fn tensor_type(self) -> TensorElementType {
        match self {
            Self::F32 => TensorElementType::Float32,
            Self::F16 => TensorElementType::Float16,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::F16 => size_of::<half::f16>(),
        }
    }
}

#[derive(Debug)]
enum Storage {
    /// As wide as the longest row; shorter ones end where that ends.
    Concatenated(Concatenated),
    /// Rows begin at the first position.
    InPlace(InPlace),
}

/// A row of a cache, or its first positions.
#[derive(Clone, Copy, Debug)]
struct RowPart<'c> {
    cache: &'c KvCache,
    row: usize,
    length: usize,
}

pub(super) fn past_name(number: usize) -> String {
    format!(
        "past_key_values.{}.{}",
        number / 2,
        ["key", "value"][number % 2]
    )
}

fn present_name(number: usize) -> String {
    format!("present.{}.{}", number / 2, ["key", "value"][number % 2])
}

/// Whether the graph keeps its cache in place.
pub(crate) fn is_in_place(graph: &Graph) -> bool {
    graph.has_input(LENGTHS)
}

/// The inputs and outputs that a cache adds to a graph's contract.
pub(crate) fn cache_ports(graph: &Graph, shape: &CacheShape) -> (Vec<Port>, Vec<Port>) {
    use ort::value::TensorElementType::Int32;
    let element = Element::of(graph).tensor_type();
    let dimensions = [ANY, shape.heads as i64, ANY, shape.head_size as i64];
    let ports = |name: fn(usize) -> String| {
        (0..shape.tensors())
            .map(|number| Port::new(name(number), element, &dimensions))
            .collect()
    };
    let mut inputs: Vec<Port> = ports(past_name);
    if is_in_place(graph) {
        inputs.push(Port::new(LENGTHS, Int32, &[ANY]));
        inputs.push(Port::new(TOTAL, Int32, &[]));
    }
    (inputs, ports(present_name))
}

impl KvCache {
    /// A cache of so many empty rows for `graph`.
    pub fn new(graph: &Graph, shape: CacheShape, rows: usize) -> Result<Self> {
        Self::from_parts(graph, shape, &vec![None; rows], 0)
    }

    /// A cache whose rows are copies of these, which are of caches of the same graph.
    pub fn from_rows(graph: &Graph, shape: CacheShape, rows: &[(&Self, usize)]) -> Result<Self> {
        let mut parts = Vec::with_capacity(rows.len());
        for &(cache, row) in rows {
            let length = cache.lengths[row];
            parts.push(Some(RowPart { cache, row, length }));
        }
        let widest = rows.iter().map(|(cache, _)| cache.width()).max();
        Self::from_parts(graph, shape, &parts, widest.unwrap_or(0))
    }

    /// A copy of the first positions of each row.
    pub fn prefix(&self, graph: &Graph, positions: usize) -> Result<Self> {
        Self::from_parts(graph, self.shape, &self.parts(positions), 0)
    }

    /// Rows that hold these; buffers in place have room for at least `capacity` positions.
    fn from_parts(
        graph: &Graph,
        shape: CacheShape,
        parts: &[Option<RowPart<'_>>],
        capacity: usize,
    ) -> Result<Self> {
        let lengths: Vec<usize> = parts.iter().map(length).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let element = Element::of(graph);
        let form = (&shape, element);
        let storage = if is_in_place(graph) {
            let capacity = capacity.max(longest);
            Storage::InPlace(InPlace::with_rows(graph, form, parts, capacity)?)
        } else {
            Storage::Concatenated(Concatenated::with_rows(graph, form, parts, longest)?)
        };
        Ok(Self {
            shape,
            lengths,
            element,
            storage,
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Positions held in each row.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Positions held in the longest row.
    pub fn len(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// Memory held, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.rows() * self.width() * self.shape.values_per_position() * self.element.bytes()
    }

    /// Forget all positions; an in-place cache keeps its memory.
    pub fn clear(&mut self, graph: &Graph) -> Result<()> {
        self.truncate(graph, 0)
    }

    /// Forget all but the first `positions` of each row.
    pub fn truncate(&mut self, graph: &Graph, positions: usize) -> Result<()> {
        if positions >= self.len() {
            return Ok(());
        }
        if let Storage::Concatenated(_) = self.storage {
            *self = self.prefix(graph, positions)?;
        }
        for length in &mut self.lengths {
            *length = positions.min(*length);
        }
        Ok(())
    }

    /// Run `graph` on `new` further positions of each row; returns what `read` takes from its
    /// outputs, which are those in `wanted`.
    ///
    /// After an error, `read`'s too, the cache holds what it held before.
    pub fn run<'a, T>(
        &mut self,
        graph: &Graph,
        inputs: impl IntoIterator<Item = Input<'a>>,
        new: usize,
        wanted: &[&str],
        read: impl FnOnce(&SessionOutputs<'_>) -> Result<T>,
    ) -> Result<T> {
        let total = self.len() + new;
        if total > self.shape.limit {
            return Err(Error::CacheFull {
                positions: total,
                limit: self.shape.limit,
            });
        }
        self.reserve(graph, total)?;
        let found = match &mut self.storage {
            Storage::Concatenated(storage) => storage.run(graph, inputs, read),
            Storage::InPlace(storage) => {
                let lengths = self.lengths.iter().map(|length| length + new);
                storage.run(graph, inputs, lengths, wanted, read)
            }
        }?;
        for length in &mut self.lengths {
            *length += new;
        }
        Ok(found)
    }

    /// Make room for `total` positions in each row.
    fn reserve(&mut self, graph: &Graph, total: usize) -> Result<()> {
        let width = self.width();
        if matches!(self.storage, Storage::Concatenated(_)) || total <= width {
            return Ok(());
        }
        let grown = total + (total / GROWTH).max(in_place::LEAST_ROOM);
        let grown = grown.min(self.shape.limit);
        *self = Self::from_parts(graph, self.shape, &self.parts(total), grown)?;
        Ok(())
    }

    /// The first positions of each row.
    fn parts(&self, positions: usize) -> Vec<Option<RowPart<'_>>> {
        let part = |(row, &length): (usize, &usize)| {
            Some(RowPart {
                cache: self,
                row,
                length: positions.min(length),
            })
        };
        self.lengths.iter().enumerate().map(part).collect()
    }

    /// Positions that a row of the buffers has room for.
    fn width(&self) -> usize {
        match &self.storage {
            Storage::Concatenated(_) => self.len(),
            Storage::InPlace(storage) => storage.capacity(),
        }
    }

    /// Where a row begins.
    fn start(&self, row: usize) -> usize {
        match &self.storage {
            Storage::Concatenated(_) => self.len() - self.lengths[row],
            Storage::InPlace(_) => 0,
        }
    }

    fn buffer(&self, number: usize) -> &DynValue {
        match &self.storage {
            Storage::Concatenated(storage) => storage.buffer(number),
            Storage::InPlace(storage) => storage.buffer(number),
        }
    }
}

fn length(part: &Option<RowPart<'_>>) -> usize {
    part.map_or(0, |part| part.length)
}
