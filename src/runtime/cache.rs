//! The KV cache of a graph, in either of the two forms that variants use.

use std::borrow::Cow;

use ort::{
    memory::Allocator,
    session::{SessionInputValue, SessionOutputs},
    value::{DynValue, Tensor},
};

use super::{
    Graph,
    graph::{ANY, Port},
    input::{Bound, Input},
};
use crate::error::{Error, Result};

/// The first capacity of an in-place cache, in positions; it grows by doubling.
const FIRST_CAPACITY: usize = 16;
/// The input by which an in-place graph is told from one that concatenates.
const LENGTHS: &str = "seqlens_k";
const TOTAL: &str = "total_sequence_length";

/// Sizes of a cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheShape {
    /// Sequences of the same length that are run together.
    pub batch: usize,
    pub layers: usize,
    pub heads: usize,
    pub head_size: usize,
    /// The largest number of positions it may ever hold.
    pub limit: usize,
}

impl CacheShape {
    fn tensor(&self, positions: usize) -> [i64; 4] {
        [
            self.batch as i64,
            self.heads as i64,
            positions as i64,
            self.head_size as i64,
        ]
    }

    /// Bytes that one position takes, keys and values of all layers and sequences.
    pub fn bytes_per_position(&self) -> usize {
        2 * self.batch * self.layers * self.heads * self.head_size * size_of::<f32>()
    }
}

/// Keys and values of one sequence, or of several of one length, for all layers of one graph.
///
/// A graph either concatenates (takes `past_*`, returns longer `present_*`) or works in place
/// (one buffer with room to grow is bound as past and present, lengths are told apart).
#[derive(Debug)]
pub(crate) struct KvCache {
    shape: CacheShape,
    len: usize,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Concatenated { past: Vec<DynValue> },
    InPlace(InPlace),
}

/// Buffers with room to grow, bound as past and present.
#[derive(Debug)]
struct InPlace {
    bound: Bound,
    buffers: Vec<Tensor<f32>>,
    capacity: usize,
}

fn past_name(number: usize) -> String {
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
    use ort::value::TensorElementType::{Float32, Int32};
    let dimensions = [ANY, shape.heads as i64, ANY, shape.head_size as i64];
    let ports = |name: fn(usize) -> String| {
        (0..2 * shape.layers)
            .map(|number| Port::new(name(number), Float32, &dimensions))
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
    /// An empty cache for `graph`.
    pub fn new(graph: &Graph, shape: CacheShape) -> Result<Self> {
        let storage = if is_in_place(graph) {
            Storage::InPlace(InPlace::new(
                graph,
                &shape,
                FIRST_CAPACITY.min(shape.limit),
            )?)
        } else {
            Storage::Concatenated {
                past: empty(graph, &shape)?,
            }
        };
        Ok(Self {
            shape,
            len: 0,
            storage,
        })
    }

    /// Number of positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Memory held, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let positions = match &self.storage {
            Storage::Concatenated { .. } => self.len,
            Storage::InPlace(in_place) => in_place.capacity,
        };
        positions * self.shape.bytes_per_position()
    }

    /// Forget all positions; an in-place cache keeps its memory.
    pub fn clear(&mut self, graph: &Graph) -> Result<()> {
        self.len = 0;
        if let Storage::Concatenated { past } = &mut self.storage {
            *past = empty(graph, &self.shape)?;
        }
        Ok(())
    }

    /// Forget all but the first `positions`.
    pub fn truncate(&mut self, graph: &Graph, positions: usize) -> Result<()> {
        if positions >= self.len {
            return Ok(());
        }
        if let Storage::Concatenated { past } = &mut self.storage {
            *past = shortened(&self.shape, past, [self.len, positions])
                .map_err(|source| graph.failed(source))?;
        }
        self.len = positions;
        Ok(())
    }

    /// Run `graph` on `new` further positions; returns what `read` takes from its outputs, which
    /// are those in `wanted`.
    ///
    /// After an error the cache holds what it held before.
    pub fn run<'a, T>(
        &mut self,
        graph: &Graph,
        inputs: impl IntoIterator<Item = Input<'a>>,
        new: usize,
        wanted: &[&str],
        read: impl FnOnce(&SessionOutputs<'_>) -> ort::Result<T>,
    ) -> Result<T> {
        let total = self.len + new;
        if total > self.shape.limit {
            return Err(Error::CacheFull {
                positions: total,
                limit: self.shape.limit,
            });
        }
        self.reserve(graph, total)?;
        let found = match &mut self.storage {
            Storage::Concatenated { past } => run_concatenated(graph, inputs, past, read),
            Storage::InPlace(InPlace { bound, .. }) => run_in_place(
                graph,
                inputs,
                bound,
                [self.shape.batch, total],
                wanted,
                read,
            ),
        };
        let found = found.map_err(|source| graph.failed(source))?;
        self.len = total;
        Ok(found)
    }

    /// Make room for `total` positions.
    fn reserve(&mut self, graph: &Graph, total: usize) -> Result<()> {
        let Storage::InPlace(old) = &mut self.storage else {
            return Ok(());
        };
        if total <= old.capacity {
            return Ok(());
        }
        let grown = total.max(old.capacity * 2).min(self.shape.limit);
        let mut new = InPlace::new(graph, &self.shape, grown)?;
        let rows = [old.capacity, grown].map(|positions| positions * self.shape.head_size);
        let used = self.len * self.shape.head_size;
        for (old, new) in old.buffers.iter().zip(&mut new.buffers) {
            copy_rows(
                old.extract_tensor().1,
                new.extract_tensor_mut().1,
                rows,
                used,
            );
        }
        *old = new;
        Ok(())
    }
}

impl InPlace {
    fn new(graph: &Graph, shape: &CacheShape, capacity: usize) -> Result<Self> {
        let failed = |source: ort::Error| graph.failed(source);
        let binding = graph.session().create_binding().map_err(failed)?;
        let mut bound = Bound::new(binding);
        let mut buffers = Vec::with_capacity(2 * shape.layers);
        for number in 0..2 * shape.layers {
            let mut buffer = Tensor::<f32>::new(&Allocator::default(), shape.tensor(capacity))
                .map_err(failed)?;
            bound
                .alias(past_name(number), present_name(number), &mut buffer)
                .map_err(failed)?;
            buffers.push(buffer);
        }
        Ok(Self {
            bound,
            buffers,
            capacity,
        })
    }
}

fn empty(graph: &Graph, shape: &CacheShape) -> Result<Vec<DynValue>> {
    let tensor = |_| {
        Tensor::<f32>::new(&Allocator::default(), shape.tensor(0))
            .map(|tensor| tensor.into_dyn())
            .map_err(|source| graph.failed(source))
    };
    (0..2 * shape.layers).map(tensor).collect()
}

/// The first `to` of the `from` positions of concatenated caches.
fn shortened(
    shape: &CacheShape,
    past: &[DynValue],
    [from, to]: [usize; 2],
) -> ort::Result<Vec<DynValue>> {
    let one = |old: &DynValue| {
        let mut new = Tensor::<f32>::new(&Allocator::default(), shape.tensor(to))?;
        if to > 0 {
            let rows = [from, to].map(|positions| positions * shape.head_size);
            let (_, old) = old.try_extract_tensor::<f32>()?;
            copy_rows(old, new.extract_tensor_mut().1, rows, rows[1]);
        }
        Ok(new.into_dyn())
    };
    past.iter().map(one).collect()
}

/// Copy the first `used` numbers of each row; rows are of these lengths in `old` and `new`.
fn copy_rows(old: &[f32], new: &mut [f32], [old_row, new_row]: [usize; 2], used: usize) {
    let rows = old.chunks_exact(old_row).zip(new.chunks_exact_mut(new_row));
    for (old, new) in rows {
        new[..used].copy_from_slice(&old[..used]);
    }
}

fn run_concatenated<'a, T>(
    graph: &Graph,
    inputs: impl IntoIterator<Item = Input<'a>>,
    past: &mut [DynValue],
    read: impl FnOnce(&SessionOutputs<'_>) -> ort::Result<T>,
) -> ort::Result<T> {
    let mut feed: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
    for input in inputs {
        feed.push((input.name.into(), input.tensor()?.into()));
    }
    for (number, value) in past.iter().enumerate() {
        feed.push((past_name(number).into(), value.into()));
    }
    let mut session = graph.session();
    let mut outputs = session.run(feed)?;
    let found = read(&outputs)?;
    let present: Option<Vec<DynValue>> = (0..past.len())
        .map(|number| outputs.remove(present_name(number)))
        .collect();
    drop(outputs);
    // The contract was checked at load: every present output is there.
    for (old, new) in past.iter_mut().zip(present.into_iter().flatten()) {
        *old = new;
    }
    Ok(found)
}

fn run_in_place<'a, T>(
    graph: &Graph,
    inputs: impl IntoIterator<Item = Input<'a>>,
    bound: &mut Bound,
    [batch, total]: [usize; 2],
    wanted: &[&str],
    read: impl FnOnce(&SessionOutputs<'_>) -> ort::Result<T>,
) -> ort::Result<T> {
    for input in inputs {
        bound.set(input)?;
    }
    let total = total as i32;
    bound.fill(LENGTHS, &[batch], total - 1)?;
    bound.fill(TOTAL, &[], total)?;
    bound.want(wanted)?;
    let mut session = graph.session();
    let found = session.run_binding(bound.binding());
    let found = found.and_then(|outputs| read(&outputs));
    drop(session);
    if found.is_err() {
        bound.forget_outputs();
    }
    found
}
