//! NEON with dot products of bytes, which most 64-bit ARM processors have since 2018: each adds four
//! products of bytes to 32 bits.

use std::{
    arch::{aarch64::*, asm},
    array,
    ops::Range,
};

use super::{Activation, Activations, Group, Instructions, Packed};

const LANES: usize = 8;
/// Vectors of four lanes that the lanes are.
const PARTS: usize = LANES / 4;
/// Values in a vector: four quads.
const VALUES: usize = 16;

struct Neon;

/// # Safety
/// The processor must have NEON and its dot products.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn products<const BITS: usize, const BLOCK: usize>(
    packed: &Packed,
    groups: Range<usize>,
    activations: &Activations,
    take: impl FnMut(usize, usize, &[f32]),
) {
    super::products::<Neon, LANES, BITS, BLOCK>(packed, groups, activations, take);
}

impl Instructions<LANES> for Neon {
    const MAX_VECTORS: usize = 4;

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn group_products<const VECTORS: usize, const BITS: usize, const BLOCK: usize>(
        group: &Group<'_>,
        vectors: &[Activation<'_>; VECTORS],
        found: [&mut [f32; LANES]; VECTORS],
    ) {
        let mut sums = [[vdupq_n_f32(0.0); PARTS]; VECTORS];
        for block in 0..vectors[0].scales.len() {
            let values: [_; VECTORS] =
                array::from_fn(|vector| &vectors[vector].values::<BLOCK>()[block]);
            let codes = group.block_codes(block);
            let mut products = match BITS {
                4 => of_4_bits(codes, values),
                _ => of_8_bits(codes, values),
            };
            let weight_scales = load(group.block_scales(block));
            for vector in 0..VECTORS {
                let scale = vdupq_n_f32(vectors[vector].scales[block]);
                for part in 0..PARTS {
                    if BITS == 4 {
                        let correction = vdupq_n_s32(vectors[vector].corrections[block]);
                        products[vector][part] = vaddq_s32(products[vector][part], correction);
                    }
                    let product = vcvtq_f32_s32(products[vector][part]);
                    let product = vmulq_f32(product, vmulq_f32(weight_scales[part], scale));
                    sums[vector][part] = vaddq_f32(sums[vector][part], product);
                }
            }
        }
        let bias = load(group.bias);
        for (found, sums) in found.into_iter().zip(sums) {
            let (found, _) = found.as_chunks_mut::<4>();
            for part in 0..PARTS {
                // SAFETY: `found[part]` has 4 numbers of 32 bits.
                unsafe { vst1q_f32(found[part].as_mut_ptr(), vaddq_f32(sums[part], bias[part])) };
            }
        }
    }
}

/// The first numbers of `values`, one for each lane.
#[inline]
#[target_feature(enable = "neon")]
fn load(values: &[f32]) -> [float32x4_t; PARTS] {
    let (parts, _) = values[..LANES].as_chunks::<4>();
    // SAFETY: each part has 4 numbers of 32 bits.
    array::from_fn(|part| unsafe { vld1q_f32(parts[part].as_ptr()) })
}

/// Four quads of values, from `first` on.
#[inline]
#[target_feature(enable = "neon")]
fn load_values(values: &[i8], first: usize) -> int8x16_t {
    // SAFETY: the slice has 16 bytes.
    unsafe { vld1q_s8(values[first..][..VALUES].as_ptr()) }
}

/// The quad `number` of each lane.
#[inline]
#[target_feature(enable = "neon")]
fn load_quads(codes: &[[u8; 4]], number: usize) -> [uint8x16_t; PARTS] {
    let quads = codes[number * LANES..][..LANES].as_flattened();
    let (parts, _) = quads.as_chunks::<16>();
    // SAFETY: each part has 16 bytes.
    array::from_fn(|part| unsafe { vld1q_u8(parts[part].as_ptr()) })
}

/// Add to each sum the product of its quad of `codes` with the quad `QUAD` of `values`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_products<const QUAD: usize>(sums: &mut int32x4_t, codes: int8x16_t, values: int8x16_t) {
    // The intrinsic `vdotq_laneq_s32` is not stable yet.
    // SAFETY: the instruction only reads and writes these registers, and the processor has it.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {codes:v}.16b, {values:v}.4b[{quad}]",
            sums = inout(vreg) *sums,
            codes = in(vreg) codes,
            values = in(vreg) values,
            quad = const QUAD,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}

/// Codes times values of a block of each vector.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn of_4_bits<const VECTORS: usize, const BLOCK: usize>(
    codes: &[[u8; 4]],
    values: [&[i8; BLOCK]; VECTORS],
) -> Sums<VECTORS> {
    let codes = &codes[..LANES * BLOCK / 8];
    let mut lower = [[vdupq_n_s32(0); PARTS]; VECTORS];
    let mut upper = lower;
    for chunk in 0..BLOCK / 2 / VALUES {
        let load_half = |from: usize| -> [int8x16_t; VECTORS] {
            array::from_fn(|vector| load_values(values[vector], from + chunk * VALUES))
        };
        let (first, second) = (load_half(0), load_half(BLOCK / 2));
        add_halves::<0, VECTORS>(codes, chunk, (&mut lower, &mut upper), (&first, &second));
        add_halves::<1, VECTORS>(codes, chunk, (&mut lower, &mut upper), (&first, &second));
        add_halves::<2, VECTORS>(codes, chunk, (&mut lower, &mut upper), (&first, &second));
        add_halves::<3, VECTORS>(codes, chunk, (&mut lower, &mut upper), (&first, &second));
    }
    array::from_fn(|vector| {
        array::from_fn(|part| vaddq_s32(lower[vector][part], upper[vector][part]))
    })
}

/// The sums of each vector.
type Sums<const VECTORS: usize> = [[int32x4_t; PARTS]; VECTORS];

/// Add the products of both halves of a quad of a chunk, which is four quads.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_halves<const QUAD: usize, const VECTORS: usize>(
    codes: &[[u8; 4]],
    chunk: usize,
    (lower, upper): (&mut Sums<VECTORS>, &mut Sums<VECTORS>),
    (first, second): (&[int8x16_t; VECTORS], &[int8x16_t; VECTORS]),
) {
    let fifteen = vdupq_n_u8(15);
    let both = load_quads(codes, 4 * chunk + QUAD);
    for part in 0..PARTS {
        let low = vreinterpretq_s8_u8(vandq_u8(both[part], fifteen));
        let high = vreinterpretq_s8_u8(vshrq_n_u8::<4>(both[part]));
        for vector in 0..VECTORS {
            add_products::<QUAD>(&mut lower[vector][part], low, first[vector]);
            add_products::<QUAD>(&mut upper[vector][part], high, second[vector]);
        }
    }
}

/// Weights times values of a block of each vector.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn of_8_bits<const VECTORS: usize, const BLOCK: usize>(
    codes: &[[u8; 4]],
    values: [&[i8; BLOCK]; VECTORS],
) -> Sums<VECTORS> {
    let codes = &codes[..LANES * BLOCK / 4];
    let mut sums = [[vdupq_n_s32(0); PARTS]; VECTORS];
    for chunk in 0..BLOCK / VALUES {
        let values: [int8x16_t; VECTORS] =
            array::from_fn(|vector| load_values(values[vector], chunk * VALUES));
        add_weights::<0, VECTORS>(codes, chunk, &mut sums, &values);
        add_weights::<1, VECTORS>(codes, chunk, &mut sums, &values);
        add_weights::<2, VECTORS>(codes, chunk, &mut sums, &values);
        add_weights::<3, VECTORS>(codes, chunk, &mut sums, &values);
    }
    sums
}

/// Add the products of a quad of a chunk.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_weights<const QUAD: usize, const VECTORS: usize>(
    codes: &[[u8; 4]],
    chunk: usize,
    sums: &mut Sums<VECTORS>,
    values: &[int8x16_t; VECTORS],
) {
    let zero = vdupq_n_u8(0x80);
    let codes = load_quads(codes, 4 * chunk + QUAD);
    for part in 0..PARTS {
        let weights = vreinterpretq_s8_u8(veorq_u8(codes[part], zero));
        for vector in 0..VECTORS {
            add_products::<QUAD>(&mut sums[vector][part], weights, values[vector]);
        }
    }
}
