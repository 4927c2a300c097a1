//! AVX-512 VNNI: four products of bytes are added in 32 bits by one instruction.

use std::{arch::x86_64::*, ops::Range};

use super::{Activation, Activations, Group, Instructions, Packed, Rounded};

const LANES: usize = 16;

struct Avx512Vnni;

/// # Safety
/// The processor must have AVX-512 F and VNNI.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn products<const BITS: usize, const BLOCK: usize>(
    packed: &Packed,
    groups: Range<usize>,
    activations: &Activations,
    take: impl FnMut(usize, usize, &[f32]),
) {
    super::products::<Avx512Vnni, LANES, BITS, BLOCK>(packed, groups, activations, take);
}

/// # Safety
/// The processor must have AVX-512 F and VNNI.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn round(room: &mut Rounded<'_>, vectors: &[f32]) {
    room.set(vectors);
}

impl Instructions<LANES> for Avx512Vnni {
    const MAX_VECTORS: usize = 8;

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn group_products<const VECTORS: usize, const BITS: usize, const BLOCK: usize>(
        group: &Group<'_>,
        vectors: &[Activation<'_>; VECTORS],
        found: [&mut [f32; LANES]; VECTORS],
    ) {
        let mut sums = [_mm512_setzero_ps(); VECTORS];
        for block in 0..vectors[0].scales.len() {
            let mut products = [[_mm512_setzero_si512(); 2]; VECTORS];
            let mut values = [&[0; BLOCK]; VECTORS];
            // No closures: within `array::map` they would not have these instructions.
            for vector in 0..VECTORS {
                // The correction is the first term of the sum.
                products[vector][0] = _mm512_set1_epi32(vectors[vector].corrections[block]);
                values[vector] = &vectors[vector].values::<BLOCK>()[block];
            }
            let codes = group.block_codes(block);
            match BITS {
                4 => add_of_4_bits(&mut products, codes, values),
                _ => add_of_8_bits(&mut products, codes, values),
            }
            let weight_scales = load(group.block_scales(block));
            for vector in 0..VECTORS {
                let [first, second] = products[vector];
                let product = _mm512_cvtepi32_ps(_mm512_add_epi32(first, second));
                let scale = _mm512_set1_ps(vectors[vector].scales[block]);
                let product = _mm512_mul_ps(product, _mm512_mul_ps(weight_scales, scale));
                sums[vector] = _mm512_add_ps(sums[vector], product);
            }
        }
        let bias = load(group.bias);
        for (found, sum) in found.into_iter().zip(sums) {
            // SAFETY: `found` has 16 numbers of 32 bits; a store need not be aligned.
            unsafe { _mm512_storeu_ps(found.as_mut_ptr(), _mm512_add_ps(sum, bias)) };
        }
    }
}

/// The first numbers of `values`, one for each lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32]) -> __m512 {
    // SAFETY: the slice has 16 numbers of 32 bits; a load need not be aligned.
    unsafe { _mm512_loadu_ps(values[..LANES].as_ptr()) }
}

/// The quad `number` of each lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_quads(codes: &[[u8; 4]], number: usize) -> __m512i {
    // SAFETY: the slice has 64 bytes; a load need not be aligned.
    unsafe { _mm512_loadu_si512(codes[number * LANES..][..LANES].as_ptr().cast()) }
}

/// Four values from `first` on, in each lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast<const BLOCK: usize>(values: &[i8; BLOCK], first: usize) -> __m512i {
    let quad = [0, 1, 2, 3].map(|place| values[first + place] as u8);
    _mm512_set1_epi32(i32::from_le_bytes(quad))
}

/// Codes times values of a block of each vector, added to sums.
///
/// Two sums for each vector: an instruction does not wait for the result of the last one.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_of_4_bits<const VECTORS: usize, const BLOCK: usize>(
    sums: &mut [[__m512i; 2]; VECTORS],
    codes: &[[u8; 4]],
    values: [&[i8; BLOCK]; VECTORS],
) {
    let fifteen = _mm512_set1_epi32(0x0f0f_0f0f);
    let codes = &codes[..LANES * BLOCK / 8];
    for quad in 0..BLOCK / 8 {
        let both = load_quads(codes, quad);
        let lower = _mm512_and_si512(both, fifteen);
        let upper = _mm512_and_si512(_mm512_srli_epi32::<4>(both), fifteen);
        for vector in 0..VECTORS {
            let first = broadcast(values[vector], 4 * quad);
            let second = broadcast(values[vector], BLOCK / 2 + 4 * quad);
            let [lower_sum, upper_sum] = &mut sums[vector];
            *lower_sum = _mm512_dpbusd_epi32(*lower_sum, lower, first);
            *upper_sum = _mm512_dpbusd_epi32(*upper_sum, upper, second);
        }
    }
}

/// As [`add_of_4_bits`].
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_of_8_bits<const VECTORS: usize, const BLOCK: usize>(
    sums: &mut [[__m512i; 2]; VECTORS],
    codes: &[[u8; 4]],
    values: [&[i8; BLOCK]; VECTORS],
) {
    let codes = &codes[..LANES * BLOCK / 4];
    for pair in 0..BLOCK / 8 {
        let even = load_quads(codes, 2 * pair);
        let odd = load_quads(codes, 2 * pair + 1);
        for vector in 0..VECTORS {
            let first = broadcast(values[vector], 8 * pair);
            let second = broadcast(values[vector], 8 * pair + 4);
            let [even_sum, odd_sum] = &mut sums[vector];
            *even_sum = _mm512_dpbusd_epi32(*even_sum, even, first);
            *odd_sum = _mm512_dpbusd_epi32(*odd_sum, odd, second);
        }
    }
}
