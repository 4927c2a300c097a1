//! Instructions that every processor has.

use super::{Activation, Group, Instructions};

pub(super) struct Plain;

impl<const LANES: usize> Instructions<LANES> for Plain {
    const MAX_VECTORS: usize = 4;

    unsafe fn group_products<const VECTORS: usize, const BITS: usize, const BLOCK: usize>(
        group: &Group<'_>,
        vectors: &[Activation<'_>; VECTORS],
        found: [&mut [f32; LANES]; VECTORS],
    ) {
        for (vector, sums) in vectors.iter().zip(found) {
            sums.fill(0.0);
            for (block, scale) in vector.scales.iter().enumerate() {
                let values = &vector.values::<BLOCK>()[block];
                let codes = group.block_codes(block);
                let products: [i32; LANES] = match BITS {
                    4 => of_4_bits(codes, values),
                    _ => of_8_bits(codes, values),
                };
                let scales = group.block_scales(block).iter();
                for ((sum, product), weight_scale) in sums.iter_mut().zip(products).zip(scales) {
                    let product = (product + vector.corrections[block]) as f32;
                    *sum += product * (weight_scale * scale);
                }
            }
            for (sum, bias) in sums.iter_mut().zip(group.bias) {
                *sum += bias;
            }
        }
    }
}

fn of_4_bits<const LANES: usize>(codes: &[[u8; 4]], values: &[i8]) -> [i32; LANES] {
    let mut products = [0; LANES];
    let (lower, upper) = values.split_at(values.len() / 2);
    let pairs = lower.chunks_exact(4).zip(upper.chunks_exact(4));
    for (quads, (lower, upper)) in codes.chunks_exact(LANES).zip(pairs) {
        for (product, quad) in products.iter_mut().zip(quads) {
            for place in 0..4 {
                *product += i32::from(quad[place] & 15) * i32::from(lower[place]);
                *product += i32::from(quad[place] >> 4) * i32::from(upper[place]);
            }
        }
    }
    products
}

fn of_8_bits<const LANES: usize>(codes: &[[u8; 4]], values: &[i8]) -> [i32; LANES] {
    let mut products = [0; LANES];
    for (quads, values) in codes.chunks_exact(LANES).zip(values.chunks_exact(4)) {
        for (product, quad) in products.iter_mut().zip(quads) {
            for place in 0..4 {
                *product += i32::from(quad[place]) * i32::from(values[place]);
            }
        }
    }
    products
}
