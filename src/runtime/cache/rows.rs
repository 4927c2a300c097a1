//! Copying rows from cache to cache, whatever numbers they are made of.

use std::fmt::Debug;

use half::f16;
use ort::{
    memory::Allocator,
    value::{DynValue, PrimitiveTensorElementType, Tensor},
};

use super::{CacheShape, Element, RowPart, length};

/// Buffers `width` positions wide, with these rows in it, each from the position that `start` says
/// for its length.
pub(super) fn buffers(
    (shape, element): (&CacheShape, Element),
    parts: &[Option<RowPart<'_>>],
    width: usize,
    start: impl Fn(usize) -> usize,
) -> ort::Result<Vec<DynValue>> {
    match element {
        Element::F32 => filled::<f32>(shape, parts, width, start),
        Element::F16 => filled::<f16>(shape, parts, width, start),
    }
}

fn filled<T>(
    shape: &CacheShape,
    parts: &[Option<RowPart<'_>>],
    width: usize,
    start: impl Fn(usize) -> usize,
) -> ort::Result<Vec<DynValue>>
where
    T: PrimitiveTensorElementType + Copy + Default + Debug + 'static,
{
    let one = |number: usize| {
        let mut tensor = Tensor::<T>::new(&Allocator::default(), shape.tensor(parts.len(), width))?;
        if width == 0 {
            return Ok(tensor.into_dyn());
        }
        let (_, values) = tensor.extract_tensor_mut();
        if parts.iter().any(|part| start(length(part)) > 0) {
            // What lies before a row is masked, which leaves no trace of it if it is a number.
            values.fill(T::default());
        }
        let rows = values.chunks_exact_mut(shape.heads * width * shape.head_size);
        for (part, row) in parts.iter().zip(rows) {
            let Some(part) = part.filter(|part| part.length > 0) else {
                continue;
            };
            let old_row = shape.heads * part.cache.width() * shape.head_size;
            let (_, old) = part.cache.buffer(number).try_extract_tensor::<T>()?;
            let old = &old[part.row * old_row..][..old_row];
            let [from, to] = [part.cache.start(part.row), start(part.length)]
                .map(|position| position * shape.head_size);
            let used = part.length * shape.head_size;
            let heads = old.chunks_exact(part.cache.width() * shape.head_size);
            for (old, new) in heads.zip(row.chunks_exact_mut(width * shape.head_size)) {
                new[to..][..used].copy_from_slice(&old[from..][..used]);
            }
        }
        Ok(tensor.into_dyn())
    };
    (0..shape.tensors()).map(one).collect()
}
