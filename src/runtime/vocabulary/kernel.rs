//! The product of activations of 8 bits with packed weights of 4 bits, on each kind of processor.
//!
//! All kernels compute the same integers, and from these the same scores: they differ in speed alone.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod plain;

use std::{fmt, ops::Range, str::FromStr};

use super::{
    activations::{Activation, Activations},
    packed::{Group, Packed},
    pattern::BLOCK,
};
use crate::error::{Error, Result};

/// Vectors that are multiplied with a group of tokens at a time: more need more registers than there
/// are.
const MAX_VECTORS: usize = 4;

/// How a large vocabulary of 4 bits is ranked on the processor.
///
/// A graph whose vocabulary is small, or of another precision, has no use for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VocabularyKernel {
    /// By the nodes of the graph, as ONNX Runtime does it.
    OnnxRuntime,
    /// With instructions that every processor has.
    Plain,
    /// With AVX2 (x86-64).
    Avx2,
    /// With AVX-512 VNNI (x86-64).
    Avx512Vnni,
}

impl VocabularyKernel {
    /// All kernels, the slowest first.
    pub const ALL: [Self; 4] = [Self::OnnxRuntime, Self::Plain, Self::Avx2, Self::Avx512Vnni];

    /// The fastest one that this processor has the instructions for.
    #[must_use]
    pub fn fastest() -> Self {
        match Self::ALL.into_iter().rfind(|kernel| kernel.is_available()) {
            // ONNX Runtime's own kernels are for all kinds of processors.
            Some(Self::Plain) | None => Self::OnnxRuntime,
            Some(kernel) => kernel,
        }
    }

    /// Whether this processor has the instructions.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::OnnxRuntime | Self::Plain => true,
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

    /// Its name: `onnxruntime`, `plain`, `avx2` or `avx512-vnni`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnnxRuntime => "onnxruntime",
            Self::Plain => "plain",
            Self::Avx2 => "avx2",
            Self::Avx512Vnni => "avx512-vnni",
        }
    }

    /// Tokens of a group.
    pub(super) fn lanes(self) -> usize {
        match self {
            Self::Avx512Vnni => 16,
            _ => 8,
        }
    }

    /// The scores of all tokens of `groups` for each vector: `take` is given the vector, the first
    /// token, and the scores of a group from there on.
    ///
    /// # Panics
    /// If `packed` is not made for the lanes of this kernel.
    pub(super) fn scores(
        self,
        packed: &Packed,
        groups: Range<usize>,
        activations: &Activations,
        take: impl FnMut(usize, usize, &[f32]),
    ) {
        assert_eq!(packed.lanes, self.lanes(), "packed for another kernel");
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 if self.is_available() => {
                // SAFETY: the processor has AVX2.
                unsafe { avx2::scores(packed, groups, activations, take) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni if self.is_available() => {
                // SAFETY: the processor has AVX-512 F and VNNI.
                unsafe { avx512::scores(packed, groups, activations, take) }
            }
            Self::Avx512Vnni => scores::<plain::Plain, 16>(packed, groups, activations, take),
            _ => scores::<plain::Plain, 8>(packed, groups, activations, take),
        }
    }
}

impl fmt::Display for VocabularyKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for VocabularyKernel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = |kernel: &Self| kernel.name() == name;
        Self::ALL
            .into_iter()
            .find(known)
            .ok_or_else(|| Error::InvalidOption {
                option: "vocabulary_kernel",
                value: name.to_owned(),
                allowed: Self::ALL.map(Self::name).join(", "),
            })
    }
}

/// The scores of all tokens with the lanes of AVX-512, by plain instructions.
#[cfg(test)]
pub(super) fn plain_scores_of_16(
    packed: &Packed,
    activations: &Activations,
    mut take: impl FnMut(usize, &[f32]),
) {
    let take = |vector: usize, _: usize, scores: &[f32]| take(vector, scores);
    scores::<plain::Plain, 16>(packed, 0..packed.groups(), activations, take);
}

/// The instructions of a kind of processor.
trait Instructions<const LANES: usize> {
    /// The scores of a group for each vector: over the blocks, the sum of
    /// `(products + correction) * (scale of the weights * scale of the vector)`, and the bias. The
    /// products are those of codes and values.
    ///
    /// # Safety
    /// The processor must have the instructions.
    unsafe fn group_scores<const VECTORS: usize>(
        group: &Group<'_>,
        vectors: &[Activation<'_>; VECTORS],
    ) -> [[f32; LANES]; VECTORS];
}

/// Groups whose scores are handed over together: their codes stay in the processor's first cache for
/// all vectors (3 KiB a group at 768 columns).
const GROUPS_AT_ONCE: usize = 8;

/// Inlined into a function that has the instructions, it uses them too.
#[inline(always)]
fn scores<I: Instructions<LANES>, const LANES: usize>(
    packed: &Packed,
    mut groups: Range<usize>,
    activations: &Activations,
    mut take: impl FnMut(usize, usize, &[f32]),
) {
    while !groups.is_empty() {
        let some = groups.start..groups.end.min(groups.start + GROUPS_AT_ONCE);
        let mut first = 0;
        while first < activations.len() {
            let left = activations.len() - first;
            let take = |vector: usize, scores: &[f32]| {
                take(first + vector, some.start * LANES, scores);
            };
            let some = some.clone();
            // SAFETY: only `VocabularyKernel::scores` calls this, for a processor that it has asked.
            unsafe {
                match left {
                    1 => some_scores::<I, LANES, 1>(packed, some, activations, first, take),
                    2 => some_scores::<I, LANES, 2>(packed, some, activations, first, take),
                    3 => some_scores::<I, LANES, 3>(packed, some, activations, first, take),
                    _ => some_scores::<I, LANES, 4>(packed, some, activations, first, take),
                }
            }
            first += left.min(MAX_VECTORS);
        }
        groups.start = some.end;
    }
}

/// # Safety
/// The processor must have the instructions.
#[inline(always)]
unsafe fn some_scores<I: Instructions<LANES>, const LANES: usize, const VECTORS: usize>(
    packed: &Packed,
    groups: Range<usize>,
    activations: &Activations,
    first: usize,
    mut take: impl FnMut(usize, &[f32]),
) {
    let vectors: [Activation<'_>; VECTORS] =
        std::array::from_fn(|vector| activations.vector(first + vector));
    let mut found = [[[0.0f32; LANES]; GROUPS_AT_ONCE]; VECTORS];
    let count = groups.len();
    for (place, group) in groups.enumerate() {
        // SAFETY: the caller's promise.
        let scores = unsafe { I::group_scores(&packed.group(group), &vectors) };
        for (found, scores) in found.iter_mut().zip(scores) {
            found[place] = scores;
        }
    }
    for (vector, found) in found.iter().enumerate() {
        take(vector, found[..count].as_flattened());
    }
}
