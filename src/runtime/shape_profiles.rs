//! The sizes that TensorRT builds its engines for.

use std::fmt;

use crate::error::{Error, Result};

/// The largest size of a dimension: more than any model's context.
const LARGEST: usize = 1 << 20;

/// The minimum, usual and maximum size of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRange {
    min: usize,
    usual: usize,
    max: usize,
}

impl SizeRange {
    /// Sizes from `min` to `max`, each 1 to 1048576; engines are optimised for `usual`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] unless `min` <= `usual` <= `max`.
    pub fn new(min: usize, usual: usize, max: usize) -> Result<Self> {
        let range = Self { min, usual, max };
        if min == 0 || min > usual || usual > max || max > LARGEST {
            return Err(Error::InvalidOption {
                option: "size range",
                value: range.to_string(),
                allowed: format!("min:usual:max in rising order, 1 to {LARGEST}"),
            });
        }
        Ok(range)
    }

    pub(crate) fn sizes(self) -> [usize; 3] {
        [self.min, self.usual, self.max]
    }
}

impl fmt::Display for SizeRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.min, self.usual, self.max)
    }
}

/// Sizes of the graphs' open dimensions; see
/// [`ProviderOptions::with_shape_profiles`](crate::ProviderOptions::with_shape_profiles).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShapeProfiles {
    pub(crate) batch: SizeRange,
    pub(crate) sentences: SizeRange,
    pub(crate) tokens: SizeRange,
}

impl ShapeProfiles {
    /// Sizes of a batch in rows, of a context in sentences, and of a sentence in tokens.
    ///
    /// In kind `opt`, `tokens` is the size of a context, and `sentences` is ignored.
    #[must_use]
    pub fn new(batch: SizeRange, sentences: SizeRange, tokens: SizeRange) -> Self {
        Self {
            batch,
            sentences,
            tokens,
        }
    }
}

impl fmt::Display for ShapeProfiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (batch, sentences, tokens) = (self.batch, self.sentences, self.tokens);
        write!(
            formatter,
            "batch {batch}, sentences {sentences}, tokens {tokens}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_must_rise() {
        for (min, usual, max) in [(0, 1, 1), (2, 1, 3), (1, 3, 2), (1, 1, LARGEST + 1)] {
            let refused = SizeRange::new(min, usual, max);
            assert!(
                matches!(refused, Err(Error::InvalidOption { .. })),
                "{min}:{usual}:{max}"
            );
        }
    }
}
