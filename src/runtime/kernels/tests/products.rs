//! Kernels against the plain product of dequantised weights.

use proptest::prelude::*;

use super::{MatMulKernel, kernels};
use crate::runtime::kernels::{
    activations::Activations,
    kernel::plain_products_of_16,
    packed::{Format, Packed},
};

/// Weights as a graph has them.
#[derive(Debug)]
struct Weights {
    format: Format,
    rows: usize,
    columns: usize,
    codes: Vec<u8>,
    scales: Vec<f32>,
    bias: Option<Vec<f32>>,
}

impl Weights {
    fn code(&self, row: usize, column: usize) -> u8 {
        let row_bytes = self.columns.div_ceil(self.format.block()) * self.format.block_bytes();
        let codes = &self.codes[row * row_bytes..];
        match (self.format.bits(), column % 2) {
            (8, _) => codes[column],
            (_, 0) => codes[column / 2] & 15,
            _ => codes[column / 2] >> 4,
        }
    }

    fn weight(&self, row: usize, column: usize) -> f64 {
        let blocks = self.columns.div_ceil(self.format.block());
        let scale = self.scales[row * blocks + column / self.format.block()];
        let code = f64::from(self.code(row, column));
        f64::from(scale) * (code - f64::from(self.format.zero()))
    }

    fn packed(&self, lanes: usize) -> Packed {
        let bias = self.bias.as_deref();
        Packed::new(
            &self.codes,
            &self.scales,
            bias,
            self.rows,
            self.format,
            lanes,
        )
        .unwrap()
    }

    fn activations(&self, vectors: &[f32]) -> Activations {
        let mut activations = Activations::new(self.columns, self.format);
        activations.set(vectors);
        activations
    }
}

fn weights() -> impl Strategy<Value = Weights> {
    let sizes = (
        proptest::sample::select(&Format::ALL[..]),
        1usize..70,
        1usize..400,
    );
    sizes.prop_flat_map(|(format, rows, columns)| {
        let blocks = rows * columns.div_ceil(format.block());
        (
            proptest::collection::vec(any::<u8>(), blocks * format.block_bytes()),
            proptest::collection::vec(-0.1f32..0.1, blocks),
            proptest::option::of(proptest::collection::vec(-1.0f32..1.0, rows)),
        )
            .prop_map(move |(codes, scales, bias)| Weights {
                format,
                rows,
                columns,
                codes,
                scales,
                bias,
            })
    })
}

/// The products [vector][row] by a kernel, in two parts.
fn products(kernel: MatMulKernel, weights: &Weights, vectors: &[f32]) -> Vec<Vec<f32>> {
    let packed = weights.packed(kernel.lanes());
    let activations = weights.activations(vectors);
    let mut found = vec![Vec::new(); activations.len()];
    let middle = packed.groups() / 2;
    for groups in [0..middle, middle..packed.groups()] {
        kernel.products(&packed, groups, &activations, |vector, first, products| {
            assert_eq!(found[vector].len(), first);
            found[vector].extend_from_slice(products);
        });
    }
    for found in &mut found {
        let behind = found.split_off(weights.rows);
        assert!(behind.iter().all(|&product| product == f32::NEG_INFINITY));
    }
    found
}
proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_kernel_multiplies(weights in weights(), count in 1usize..10, seed: u32) {
        // Values of one sign are the furthest from 0 that sums can be.
        let value = |number: u32| match seed % 3 {
            0 => 1.0,
            1 => -1.0,
            _ => (number.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 8e6 - 1.0,
        };
        let vectors: Vec<f32> = (0..(count * weights.columns) as u32).map(value).collect();
        let plain = products(MatMulKernel::Plain, &weights, &vectors);
        for (vector, plain) in vectors.chunks(weights.columns).zip(&plain) {
            for (row, &found) in plain.iter().enumerate() {
                let products = vector.iter().enumerate().map(|(column, &value)| {
                    let weight = weights.weight(row, column);
                    // The value is rounded to a 254th of the largest, which is 1.
                    (f64::from(value) * weight, weight.abs() / 254.0)
                });
                let (sum, error) = products.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                let bias = weights.bias.as_ref().map_or(0.0, |bias| f64::from(bias[row]));
                let size: f64 = (0..weights.columns).map(|c| weights.weight(row, c).abs()).sum();
                let allowed = 1.01 * error + 1e-6 * size + 1e-4;
                prop_assert!((f64::from(found) - sum - bias).abs() <= allowed, "{found} {sum}");
            }
        }
        for kernel in kernels() {
            prop_assert_eq!(&products(kernel, &weights, &vectors), &plain, "{}", kernel);
        }
    }

    /// The order of the widest kernel, which few processors have, by plain instructions.
    #[test]
    fn sixteen_lanes_give_what_eight_give(weights in weights()) {
        let vectors: Vec<f32> = (0..2 * weights.columns).map(|n| (n as f32 * 0.7).sin()).collect();
        let mut found = vec![Vec::new(); 2];
        let packed = weights.packed(16);
        plain_products_of_16(&packed, &weights.activations(&vectors), |vector, products| {
            found[vector].extend_from_slice(products);
        });
        let expected = products(MatMulKernel::Plain, &weights, &vectors);
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert_eq!(&found[..weights.rows], &expected[..]);
        }
    }
}

/// The largest sums that there are: no kernel's may overflow.
#[test]
fn the_largest_sums_fit() {
    for (format, code) in Format::ALL
        .into_iter()
        .flat_map(|format| [(format, 0), (format, 255)])
    {
        let columns = 3 * format.block();
        let weights = Weights {
            format,
            rows: 20,
            columns,
            codes: vec![code; 20 * 3 * format.block_bytes()],
            scales: vec![1.0; 20 * 3],
            bias: None,
        };
        for value in [1.0f32, -1.0] {
            let expected = columns as f64 * weights.weight(0, 0) * f64::from(value);
            for kernel in kernels() {
                let found = products(kernel, &weights, &vec![value; columns]);
                let close = |&found: &f32| (f64::from(found) / expected - 1.0).abs() < 1e-6;
                assert!(
                    found[0].iter().all(close),
                    "{kernel} {format:?} {code}: {found:?}"
                );
            }
        }
    }
}
