//! Inputs of a graph's run, and inputs that stay bound from run to run.

use std::fmt::Debug;

use ort::{
    memory::Allocator,
    session::IoBinding,
    value::{DynTensor, DynValue, PrimitiveTensorElementType, Tensor},
};

use super::memory::output_memory;

/// Most dimensions of an input.
const MAX_RANK: usize = 3;

/// The values of one input for a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub name: &'static str,
    shape: Shape,
    values: Values<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    sizes: [i64; MAX_RANK],
    rank: usize,
}

#[derive(Clone, Copy, Debug)]
enum Values<'a> {
    Ids(&'a [i64]),
    Floats(&'a [f32]),
    Flags(&'a [bool]),
    Lengths(&'a [i32]),
}

impl<'a> Input<'a> {
    pub fn ids(name: &'static str, shape: &[usize], values: &'a [i64]) -> Self {
        Self::new(name, shape, Values::Ids(values))
    }

    pub fn floats(name: &'static str, shape: &[usize], values: &'a [f32]) -> Self {
        Self::new(name, shape, Values::Floats(values))
    }

    pub fn flags(name: &'static str, shape: &[usize], values: &'a [bool]) -> Self {
        Self::new(name, shape, Values::Flags(values))
    }

    /// Lengths of caches, on which no output's shape depends.
    pub fn lengths(name: &'static str, shape: &[usize], values: &'a [i32]) -> Self {
        Self::new(name, shape, Values::Lengths(values))
    }

    fn new(name: &'static str, shape: &[usize], values: Values<'a>) -> Self {
        let shape = Shape::new(shape);
        Self {
            name,
            shape,
            values,
        }
    }

    /// A tensor of its own.
    pub fn tensor(&self) -> ort::Result<DynValue> {
        match self.values {
            Values::Ids(values) => filled(self.shape, values),
            Values::Floats(values) => filled(self.shape, values),
            Values::Flags(values) => filled(self.shape, values),
            Values::Lengths(values) => filled(self.shape, values),
        }
    }

    /// Write the values to a tensor that was made for this input, in this shape; returns whether
    /// this has changed anything.
    fn write(&self, tensor: &mut DynValue) -> ort::Result<bool> {
        match self.values {
            Values::Ids(values) => overwrite(tensor, values),
            Values::Floats(values) => overwrite(tensor, values),
            Values::Flags(values) => overwrite(tensor, values),
            Values::Lengths(values) => overwrite(tensor, values),
        }
    }

    /// Whether the shapes of outputs may depend on the values: a scalar says how much is to be given
    /// out.
    fn shapes_outputs(&self) -> bool {
        self.shape.rank == 0 && !matches!(self.values, Values::Lengths(_))
    }
}

impl Shape {
    fn new(sizes: &[usize]) -> Self {
        let mut shape = Self {
            sizes: [1; MAX_RANK],
            rank: sizes.len(),
        };
        for (place, &size) in shape.sizes.iter_mut().zip(sizes) {
            *place = size as i64;
        }
        shape
    }

    fn sizes(&self) -> &[i64] {
        &self.sizes[..self.rank]
    }
}

fn filled<T>(shape: Shape, values: &[T]) -> ort::Result<DynValue>
where
    T: PrimitiveTensorElementType + Copy + Debug + 'static,
{
    let mut tensor = Tensor::<T>::new(&Allocator::default(), shape.sizes())?;
    tensor.extract_tensor_mut().1.copy_from_slice(values);
    Ok(tensor.into_dyn())
}

fn overwrite<T>(tensor: &mut DynValue, values: &[T]) -> ort::Result<bool>
where
    T: PrimitiveTensorElementType + Copy + PartialEq,
{
    let (_, old) = tensor.try_extract_tensor_mut::<T>()?;
    let changed = old != values;
    old.copy_from_slice(values);
    Ok(changed)
}

/// A binding whose inputs are tensors that are written again in each run, and only bound again when
/// their shape changes, or if binding copies them.
#[derive(Debug)]
pub(crate) struct Bound {
    binding: Box<IoBinding>,
    inputs: Vec<(&'static str, Shape, DynValue)>,
    has_outputs: bool,
    copies_inputs: bool,
}

impl Bound {
    pub fn new(binding: IoBinding, copies_inputs: bool) -> Self {
        Self {
            binding: Box::new(binding),
            inputs: Vec::new(),
            has_outputs: false,
            copies_inputs,
        }
    }

    pub fn binding(&self) -> &IoBinding {
        &self.binding
    }

    /// Bind one buffer as an input and an output. It must be in the memory in which the graph reads
    /// the input: ONNX Runtime would copy it once, and never again.
    pub fn alias(
        &mut self,
        input: String,
        output: String,
        buffer: &mut DynTensor,
    ) -> ort::Result<()> {
        self.binding.bind_output(output, &mut *buffer)?;
        self.binding.bind_input(input, buffer)
    }

    /// Give an input its values.
    pub fn set(&mut self, input: Input<'_>) -> ort::Result<()> {
        let kept = self.inputs.iter_mut().find(|kept| kept.0 == input.name);
        if let Some((.., tensor)) = kept.filter(|kept| kept.1 == input.shape) {
            let changed = input.write(tensor)?;
            if changed && self.copies_inputs {
                self.binding.bind_input(input.name, &*tensor)?;
            }
            self.has_outputs &= !(changed && input.shapes_outputs());
            return Ok(());
        }
        let tensor = input.tensor()?;
        self.binding.bind_input(input.name, &tensor)?;
        self.inputs.retain(|kept| kept.0 != input.name);
        self.inputs.push((input.name, input.shape, tensor));
        self.has_outputs = false;
        Ok(())
    }

    /// Have ONNX Runtime make these outputs, which are the same ones for all runs; it writes them
    /// to the same place until their shapes may change.
    pub fn want(&mut self, outputs: &[&str]) -> ort::Result<()> {
        if self.has_outputs {
            return Ok(());
        }
        let memory = output_memory()?;
        for name in outputs {
            self.binding.bind_output_to_device(*name, &memory)?;
        }
        self.has_outputs = true;
        Ok(())
    }

    /// Have them made anew in the next run.
    pub fn forget_outputs(&mut self) {
        self.has_outputs = false;
    }
}
