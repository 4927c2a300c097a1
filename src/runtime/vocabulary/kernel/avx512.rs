//! AVX-512 VNNI: four products of bytes are added in 32 bits by one instruction.

use std::{arch::x86_64::*, array, ops::Range};

use super::{Activation, Activations, BLOCK, Group, Instructions, Packed};

const LANES: usize = 16;

struct Avx512Vnni;

/// # Safety
/// The processor must have AVX-512 F and VNNI.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn scores(
    packed: &Packed,
    groups: Range<usize>,
    activations: &Activations,
    take: impl FnMut(usize, usize, &[f32]),
) {
    super::scores::<Avx512Vnni, LANES>(packed, groups, activations, take);
}

impl Instructions<LANES> for Avx512Vnni {
    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn group_scores<const VECTORS: usize>(
        group: &Group<'_>,
        vectors: &[Activation<'_>; VECTORS],
    ) -> [[f32; LANES]; VECTORS] {
        let mut sums = [_mm512_setzero_ps(); VECTORS];
        for block in 0..vectors[0].values.len() {
            let values = array::from_fn(|vector| &vectors[vector].values[block]);
            let products = products::<VECTORS>(group.block_codes(block), values);
            let weight_scales = load(group.block_scales(block));
            for vector in 0..VECTORS {
                let correction = _mm512_set1_epi32(vectors[vector].corrections[block]);
                let product = _mm512_cvtepi32_ps(_mm512_add_epi32(products[vector], correction));
                let scale = _mm512_set1_ps(vectors[vector].scales[block]);
                let product = _mm512_mul_ps(product, _mm512_mul_ps(weight_scales, scale));
                sums[vector] = _mm512_add_ps(sums[vector], product);
            }
        }
        let bias = load(group.bias);
        let mut scores = [[0.0; LANES]; VECTORS];
        for (scores, sum) in scores.iter_mut().zip(sums) {
            // SAFETY: `scores` has 16 numbers of 32 bits; a store need not be aligned.
            unsafe { _mm512_storeu_ps(scores.as_mut_ptr(), _mm512_add_ps(sum, bias)) };
        }
        scores
    }
}

/// The first numbers of `values`, one for each lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32]) -> __m512 {
    // SAFETY: the slice has 16 numbers of 32 bits; a load need not be aligned.
    unsafe { _mm512_loadu_ps(values[..LANES].as_ptr()) }
}

/// Codes times values of a block of each vector.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn products<const VECTORS: usize>(
    codes: &[[u8; 4]],
    values: [&[i8; BLOCK]; VECTORS],
) -> [__m512i; VECTORS] {
    let fifteen = _mm512_set1_epi32(0x0f0f_0f0f);
    let codes = codes[..LANES * BLOCK / 8].as_ptr();
    // Two sums for each vector: an instruction does not wait for the result of the last one.
    let mut sums = [[_mm512_setzero_si512(); 2]; VECTORS];
    for quad in 0..BLOCK / 8 {
        // SAFETY: `quad` is less than `BLOCK / 8`, so that the `LANES` quads from there on are in the
        // slice; a load need not be aligned.
        let both = unsafe { _mm512_loadu_si512(codes.add(quad * LANES).cast()) };
        let lower = _mm512_and_si512(both, fifteen);
        let upper = _mm512_and_si512(_mm512_srli_epi32::<4>(both), fifteen);
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
            let [lower_sum, upper_sum] = &mut sums[vector];
            *lower_sum = _mm512_dpbusd_epi32(*lower_sum, lower, _mm512_set1_epi32(first));
            *upper_sum = _mm512_dpbusd_epi32(*upper_sum, upper, _mm512_set1_epi32(second));
        }
    }
    sums.map(|[lower, upper]| _mm512_add_epi32(lower, upper))
}
