//! The product of activations of 8 bits with packed weights, on each kind of processor.
//!
//! All kernels compute the same integers, and from these the same scores: they differ in speed alone.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;

use std::{fmt, ops::Range, str::FromStr};

use super::{
    activations::{Activation, Activations, Rounded},
    packed::{Format, Group, Packed},
};
use crate::error::{Error, Result};

/// Kernel that multiplies 4-bit and 8-bit weights on the CPU and ranks large vocabularies.
///
/// It supports 4-bit weights in blocks of 64 or 128, and 8-bit weights in blocks of 16 or 128. A
/// graph without such weights does not use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MatMulKernel {
    /// ONNX Runtime's own operators.
    OnnxRuntime,
    /// Instructions that every processor has.
    Plain,
    /// NEON's dot-product instructions (64-bit ARM).
    NeonDotprod,
    /// AVX2 (x86-64).
    Avx2,
    /// AVX-512 VNNI (x86-64).
    Avx512Vnni,
}

impl MatMulKernel {
    /// All kernels, the slowest first.
    pub const ALL: [Self; 5] = [
        Self::OnnxRuntime,
        Self::Plain,
        Self::NeonDotprod,
        Self::Avx2,
        Self::Avx512Vnni,
    ];

    /// The fastest kernel that this processor supports. The ARM kernel was never timed on an ARM
    /// processor, so it is used only on request.
    #[must_use]
    pub fn fastest() -> Self {
        match Self::ALL.into_iter().rfind(|kernel| kernel.is_available()) {
            // ONNX Runtime's own kernels are for all kinds of processors.
            Some(Self::Plain | Self::NeonDotprod) | None => Self::OnnxRuntime,
            Some(kernel) => kernel,
        }
    }

    /// Whether this processor supports the kernel.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::OnnxRuntime | Self::Plain => true,
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => {
                let detected = std::arch::is_aarch64_feature_detected!("neon");
                detected && std::arch::is_aarch64_feature_detected!("dotprod")
            }
            #[cfg(not(target_arch = "aarch64"))]
            Self::NeonDotprod => false,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512Vnni => false,
        }
    }

    /// Its name: `onnxruntime`, `plain`, `neon-dotprod`, `avx2` or `avx512-vnni`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnnxRuntime => "onnxruntime",
            Self::Plain => "plain",
            Self::NeonDotprod => "neon-dotprod",
            Self::Avx2 => "avx2",
            Self::Avx512Vnni => "avx512-vnni",
        }
    }

    /// Rows of a group.
    pub(in crate::runtime) fn lanes(self) -> usize {
        match self {
            Self::Avx512Vnni => 16,
            _ => 8,
        }
    }

    /// Round vectors, which are concatenated, as many as there is room for.
    pub(super) fn round(self, room: &mut Rounded<'_>, vectors: &[f32]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 if self.is_available() => {
                // SAFETY: the processor has AVX2.
                unsafe { avx2::round(room, vectors) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni if self.is_available() => {
                // SAFETY: the processor has AVX-512 F and VNNI.
                unsafe { avx512::round(room, vectors) }
            }
            _ => room.set(vectors),
        }
    }

    /// The products of all rows of `groups` with each vector: `take` is given the vector, the first
    /// row, and the products from there on. Those of lanes without a row are -infinity.
    ///
    /// # Panics
    /// If `packed` is not made for the lanes of this kernel, or the activations for another format.
    pub(super) fn products(
        self,
        packed: &Packed,
        groups: Range<usize>,
        activations: &Activations,
        take: impl FnMut(usize, usize, &[f32]),
    ) {
        assert_eq!(packed.lanes, self.lanes(), "packed for another kernel");
        assert_eq!(activations.format(), packed.format);
        assert_eq!(activations.blocks(), packed.blocks);
        match packed.format {
            Format::Int4Block64 => self.run::<4, 64>(packed, groups, activations, take),
            Format::Int4Block128 => self.run::<4, 128>(packed, groups, activations, take),
            Format::Int8Block16 => self.run::<8, 16>(packed, groups, activations, take),
            Format::Int8Block128 => self.run::<8, 128>(packed, groups, activations, take),
        }
    }

    fn run<const BITS: usize, const BLOCK: usize>(
        self,
        packed: &Packed,
        groups: Range<usize>,
        activations: &Activations,
        take: impl FnMut(usize, usize, &[f32]),
    ) {
        match self {
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod if self.is_available() => {
                // SAFETY: the processor has NEON and its dot products.
                unsafe { neon::products::<BITS, BLOCK>(packed, groups, activations, take) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 if self.is_available() => {
                // SAFETY: the processor has AVX2.
                unsafe { avx2::products::<BITS, BLOCK>(packed, groups, activations, take) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni if self.is_available() => {
                // SAFETY: the processor has AVX-512 F and VNNI.
                unsafe { avx512::products::<BITS, BLOCK>(packed, groups, activations, take) }
            }
            Self::Avx512Vnni => {
                products::<plain::Plain, 16, BITS, BLOCK>(packed, groups, activations, take);
            }
            _ => products::<plain::Plain, 8, BITS, BLOCK>(packed, groups, activations, take),
        }
    }
}

impl fmt::Display for MatMulKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for MatMulKernel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = |kernel: &Self| kernel.name() == name;
        Self::ALL
            .into_iter()
            .find(known)
            .ok_or_else(|| Error::InvalidOption {
                option: "matmul_kernel",
                value: name.to_owned(),
                allowed: Self::ALL.map(Self::name).join(", "),
            })
    }
}

/// The products of all rows with the lanes of AVX-512, by plain instructions.
#[cfg(test)]
pub(super) fn plain_products_of_16(
    packed: &Packed,
    activations: &Activations,
    mut take: impl FnMut(usize, &[f32]),
) {
    let take = |vector: usize, _: usize, products: &[f32]| take(vector, products);
    let groups = 0..packed.groups();
    match packed.format {
        Format::Int4Block64 => {
            products::<plain::Plain, 16, 4, 64>(packed, groups, activations, take);
        }
        Format::Int4Block128 => {
            products::<plain::Plain, 16, 4, 128>(packed, groups, activations, take);
        }
        Format::Int8Block16 => {
            products::<plain::Plain, 16, 8, 16>(packed, groups, activations, take)
        }
        Format::Int8Block128 => {
            products::<plain::Plain, 16, 8, 128>(packed, groups, activations, take);
        }
    }
}

/// The instructions of a kind of processor.
trait Instructions<const LANES: usize> {
    /// Vectors that are multiplied with a group of rows at a time, 4 or 8: more need more registers
    /// than there are.
    const MAX_VECTORS: usize;

    /// Into `found`, the products of a group with each vector: over the blocks, the sum of
    /// `product * (scale of the weights * scale of the vector)`, and the bias.
    ///
    /// # Safety
    /// The processor must have the instructions.
    unsafe fn group_products<const VECTORS: usize, const BITS: usize, const BLOCK: usize>(
        group: &Group<'_>,
        vectors: &[Activation<'_>; VECTORS],
        found: [&mut [f32; LANES]; VECTORS],
    );
}

/// Most groups whose products are handed over together.
const MAX_GROUPS: usize = 8;
/// Bytes of the codes of such groups: they stay in the processor's first cache for all vectors.
const CACHED_BYTES: usize = 24 << 10;

/// Inlined into a function that has the instructions, it uses them too.
#[inline(always)]
fn products<I: Instructions<LANES>, const LANES: usize, const BITS: usize, const BLOCK: usize>(
    packed: &Packed,
    mut groups: Range<usize>,
    activations: &Activations,
    mut take: impl FnMut(usize, usize, &[f32]),
) {
    let together = (CACHED_BYTES / packed.group_bytes().max(1)).clamp(1, MAX_GROUPS);
    while !groups.is_empty() {
        let some = groups.start..groups.end.min(groups.start + together);
        let mut first = 0;
        while first < activations.len() {
            let count = match activations.len() - first {
                // In small blocks the factors of so many vectors take longer than the products.
                8.. if I::MAX_VECTORS == 8 && BLOCK >= 64 => 8,
                4.. => 4,
                fewer => fewer,
            };
            let take = |vector: usize, products: &[f32]| {
                take(first + vector, some.start * LANES, products);
            };
            let args = (packed, some.clone(), activations, first);
            // SAFETY: only `MatMulKernel::run` calls this, for a processor that it has asked.
            unsafe {
                match count {
                    1 => some_products::<I, LANES, 1, BITS, BLOCK>(args, take),
                    2 => some_products::<I, LANES, 2, BITS, BLOCK>(args, take),
                    3 => some_products::<I, LANES, 3, BITS, BLOCK>(args, take),
                    4 => some_products::<I, LANES, 4, BITS, BLOCK>(args, take),
                    _ => some_products::<I, LANES, 8, BITS, BLOCK>(args, take),
                }
            }
            first += count;
        }
        groups.start = some.end;
    }
}

/// The products of at most `MAX_GROUPS` groups with the vectors from `first` on.
///
/// # Safety
/// The processor must have the instructions.
#[inline(always)]
unsafe fn some_products<
    I: Instructions<LANES>,
    const LANES: usize,
    const VECTORS: usize,
    const BITS: usize,
    const BLOCK: usize,
>(
    (packed, groups, activations, first): (&Packed, Range<usize>, &Activations, usize),
    mut take: impl FnMut(usize, &[f32]),
) {
    let vectors: [Activation<'_>; VECTORS] =
        std::array::from_fn(|vector| activations.vector(first + vector));
    let mut found = [[[0.0f32; LANES]; MAX_GROUPS]; VECTORS];
    let count = groups.len();
    for (place, group) in groups.enumerate() {
        let group = packed.group(group);
        let found = found.each_mut().map(|found| &mut found[place]);
        // SAFETY: the caller's promise.
        unsafe { I::group_products::<VECTORS, BITS, BLOCK>(&group, &vectors, found) };
    }
    for (vector, found) in found.iter().enumerate() {
        take(vector, found[..count].as_flattened());
    }
}
