//! Instructions that every processor has.

use super::{Activation, BLOCK, Group, Instructions};

pub(super) struct Plain;

impl<const LANES: usize> Instructions<LANES> for Plain {
    unsafe fn group_scores<const VECTORS: usize>(
        group: &Group<'_>,
        vectors: &[Activation<'_>; VECTORS],
    ) -> [[f32; LANES]; VECTORS] {
        vectors.each_ref().map(|vector| {
            let mut sums = [0.0; LANES];
            for (block, values) in vector.values.iter().enumerate() {
                let products = products::<LANES>(group.block_codes(block), values);
                let scales = group.block_scales(block).iter();
                for ((sum, product), scale) in sums.iter_mut().zip(products).zip(scales) {
                    let product = (product + vector.corrections[block]) as f32;
                    *sum += product * (scale * vector.scales[block]);
                }
            }
            for (sum, bias) in sums.iter_mut().zip(group.bias) {
                *sum += bias;
            }
            sums
        })
    }
}

fn products<const LANES: usize>(codes: &[[u8; 4]], values: &[i8; BLOCK]) -> [i32; LANES] {
    let mut products = [0; LANES];
    let (lower, upper) = values.split_at(BLOCK / 2);
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
