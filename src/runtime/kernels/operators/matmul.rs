//! The product of vectors with a weight.

use std::sync::Mutex;

use ort::{
    operator::{
        ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
        ShapeInferenceContext,
    },
    value::TensorElementType::Float32,
};

use super::{
    super::replaced::{MATMUL, WEIGHTS},
    Loaded, Product, in_parallel, infer_from_first, required, values,
};

/// Input: vectors f32 [..., columns]; output: f32 [..., rows].
pub(super) struct MatMul(pub Loaded);

impl Operator for MatMul {
    type Kernel<'attr> = Product;

    fn name(&self) -> &str {
        MATMUL
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Product> {
        self.0.product_of(context)
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let product = self.0.product(Some(context.attr::<i64>(WEIGHTS)?))?;
        infer_from_first(context, MATMUL, product.weights.packed.rows)
    }
}

impl Kernel for Product {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let input = required(context.input(0)?)?;
        let (shape, vectors) = values::<f32>(&input)?;
        self.set(context, shape, vectors)?;
        let packed = &self.weights.packed;
        let mut shape = shape.to_vec();
        if let Some(last) = shape.last_mut() {
            *last = packed.rows as i64;
        }
        let mut output = required(context.output(0, shape)?)?;
        let (_, output) = output.try_extract_tensor_mut::<f32>()?;
        let groups = self.groups_of_part();
        if groups >= packed.groups() {
            let take = |vector: usize, first: usize, products: &[f32]| {
                let output = &mut output[vector * packed.rows..][first..packed.rows];
                let rows = products.len().min(output.len());
                output[..rows].copy_from_slice(&products[..rows]);
            };
            let all = 0..packed.groups();
            self.kernel.products(packed, all, &self.activations, take);
            return Ok(());
        }
        // [part][vector][row of the part]
        let count = packed.groups().div_ceil(groups);
        let mut parts: Vec<Vec<&mut [f32]>> = (0..count)
            .map(|_| Vec::with_capacity(self.activations.len()))
            .collect();
        for output in output.chunks_exact_mut(packed.rows) {
            for (part, output) in parts
                .iter_mut()
                .zip(output.chunks_mut(groups * packed.lanes))
            {
                part.push(output);
            }
        }
        let parts: Vec<_> = parts.into_iter().map(Mutex::new).collect();
        in_parallel(context, &parts, |number, part| {
            let start = number * groups;
            let groups = start..(start + groups).min(packed.groups());
            let take = |vector: usize, first: usize, products: &[f32]| {
                let output = &mut part[vector][first - start * packed.lanes..];
                let rows = products.len().min(output.len());
                output[..rows].copy_from_slice(&products[..rows]);
            };
            self.kernel
                .products(packed, groups, &self.activations, take);
        })
    }
}
