//! The custom operators of ONNX Runtime that run a kernel, on ONNX Runtime's own threads.

mod matmul;
mod rank;
mod slot_attention;

use std::sync::{Arc, Mutex, PoisonError};

use ort::{
    operator::{ComputeContext, KernelContext, OperatorDomain, ShapeInferenceContext},
    value::{DynValue, PrimitiveTensorElementType, SymbolicDimensions, ValueType},
};

use super::{
    MatMulKernel,
    activations::Activations,
    product::Weights,
    replaced::{DOMAIN, Replaced, WEIGHTS},
    slot_memory::SlotWeights,
};

/// Most parts of the work of an operator, which threads take one after the other.
const MAX_PARTS: usize = 16;
/// Values to be rounded that are worth a part.
const PART_VALUES: usize = 1 << 14;
/// Multiplications that are worth a part.
const PART_PRODUCTS: usize = 1 << 17;

/// The operators' domain with a kernel, for a session of a graph.
pub(crate) fn domain(
    kernel: MatMulKernel,
    replaced: &Replaced,
    threads: usize,
) -> ort::Result<OperatorDomain> {
    let loaded = Loaded {
        kernel,
        max_parts: if threads > 1 { MAX_PARTS } else { 1 },
        weights: replaced.weights.clone(),
        slots: replaced.slots.clone(),
    };
    OperatorDomain::new(DOMAIN)?
        .add(matmul::MatMul(loaded.clone()))?
        .add(rank::RankVocabulary(loaded.clone()))?
        .add(slot_attention::SlotAttention(loaded))
}

/// A kernel, and the weights of a graph.
#[derive(Clone)]
struct Loaded {
    kernel: MatMulKernel,
    max_parts: usize,
    /// Of products.
    weights: Vec<Arc<Weights>>,
    /// Of attention to slots.
    slots: Vec<Arc<SlotWeights>>,
}

impl Loaded {
    fn product(&self, number: Option<i64>) -> ort::Result<Product> {
        let weights = numbered(&self.weights, number)?;
        Ok(Product {
            kernel: self.kernel,
            max_parts: self.max_parts,
            activations: Activations::new(weights.columns, weights.packed.format),
            weights,
        })
    }

    fn product_of(&self, context: &KernelContext<'_>) -> ort::Result<Product> {
        self.product(context.get(WEIGHTS))
    }
}

/// The weights of an operator, for one run at a time.
struct Product {
    kernel: MatMulKernel,
    max_parts: usize,
    weights: Arc<Weights>,
    activations: Activations,
}

impl Product {
    /// Round the vectors of a run.
    fn set(&mut self, context: &ComputeContext, shape: &[i64], vectors: &[f32]) -> ort::Result<()> {
        let columns = self.weights.columns;
        if shape.last() != Some(&(columns as i64)) {
            return Err(ort::Error::new("the weights do not fit the vectors"));
        }
        let count = vectors.len() / columns;
        let parts = (count * columns)
            .div_ceil(PART_VALUES)
            .clamp(1, self.max_parts);
        let most = count.div_ceil(parts).max(1);
        let kernel = self.kernel;
        let rooms: Vec<_> = self
            .activations
            .rooms(count, most)
            .map(Mutex::new)
            .collect();
        in_parallel(context, &rooms, |number, room| {
            kernel.round(room, &vectors[number * most * columns..]);
        })
    }

    /// Groups of a part of the work.
    fn groups_of_part(&self) -> usize {
        let packed = &self.weights.packed;
        let products = packed.rows * self.weights.columns * self.activations.len();
        let parts = products.div_ceil(PART_PRODUCTS).clamp(1, self.max_parts);
        packed.groups().div_ceil(parts)
    }
}

/// Do something with each of `items` on the threads of the session.
fn in_parallel<T: Send>(
    context: &ComputeContext,
    items: &[Mutex<T>],
    work: impl Fn(usize, &mut T) + Send + Sync,
) -> ort::Result<()> {
    let locked = |number: usize| {
        // Each number comes once: nothing waits here.
        let mut item = items[number].lock().unwrap_or_else(PoisonError::into_inner);
        work(number, &mut item);
    };
    match items.len() {
        0 => (),
        1 => locked(0),
        count => context.par_for(count, count, locked)?,
    }
    Ok(())
}

/// Tell ONNX Runtime that the output is shaped as the first input, with another last size: it fuses
/// the nodes around an operator where it knows their shapes.
///
/// A size that is neither known nor named gets a name, of this operator alone, since equal names
/// stand for equal sizes. Without one ONNX Runtime takes the size to be -1.
fn infer_from_first(
    context: &mut ShapeInferenceContext,
    operator: &str,
    last: usize,
) -> ort::Result<()> {
    let number = context.attr::<i64>(WEIGHTS)?;
    let Some(ValueType::Tensor {
        ty,
        mut shape,
        dimension_symbols,
    }) = context.inputs().into_iter().next()
    else {
        return Ok(());
    };
    let Some(size) = shape.last_mut() else {
        return Ok(());
    };
    *size = last as i64;
    let names = shape.iter().zip(dimension_symbols.iter()).enumerate();
    let names = names.map(|(axis, (&size, name))| match (size, name.as_str()) {
        (-1, "") => format!("{operator}_{number}_{axis}"),
        (0.., _) => String::new(),
        _ => name.clone(),
    });
    let dimension_symbols = SymbolicDimensions::new(names);
    let output = ValueType::Tensor {
        ty,
        shape,
        dimension_symbols,
    };
    context.set_output(0, &output)
}

/// The weights that an operator has by their number.
fn numbered<T>(all: &[Arc<T>], number: Option<i64>) -> ort::Result<Arc<T>> {
    let number = number.and_then(|number| usize::try_from(number).ok());
    let weights = number.and_then(|number| all.get(number)).cloned();
    weights.ok_or_else(|| ort::Error::new("an operator has no weights"))
}

fn required<T>(value: Option<T>) -> ort::Result<T> {
    value.ok_or_else(|| ort::Error::new("an input or output is missing"))
}

fn values<T: PrimitiveTensorElementType>(value: &DynValue) -> ort::Result<(&[i64], &[T])> {
    let (shape, values) = value.try_extract_tensor::<T>()?;
    Ok((shape, values))
}
