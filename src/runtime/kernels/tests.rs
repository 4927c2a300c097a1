//! Kernels against plain products, and operators against the nodes that they replace.

mod graphs;
mod matmul;
mod products;

use super::{DataSource, MatMulKernel, Plan, Replaced};

fn is_replaceable(model: &[u8]) -> bool {
    Plan::of(model).is_some()
}

fn replace(model: &[u8], source: DataSource<'_>, lanes: usize) -> Option<Replaced> {
    Plan::of(model)?.replace(source, lanes)
}

fn kernels() -> impl Iterator<Item = MatMulKernel> {
    let all = MatMulKernel::ALL.into_iter().skip(1);
    all.filter(|kernel| kernel.is_available())
}
