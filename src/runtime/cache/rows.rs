//! Copying rows from cache to cache, for every element type.

use std::{borrow::Cow, fmt::Debug};

use half::f16;
use ort::{
    memory::Allocator,
    value::{DynTensor, PrimitiveTensorElementType, Tensor},
};

use super::{CacheLayout, CacheRow, CacheShape, Element, KvCache};
use crate::runtime::Graph;

/// Buffers `width` positions wide, where the layout wants them, with these rows in them, each from
/// the position that `start` says for its length, and zeros elsewhere.
pub(super) fn buffers(
    graph: &Graph,
    layout: &CacheLayout,
    parts: &[Option<CacheRow<'_>>],
    width: usize,
    start: impl Fn(usize) -> usize,
) -> ort::Result<Vec<DynTensor>> {
    let CacheLayout {
        shape,
        element,
        memory,
    } = layout;
    let allocator = memory.allocator(|| graph.session())?;
    let one = |number| {
        let filled = match element {
            Element::F32 => filled::<f32>(shape, number, parts, width, &start),
            Element::F16 => filled::<f16>(shape, number, parts, width, &start),
        };
        memory.put(&allocator, filled?)
    };
    (0..shape.tensors()).map(one).collect()
}

/// One of the buffers, in the memory of the processor.
fn filled<T>(
    shape: &CacheShape,
    number: usize,
    parts: &[Option<CacheRow<'_>>],
    width: usize,
    start: impl Fn(usize) -> usize,
) -> ort::Result<DynTensor>
where
    T: PrimitiveTensorElementType + Copy + Default + Debug + 'static,
{
    // What is masked must be a number to leave no trace; a new tensor has zeros.
    let mut tensor = Tensor::<T>::new(&Allocator::default(), shape.tensor(parts.len(), width))?;
    if width == 0 {
        return Ok(tensor.upcast());
    }
    let (_, values) = tensor.extract_tensor_mut();
    let rows = values.chunks_exact_mut(shape.heads * width * shape.head_size);
    let mut source: Option<(&KvCache, Cow<'_, DynTensor>)> = None;
    for (part, row) in parts.iter().zip(rows) {
        let Some(part) = part.filter(|part| part.length > 0) else {
            continue;
        };
        // Rows of one cache, which mostly follow each other, are read together.
        let old = match source.take() {
            Some((cache, old)) if std::ptr::eq(cache, part.cache) => old,
            _ => part.cache.readable(number)?,
        };
        let old = &source.insert((part.cache, old)).1;
        let old_row = shape.heads * part.cache.width() * shape.head_size;
        let (_, old) = old.try_extract_tensor::<T>()?;
        let old = &old[part.row * old_row..][..old_row];
        let [from, to] = [part.cache.start(part.row), start(part.length)]
            .map(|position| position * shape.head_size);
        let used = part.length * shape.head_size;
        let heads = old.chunks_exact(part.cache.width() * shape.head_size);
        for (old, new) in heads.zip(row.chunks_exact_mut(width * shape.head_size)) {
            new[to..][..used].copy_from_slice(&old[from..][..used]);
        }
    }
    Ok(tensor.upcast())
}

/// The values of a row, each tensor `[heads, positions, head_size]` in little-endian bytes.
pub(super) fn packed(part: CacheRow<'_>) -> ort::Result<Vec<Vec<u8>>> {
    match part.cache.layout.element {
        Element::F32 => row_values::<f32, 4>(part, f32::to_le_bytes),
        Element::F16 => row_values::<f16, 2>(part, f16::to_le_bytes),
    }
}

fn row_values<T, const BYTES: usize>(
    part: CacheRow<'_>,
    bytes: fn(T) -> [u8; BYTES],
) -> ort::Result<Vec<Vec<u8>>>
where
    T: PrimitiveTensorElementType + Copy + Debug + 'static,
{
    let CacheRow { cache, row, length } = part;
    let shape = &cache.layout.shape;
    let (width, head_size) = (cache.width(), shape.head_size);
    let one = |number: usize| {
        if length == 0 {
            return Ok(Vec::new());
        }
        let tensor = cache.readable(number)?;
        let (_, values) = tensor.try_extract_tensor::<T>()?;
        let row_size = shape.heads * width * head_size;
        let heads = values[row * row_size..][..row_size].chunks_exact(width * head_size);
        let start = cache.start(row) * head_size;
        let used = heads.flat_map(|head| &head[start..][..length * head_size]);
        Ok(used.flat_map(|&value| bytes(value)).collect())
    };
    (0..shape.tensors()).map(one).collect()
}

/// Tensors `[1, heads, positions, head_size]` of packed values.
pub(super) fn unpacked(
    shape: &CacheShape,
    element: Element,
    positions: usize,
    tensors: &[&[u8]],
) -> ort::Result<Vec<DynTensor>> {
    let shape = shape.tensor(1, positions);
    let one = |bytes: &&[u8]| match element {
        Element::F32 => filled_with(shape, values::<f32, 4>(bytes, f32::from_le_bytes)),
        Element::F16 => filled_with(shape, values::<f16, 2>(bytes, f16::from_le_bytes)),
    };
    tensors.iter().map(one).collect()
}

fn values<T, const BYTES: usize>(bytes: &[u8], value: fn([u8; BYTES]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<BYTES>();
    chunks.iter().copied().map(value).collect()
}

fn filled_with<T>(shape: [i64; 4], values: Vec<T>) -> ort::Result<DynTensor>
where
    T: PrimitiveTensorElementType + Clone + Debug + 'static,
{
    let mut tensor = Tensor::<T>::new(&Allocator::default(), shape)?;
    if !values.is_empty() {
        tensor.extract_tensor_mut().1.clone_from_slice(&values);
    }
    Ok(tensor.upcast())
}
