//! Vectors rounded to 8 bits, in blocks.

use super::packed::Format;

const LARGEST: f32 = 127.0;
/// Added to a number of at most 2^22 and taken away again, it rounds that to an integer, ties to even:
/// sums of this size have no room for a fraction.
const ROUNDS: f32 = 12_582_912.0;

/// Vectors, each padded to whole blocks.
#[derive(Debug)]
pub(super) struct Activations {
    format: Format,
    columns: usize,
    /// Of a vector.
    blocks: usize,
    /// [vector][block][value]
    values: Vec<i8>,
    /// [vector][block]
    scales: Vec<f32>,
    /// Minus the code of the weight 0 times the sum of a block, which makes codes to weights in a
    /// product, [vector][block].
    corrections: Vec<i32>,
}

/// One vector.
#[derive(Clone, Copy)]
pub(super) struct Activation<'a> {
    values: &'a [i8],
    pub scales: &'a [f32],
    pub corrections: &'a [i32],
}

impl<'a> Activation<'a> {
    /// The values of each block.
    #[inline(always)]
    pub fn values<const BLOCK: usize>(&self) -> &'a [[i8; BLOCK]] {
        self.values.as_chunks().0
    }
}

/// Room for some of the vectors.
pub(super) struct Rounded<'a> {
    format: Format,
    columns: usize,
    blocks: usize,
    values: &'a mut [i8],
    scales: &'a mut [f32],
    corrections: &'a mut [i32],
}

impl Activations {
    /// None yet, each of `columns` numbers.
    pub fn new(columns: usize, format: Format) -> Self {
        Self {
            format,
            columns,
            blocks: columns.div_ceil(format.block()),
            values: Vec::new(),
            scales: Vec::new(),
            corrections: Vec::new(),
        }
    }

    /// Make room for `count` vectors, and give it in parts of at most `most` vectors.
    pub fn rooms(&mut self, count: usize, most: usize) -> impl Iterator<Item = Rounded<'_>> {
        let (format, columns, blocks) = (self.format, self.columns, self.blocks);
        let size = blocks * format.block();
        self.values.resize(count * size, 0);
        self.scales.resize(count * blocks, 0.0);
        self.corrections.resize(count * blocks, 0);
        let values = self.values.chunks_mut((most * size).max(1));
        let scales = self.scales.chunks_mut((most * blocks).max(1));
        let corrections = self.corrections.chunks_mut((most * blocks).max(1));
        let rooms = values.zip(scales).zip(corrections);
        rooms.map(move |((values, scales), corrections)| Rounded {
            format,
            columns,
            blocks,
            values,
            scales,
            corrections,
        })
    }

    /// Round vectors, which are concatenated.
    #[cfg(test)]
    pub fn set(&mut self, vectors: &[f32]) {
        let count = vectors.len() / self.columns;
        for mut room in self.rooms(count, count) {
            room.set(vectors);
        }
    }

    pub fn len(&self) -> usize {
        self.scales.len() / self.blocks.max(1)
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn blocks(&self) -> usize {
        self.blocks
    }

    pub fn vector(&self, number: usize) -> Activation<'_> {
        let size = self.blocks * self.format.block();
        let blocks = number * self.blocks..(number + 1) * self.blocks;
        Activation {
            values: &self.values[number * size..][..size],
            scales: &self.scales[blocks.clone()],
            corrections: &self.corrections[blocks],
        }
    }
}

impl Rounded<'_> {
    /// Round vectors, which are concatenated: as many as there is room for.
    ///
    /// Inlined into a function that has instructions for vectors, it uses them too.
    #[inline(always)]
    pub fn set(&mut self, vectors: &[f32]) {
        let block = self.format.block();
        let vectors = vectors.chunks_exact(self.columns);
        let size = self.blocks * block;
        let mut sums = self.scales.iter_mut().zip(&mut *self.corrections);
        for (vector, values) in vectors.zip(self.values.chunks_exact_mut(size)) {
            for (numbers, values) in vector.chunks(block).zip(values.chunks_exact_mut(block)) {
                let Some((scale, correction)) = sums.next() else {
                    return;
                };
                let (largest, sum) = round(numbers, values);
                *scale = largest / LARGEST;
                *correction = -self.format.zero() * sum;
            }
        }
    }
}

/// Round a block; the largest absolute number, and the sum of what they are rounded to.
#[inline(always)]
fn round(numbers: &[f32], values: &mut [i8]) -> (f32, i32) {
    // Bits of numbers that are not negative are in the order of the numbers, NaN above all.
    let bits = |number: &f32| number.abs().to_bits() as i32;
    let largest = f32::from_bits(numbers.iter().map(bits).fold(0, i32::max) as u32);
    let inverse = if largest > 0.0 {
        LARGEST / largest
    } else {
        0.0
    };
    let mut sum = 0;
    for (value, number) in values.iter_mut().zip(numbers) {
        let rounded = (number * inverse + ROUNDS).to_bits() as i32 - ROUNDS.to_bits() as i32;
        *value = rounded as i8;
        sum += i32::from(*value);
    }
    values[numbers.len()..].fill(0);
    (largest, sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rounding_is_that_of_floats(numbers in proptest::collection::vec(-9.0f32..9.0, 1..=64)) {
            let mut values = [1; 64];
            let (largest, sum) = round(&numbers, &mut values);
            let most = numbers.iter().fold(0.0f32, |most, number| most.max(number.abs()));
            prop_assert_eq!(largest, most);
            let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
            let expected = |number: &f32| (number * inverse).round_ties_even() as i8;
            let mut expected: Vec<i8> = numbers.iter().map(expected).collect();
            expected.resize(64, 0);
            prop_assert_eq!(&values[..], &expected[..]);
            prop_assert_eq!(sum, expected.iter().map(|&value| i32::from(value)).sum::<i32>());
        }
    }

    /// What is not finite stays so: the product's check of its outputs finds it.
    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut activations = Activations::new(70, Format::Int4Block64);
            let mut vector = vec![1.0; 70];
            vector[69] = bad;
            activations.set(&vector);
            let scales = activations.vector(0).scales;
            assert!(scales[0].is_finite() && !scales[1].is_finite());
        }
    }
}
