//! AVX2: products of bytes are added in 16 bits, and these, before they can overflow, in 32 bits.

use std::{arch::x86_64::*, array, ops::Range};

use super::{Activation, Activations, Group, Instructions, Packed, Rounded};

const LANES: usize = 8;
/// Quads of both halves of 4 bits whose products fit into 16 bits together: 2 codes of at most 15
/// times 127 are 3,810, and 8 of these 30,480.
const FITTING: usize = 4;

struct Avx2;

/// # Safety
/// The processor must have AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn products<const BITS: usize, const BLOCK: usize>(
    packed: &Packed,
    groups: Range<usize>,
    activations: &Activations,
    take: impl FnMut(usize, usize, &[f32]),
) {
    super::products::<Avx2, LANES, BITS, BLOCK>(packed, groups, activations, take);
}

/// # Safety
/// The processor must have AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn round(room: &mut Rounded<'_>, vectors: &[f32]) {
    room.set(vectors);
}

impl Instructions<LANES> for Avx2 {
    const MAX_VECTORS: usize = 4;

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn group_products<const VECTORS: usize, const BITS: usize, const BLOCK: usize>(
        group: &Group<'_>,
        vectors: &[Activation<'_>; VECTORS],
        found: [&mut [f32; LANES]; VECTORS],
    ) {
        let mut sums = [_mm256_setzero_ps(); VECTORS];
        for block in 0..vectors[0].scales.len() {
            let values: [_; VECTORS] =
                array::from_fn(|vector| &vectors[vector].values::<BLOCK>()[block]);
            let codes = group.block_codes(block);
            let products = match BITS {
                4 => {
                    let products = of_4_bits(codes, values);
                    array::from_fn(|vector| {
                        let correction = _mm256_set1_epi32(vectors[vector].corrections[block]);
                        _mm256_add_epi32(products[vector], correction)
                    })
                }
                _ => of_8_bits(codes, values),
            };
            let weight_scales = load(group.block_scales(block));
            for vector in 0..VECTORS {
                let product = _mm256_cvtepi32_ps(products[vector]);
                let scale = _mm256_set1_ps(vectors[vector].scales[block]);
                let product = _mm256_mul_ps(product, _mm256_mul_ps(weight_scales, scale));
                sums[vector] = _mm256_add_ps(sums[vector], product);
            }
        }
        let bias = load(group.bias);
        for (found, sum) in found.into_iter().zip(sums) {
            // SAFETY: `found` has 8 numbers of 32 bits; a store need not be aligned.
            unsafe { _mm256_storeu_ps(found.as_mut_ptr(), _mm256_add_ps(sum, bias)) };
        }
    }
}

/// The first numbers of `values`, one for each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn load(values: &[f32]) -> __m256 {
    // SAFETY: the slice has 8 numbers of 32 bits; a load need not be aligned.
    unsafe { _mm256_loadu_ps(values[..LANES].as_ptr()) }
}

/// The quad `number` of each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn load_quads(codes: &[[u8; 4]], number: usize) -> __m256i {
    // SAFETY: the slice has 32 bytes; a load need not be aligned.
    unsafe { _mm256_loadu_si256(codes[number * LANES..][..LANES].as_ptr().cast()) }
}

/// Four values from `first` on, in each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn broadcast<const BLOCK: usize>(values: &[i8; BLOCK], first: usize) -> __m256i {
    let quad = [0, 1, 2, 3].map(|place| values[first + place] as u8);
    _mm256_set1_epi32(i32::from_le_bytes(quad))
}

/// Codes times values of a block of each vector.
#[inline]
#[target_feature(enable = "avx2")]
fn of_4_bits<const VECTORS: usize, const BLOCK: usize>(
    codes: &[[u8; 4]],
    values: [&[i8; BLOCK]; VECTORS],
) -> [__m256i; VECTORS] {
    let fifteen = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let codes = &codes[..LANES * BLOCK / 8];
    let mut sums = [_mm256_setzero_si256(); VECTORS];
    for chunk in 0..BLOCK / 8 / FITTING {
        let mut short = [_mm256_setzero_si256(); VECTORS];
        for quad in chunk * FITTING..(chunk + 1) * FITTING {
            let both = load_quads(codes, quad);
            let lower = _mm256_and_si256(both, fifteen);
            let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(both), fifteen);
            for vector in 0..VECTORS {
                let first = broadcast(values[vector], 4 * quad);
                let second = broadcast(values[vector], BLOCK / 2 + 4 * quad);
                let first = _mm256_maddubs_epi16(lower, first);
                let second = _mm256_maddubs_epi16(upper, second);
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

/// Weights times values of a block of each vector.
///
/// A product of bytes takes one of them without a sign: that of the weight is given to the value. Two
/// products of at most 128 times 127 are 32,512, which fits into 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn of_8_bits<const VECTORS: usize, const BLOCK: usize>(
    codes: &[[u8; 4]],
    values: [&[i8; BLOCK]; VECTORS],
) -> [__m256i; VECTORS] {
    let zeros = _mm256_set1_epi8(i8::MIN);
    let ones = _mm256_set1_epi16(1);
    let codes = &codes[..LANES * BLOCK / 4];
    let mut sums = [_mm256_setzero_si256(); VECTORS];
    for quad in 0..BLOCK / 4 {
        let weights = _mm256_xor_si256(load_quads(codes, quad), zeros);
        let sizes = _mm256_abs_epi8(weights);
        for vector in 0..VECTORS {
            let values = broadcast(values[vector], 4 * quad);
            let signed = _mm256_sign_epi8(values, weights);
            let short = _mm256_maddubs_epi16(sizes, signed);
            let long = _mm256_madd_epi16(short, ones);
            sums[vector] = _mm256_add_epi32(sums[vector], long);
        }
    }
    sums
}
