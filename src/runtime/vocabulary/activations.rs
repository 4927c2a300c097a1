//! Hidden vectors rounded to 8 bits, in blocks.

use super::pattern::BLOCK;

/// The middle of the codes of 4 bits: the code of the weight 0.
const ZERO: i32 = 8;
const LARGEST: f32 = 127.0;

/// Hidden vectors, each padded to whole blocks.
#[derive(Debug, Default)]
pub(super) struct Activations {
    blocks: usize,
    /// [vector][block][BLOCK]
    values: Vec<[i8; BLOCK]>,
    /// [vector][block]
    scales: Vec<f32>,
    /// -ZERO times the sum of a block, which makes codes to weights in a product, [vector][block].
    corrections: Vec<i32>,
}

/// One vector.
#[derive(Clone, Copy)]
pub(super) struct Activation<'a> {
    pub values: &'a [[i8; BLOCK]],
    pub scales: &'a [f32],
    pub corrections: &'a [i32],
}

impl Activations {
    /// Round vectors of `columns` numbers, which are concatenated.
    pub fn set(&mut self, vectors: &[f32], columns: usize) {
        self.blocks = columns.div_ceil(BLOCK);
        self.values.clear();
        self.scales.clear();
        self.corrections.clear();
        for block in vectors
            .chunks_exact(columns)
            .flat_map(|vector| vector.chunks(BLOCK))
        {
            let largest = block
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            let inverse = if largest > 0.0 {
                LARGEST / largest
            } else {
                0.0
            };
            let mut values = [0i8; BLOCK];
            for (rounded, &value) in values.iter_mut().zip(block) {
                *rounded = (value * inverse).round_ties_even() as i8;
            }
            let sum: i32 = values.iter().map(|&value| i32::from(value)).sum();
            self.values.push(values);
            self.scales.push(largest / LARGEST);
            self.corrections.push(-ZERO * sum);
        }
    }

    pub fn len(&self) -> usize {
        self.values.len() / self.blocks.max(1)
    }

    pub fn vector(&self, number: usize) -> Activation<'_> {
        let blocks = number * self.blocks..(number + 1) * self.blocks;
        Activation {
            values: &self.values[blocks.clone()],
            scales: &self.scales[blocks.clone()],
            corrections: &self.corrections[blocks],
        }
    }
}
