//! AVX2: products of bytes are added in 16 bits, and these, before they can overflow, in 32 bits.

use std::{arch::x86_64::*, array, ops::Range};

use super::{Activation, Activations, BLOCK, Group, Instructions, Packed};

const LANES: usize = 8;
/// Quads of both halves whose products fit into 16 bits together: 2 codes of at most 15 times 127
/// are 3,810, and 8 of these 30,480.
const FITTING: usize = 4;

struct Avx2;

/// # Safety
/// The processor must have AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn scores(
    packed: &Packed,
    groups: Range<usize>,
    activations: &Activations,
    take: impl FnMut(usize, usize, &[f32]),
) {
    super::scores::<Avx2, LANES>(packed, groups, activations, take);
}

impl Instructions<LANES> for Avx2 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn group_scores<const VECTORS: usize>(
        group: &Group<'_>,
        vectors: &[Activation<'_>; VECTORS],
    ) -> [[f32; LANES]; VECTORS] {
        let mut sums = [_mm256_setzero_ps(); VECTORS];
        for block in 0..vectors[0].values.len() {
            let values = array::from_fn(|vector| &vectors[vector].values[block]);
            let products = products::<VECTORS>(group.block_codes(block), values);
            let weight_scales = load(group.block_scales(block));
            for vector in 0..VECTORS {
                let correction = _mm256_set1_epi32(vectors[vector].corrections[block]);
                let product = _mm256_cvtepi32_ps(_mm256_add_epi32(products[vector], correction));
                let scale = _mm256_set1_ps(vectors[vector].scales[block]);
                let product = _mm256_mul_ps(product, _mm256_mul_ps(weight_scales, scale));
                sums[vector] = _mm256_add_ps(sums[vector], product);
            }
        }
        let bias = load(group.bias);
        let mut scores = [[0.0; LANES]; VECTORS];
        for (scores, sum) in scores.iter_mut().zip(sums) {
            // SAFETY: `scores` has 8 numbers of 32 bits; a store need not be aligned.
            unsafe { _mm256_storeu_ps(scores.as_mut_ptr(), _mm256_add_ps(sum, bias)) };
        }
        scores
    }
}

/// The first numbers of `values`, one for each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn load(values: &[f32]) -> __m256 {
    // SAFETY: the slice has 8 numbers of 32 bits; a load need not be aligned.
    unsafe { _mm256_loadu_ps(values[..LANES].as_ptr()) }
}

/// Codes times values of a block of each vector.
#[inline]
#[target_feature(enable = "avx2")]
fn products<const VECTORS: usize>(
    codes: &[[u8; 4]],
    values: [&[i8; BLOCK]; VECTORS],
) -> [__m256i; VECTORS] {
    let fifteen = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let codes = codes[..LANES * BLOCK / 8].as_ptr();
    let mut sums = [_mm256_setzero_si256(); VECTORS];
    for chunk in 0..BLOCK / 8 / FITTING {
        let mut short = [_mm256_setzero_si256(); VECTORS];
        for quad in chunk * FITTING..(chunk + 1) * FITTING {
            // SAFETY: `quad` is less than `BLOCK / 8`, so that the `LANES` quads from there on are in
            // the slice; a load need not be aligned.
            let both = unsafe { _mm256_loadu_si256(codes.add(quad * LANES).cast()) };
            let lower = _mm256_and_si256(both, fifteen);
            let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(both), fifteen);
            for vector in 0..VECTORS {
                // SAFETY: `quad` is less than `BLOCK / 8`: both reads are within `BLOCK` values.
                let (first, second) = unsafe {
                    let values = values[vector].as_ptr();
                    (
                        values.add(4 * quad).cast::<i32>().read_unaligned(),
                        values
                            .add(BLOCK / 2 + 4 * quad)
                            .cast::<i32>()
                            .read_unaligned(),
                    )
                };
                let first = _mm256_maddubs_epi16(lower, _mm256_set1_epi32(first));
                let second = _mm256_maddubs_epi16(upper, _mm256_set1_epi32(second));
                let both = _mm256_add_epi16(first, second);
                short[vector] = _mm256_add_epi16(short[vector], both);
            }
        }
        for vector in 0..VECTORS {
            let long = _mm256_madd_epi16(short[vector], ones);
            sums[vector] = _mm256_add_epi32(sums[vector], long);
        }
    }
    sums
}
