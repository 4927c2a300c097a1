//! The KV cache of a graph, in either of the two forms that variants use.

mod concatenated;
mod in_place;
mod layout;
mod rows;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use ort::{session::SessionOutputs, value::DynTensor};

use super::{
    Graph,
    input::Input,
    memory::Memory,
    signature::{ANY, TensorSpec},
};
use crate::error::{Error, Result};
use concatenated::Concatenated;
use in_place::InPlace;
use layout::Element;
pub(crate) use layout::{CacheLayout, CacheShape};
use rows::{buffers, packed, unpacked};

/// Grow capacity by 1/GROWTH of the required length.
const GROWTH: usize = 4;
/// The input by which an in-place graph is told from one that concatenates.
const LENGTHS: &str = "seqlens_k";
const TOTAL: &str = "total_sequence_length";

/// Keys and values of some sequences, the rows, for all layers of one graph.
///
/// A graph either concatenates (takes `past_*`, returns longer `present_*`) or works in place
/// (one buffer with room to grow is bound as past and present, lengths are told apart).
#[derive(Debug)]
pub(crate) struct KvCache {
    layout: Arc<CacheLayout>,
    /// Positions held in each row.
    lengths: Vec<usize>,
    storage: Storage,
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
pub(crate) struct CacheRow<'c> {
    cache: &'c KvCache,
    row: usize,
    length: usize,
}

impl CacheRow<'_> {
    /// The first positions of the row, at most those that it holds.
    pub fn prefix(mut self, positions: usize) -> Self {
        self.length = self.length.min(positions);
        self
    }
}

/// The capacity of a cache that is to hold `positions` and grow.
fn grown(positions: usize) -> usize {
    positions + (positions / GROWTH).max(in_place::LEAST_ROOM)
}

pub(crate) fn past_name(number: usize) -> String {
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

/// The inputs and outputs that a cache adds to a graph's signature.
pub(crate) fn cache_specs(graph: &Graph, shape: &CacheShape) -> (Vec<TensorSpec>, Vec<TensorSpec>) {
    use ort::value::TensorElementType::Int32;
    let element = Element::of(graph).tensor_type();
    let dimensions = [ANY, shape.heads as i64, ANY, shape.head_size as i64];
    let ports = |name: fn(usize) -> String| {
        (0..shape.tensors())
            .map(|number| TensorSpec::new(name(number), element, &dimensions))
            .collect()
    };
    let mut inputs: Vec<TensorSpec> = ports(past_name);
    if is_in_place(graph) {
        inputs.push(TensorSpec::new(LENGTHS, Int32, &[ANY]));
        inputs.push(TensorSpec::new(TOTAL, Int32, &[]));
    }
    (inputs, ports(present_name))
}

impl KvCache {
    /// A cache of so many empty rows for `graph`.
    pub fn new(graph: &Graph, layout: &Arc<CacheLayout>, rows: usize) -> Result<Self> {
        Self::from_parts(graph, layout, &vec![None; rows], 0)
    }

    /// Copy rows of caches of the same graph into one cache.
    ///
    /// The new cache has room for what its rows hold, and for some more positions if there are
    /// several.
    pub fn from_rows(
        graph: &Graph,
        layout: &Arc<CacheLayout>,
        rows: &[CacheRow<'_>],
    ) -> Result<Self> {
        let parts: Vec<_> = rows.iter().copied().map(Some).collect();
        let longest = rows.iter().map(|row| row.length).max().unwrap_or(0);
        let capacity = match rows.len() {
            0 | 1 => longest,
            _ => grown(longest).min(layout.shape.limit),
        };
        Self::from_parts(graph, layout, &parts, capacity)
    }

    /// A row of this cache.
    pub fn row(&self, row: usize) -> CacheRow<'_> {
        CacheRow {
            cache: self,
            row,
            length: self.lengths[row],
        }
    }

    /// A copy of the first positions of each row.
    pub fn prefix(&self, graph: &Graph, positions: usize) -> Result<Self> {
        Self::from_parts(graph, &self.layout, &self.parts(positions), 0)
    }

    /// Rows that hold these; buffers in place have room for at least `capacity` positions.
    fn from_parts(
        graph: &Graph,
        layout: &Arc<CacheLayout>,
        parts: &[Option<CacheRow<'_>>],
        capacity: usize,
    ) -> Result<Self> {
        let lengths: Vec<usize> = parts.iter().map(length).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let storage = if is_in_place(graph) {
            let capacity = capacity.max(longest);
            Storage::InPlace(InPlace::with_rows(graph, layout, parts, capacity)?)
        } else {
            Storage::Concatenated(Concatenated::with_rows(graph, layout, parts, longest)?)
        };
        Ok(Self {
            layout: Arc::clone(layout),
            lengths,
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
        {
            let CacheLayout { shape, element, .. } = &*self.layout;
            self.rows() * self.width() * shape.values_per_position() * element.bytes()
        }
    }

    /// Forget all but the first `positions` of each row; an in-place cache keeps its memory.
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

    /// Keys and values of a row, each `[heads, positions, head_size]`, as bytes.
    pub fn row_bytes(&self, graph: &Graph, row: usize) -> Result<Vec<Vec<u8>>> {
        packed(self.row(row)).map_err(|source| graph.failed(source))
    }

    /// A cache of one row with these keys and values; `None` if they are not of its sizes.
    pub fn from_row_bytes(
        graph: &Graph,
        layout: &Arc<CacheLayout>,
        positions: usize,
        tensors: &[&[u8]],
    ) -> Result<Option<Self>> {
        let CacheLayout { shape, element, .. } = &**layout;
        let size = shape.heads * positions * shape.head_size * element.bytes();
        let fits = tensors.len() == shape.tensors()
            && tensors.iter().all(|tensor| tensor.len() == size)
            && positions <= shape.limit;
        if !fits {
            return Ok(None);
        }
        let past = unpacked(shape, *element, positions, tensors);
        let past = past.map_err(|source| graph.failed(source))?;
        let row = Self {
            layout: Arc::new(CacheLayout {
                memory: Memory::host(),
                ..CacheLayout::clone(layout)
            }),
            lengths: vec![positions],
            storage: Storage::Concatenated(Concatenated::new(past)),
        };
        Self::from_rows(graph, layout, &[row.row(0)]).map(Some)
    }

    /// Whether its numbers are float16, not float32.
    pub fn is_half(&self) -> bool {
        self.layout.element == Element::F16
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
        if total > self.layout.shape.limit {
            return Err(Error::CacheFull {
                positions: total,
                limit: self.layout.shape.limit,
            });
        }
        graph.check_failure()?;
        self.reserve(graph, total)?;
        let found = match &mut self.storage {
            Storage::Concatenated(storage) => {
                let expected = self.layout.shape.tensor(self.lengths.len(), total);
                let caches = (&self.layout.memory, &expected[..]);
                storage.run(graph, inputs, caches, wanted, read)
            }
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
        let grown = grown(total).min(self.layout.shape.limit);
        *self = Self::from_parts(graph, &self.layout, &self.parts(total), grown)?;
        Ok(())
    }

    /// The first positions of each row.
    fn parts(&self, positions: usize) -> Vec<Option<CacheRow<'_>>> {
        let part = |(row, &length): (usize, &usize)| {
            Some(CacheRow {
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

    /// Keys or values, as the processor can read them.
    fn readable(&self, number: usize) -> ort::Result<Cow<'_, DynTensor>> {
        self.layout.memory.read(match &self.storage {
            Storage::Concatenated(storage) => storage.buffer(number),
            Storage::InPlace(storage) => storage.buffer(number),
        })
    }
}

fn length(part: &Option<CacheRow<'_>>) -> usize {
    part.map_or(0, |part| part.length)
}
