//! What a graph is given in a run, and inputs that stay bound from run to run.

use ort::{
    memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType},
    session::{IoBinding, SessionOutputs},
    value::{DynValue, PrimitiveTensorElementType, Tensor},
};

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
        Ok(match self.values {
            Values::Ids(values) => filled(self.shape, values)?.into_dyn(),
            Values::Floats(values) => filled(self.shape, values)?.into_dyn(),
            Values::Flags(values) => filled(self.shape, values)?.into_dyn(),
        })
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

fn filled<T>(shape: Shape, values: &[T]) -> ort::Result<Tensor<T>>
where
    T: PrimitiveTensorElementType + Copy + std::fmt::Debug + 'static,
{
    let mut tensor = Tensor::<T>::new(&Allocator::default(), shape.sizes())?;
    tensor.extract_tensor_mut().1.copy_from_slice(values);
    Ok(tensor)
}

/// A binding whose inputs are tensors that are written again in each run, and only bound again when
/// their shape changes.
#[derive(Debug)]
pub(crate) struct Bound {
    binding: Box<IoBinding>,
    inputs: Vec<(&'static str, Shape, Kept)>,
    has_outputs: bool,
}

#[derive(Debug)]
enum Kept {
    Ids(Tensor<i64>),
    Floats(Tensor<f32>),
    Flags(Tensor<bool>),
    Lengths(Tensor<i32>),
}

impl Bound {
    pub fn new(binding: IoBinding) -> Self {
        Self {
            binding: Box::new(binding),
            inputs: Vec::new(),
            has_outputs: false,
        }
    }

    pub fn binding(&self) -> &IoBinding {
        &self.binding
    }

    /// Bind one buffer as an input and an output.
    pub fn alias(
        &mut self,
        input: String,
        output: String,
        buffer: &mut Tensor<f32>,
    ) -> ort::Result<()> {
        self.binding.bind_output(output, &mut *buffer)?;
        self.binding.bind_input(input, buffer)
    }

    /// Give an input its values.
    pub fn set(&mut self, input: Input<'_>) -> ort::Result<()> {
        let (name, shape) = (input.name, input.shape);
        let changed = match (self.kept(name, shape), input.values) {
            (Some(Kept::Ids(tensor)), Values::Ids(values)) => overwrite(tensor, values),
            (Some(Kept::Floats(tensor)), Values::Floats(values)) => overwrite(tensor, values),
            (Some(Kept::Flags(tensor)), Values::Flags(values)) => overwrite(tensor, values),
            (_, values) => {
                let kept = match values {
                    Values::Ids(values) => Kept::Ids(filled(shape, values)?),
                    Values::Floats(values) => Kept::Floats(filled(shape, values)?),
                    Values::Flags(values) => Kept::Flags(filled(shape, values)?),
                };
                self.keep(name, shape, kept)?;
                true
            }
        };
        // A scalar says how much is to be given out.
        self.has_outputs &= !(changed && shape.rank == 0);
        Ok(())
    }

    /// Give an input of lengths the same one everywhere.
    pub fn fill(&mut self, name: &'static str, shape: &[usize], length: i32) -> ort::Result<()> {
        let shape = Shape::new(shape);
        if let Some(Kept::Lengths(tensor)) = self.kept(name, shape) {
            tensor.extract_tensor_mut().1.fill(length);
            return Ok(());
        }
        let mut tensor = Tensor::<i32>::new(&Allocator::default(), shape.sizes())?;
        tensor.extract_tensor_mut().1.fill(length);
        self.keep(name, shape, Kept::Lengths(tensor))
    }

    /// Have ONNX Runtime make these outputs, which are the same ones for all runs; it writes them
    /// to the same place until their shapes may change.
    pub fn want(&mut self, outputs: &[&str]) -> ort::Result<()> {
        if self.has_outputs {
            return Ok(());
        }
        let memory = MemoryInfo::new(
            AllocationDevice::CPU,
            0,
            AllocatorType::Device,
            MemoryType::CPUOutput,
        )?;
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

    fn kept(&mut self, name: &str, shape: Shape) -> Option<&mut Kept> {
        let fits = |kept: &&mut (&str, Shape, Kept)| kept.0 == name && kept.1 == shape;
        self.inputs.iter_mut().find(fits).map(|(.., kept)| kept)
    }

    fn keep(&mut self, name: &'static str, shape: Shape, kept: Kept) -> ort::Result<()> {
        match &kept {
            Kept::Ids(tensor) => self.binding.bind_input(name, tensor)?,
            Kept::Floats(tensor) => self.binding.bind_input(name, tensor)?,
            Kept::Flags(tensor) => self.binding.bind_input(name, tensor)?,
            Kept::Lengths(tensor) => self.binding.bind_input(name, tensor)?,
        }
        self.inputs.retain(|(other, ..)| *other != name);
        self.inputs.push((name, shape, kept));
        self.has_outputs = false;
        Ok(())
    }
}

/// Returns whether this has changed anything.
fn overwrite<T>(tensor: &mut Tensor<T>, values: &[T]) -> bool
where
    T: PrimitiveTensorElementType + Copy + std::fmt::Debug + PartialEq,
{
    let (_, old) = tensor.extract_tensor_mut();
    let changed = old != values;
    old.copy_from_slice(values);
    changed
}

/// The values of an output.
pub(crate) fn floats<'a>(outputs: &'a SessionOutputs<'_>, name: &str) -> ort::Result<&'a [f32]> {
    Ok(outputs[name].try_extract_tensor::<f32>()?.1)
}
