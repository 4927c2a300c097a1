//! Kernels against plain products, and operators against the nodes that they replace.

mod graphs;
mod matmul;
mod products;

use super::{MatMulKernel, Plan, Replaced};
use crate::runtime::ExternalData;

fn is_replaceable(model: &[u8]) -> bool {
    Plan::of(model).is_some()
}

fn replace(model: &[u8], external_data: &ExternalData, lanes: usize) -> Option<Replaced> {
    Plan::of(model)?.replace(external_data, lanes)
}

fn kernels() -> impl Iterator<Item = MatMulKernel> {
    let all = MatMulKernel::ALL.into_iter().skip(1);
    all.filter(|kernel| kernel.is_available())
}
