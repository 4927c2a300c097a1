//! Attention to the slots of a sentence vector.
//!
//! K slots of C = D / K numbers, and the whole vector, are the K + 1 entries that each token of the
//! sentence attends to. Their keys and values depend on the sentence alone.

use super::MatMulKernel;

/// Entries are counted in steps of so many, which the widest instructions take at once.
const LANES: usize = 8;

/// The weights of a layer's attention.
#[derive(Debug)]
pub(super) struct SlotWeights {
    /// D.
    pub hidden: usize,
    heads: usize,
    /// K + 1.
    entries: usize,
    /// Of queries.
    scale: f32,
    /// To keys and values, [D, 2 D].
    whole: Vec<f32>,
    /// [C, 2 D].
    part: Vec<f32>,
    /// Of each entry, [K + 1, 2 D].
    bias: Vec<f32>,
    /// Added to the scores, [positions, K + 1].
    position_bias: Vec<f32>,
}

/// Numbers with rows and columns.
type Matrix = (Vec<f32>, (usize, usize));

impl SlotWeights {
    /// `None` if the sizes do not fit each other.
    pub fn new(
        (whole, (hidden, width)): Matrix,
        (part, (size, part_width)): Matrix,
        (bias, (entries, bias_width)): Matrix,
        (position_bias, (positions, columns)): Matrix,
        heads: usize,
        scale: f32,
    ) -> Option<Self> {
        let slots = entries.checked_sub(1)?;
        let fits = hidden > 0
            && heads > 0
            && positions > 0
            && hidden.is_multiple_of(heads)
            && slots.checked_mul(size)? == hidden
            && [width, part_width, bias_width] == [hidden.checked_mul(2)?; 3]
            && columns == entries;
        fits.then_some(Self {
            hidden,
            heads,
            entries,
            scale,
            whole,
            part,
            bias,
            position_bias,
        })
    }

    /// Positions of a sentence.
    pub fn positions(&self) -> usize {
        self.position_bias.len() / self.entries
    }

    /// Multiplications for the keys and values of a sentence.
    pub fn memory_products(&self) -> usize {
        4 * self.hidden * self.hidden
    }

    /// Multiplications for a token.
    pub fn token_products(&self) -> usize {
        2 * self.entries * self.hidden
    }

    /// Room for the entries, of which those behind the last one stay empty.
    fn room(&self) -> usize {
        self.entries.next_multiple_of(LANES)
    }
}

/// Keys and values of a sentence.
#[derive(Clone, Debug, Default)]
pub(super) struct SlotMemory {
    sentence: Vec<f32>,
    /// [D, room].
    keys: Vec<f32>,
    /// [K + 1, D].
    values: Vec<f32>,
}

impl SlotMemory {
    /// Whether it is that of a sentence.
    pub fn is_of(&self, sentence: &[f32]) -> bool {
        self.sentence == sentence
    }

    /// Compute keys and values of a sentence vector [D].
    pub fn set(&mut self, kernel: MatMulKernel, weights: &SlotWeights, sentence: &[f32]) {
        match kernel {
            #[cfg(target_arch = "x86_64")]
            MatMulKernel::Avx2 | MatMulKernel::Avx512Vnni if MatMulKernel::Avx2.is_available() => {
                // SAFETY: the processor has AVX2.
                unsafe { self.set_avx2(weights, sentence) }
            }
            _ => self.set_plain(weights, sentence),
        }
    }

    /// What a token attends to: `query` and `mixed` are [D], `position` is one of the weights'.
    pub fn attend(
        &self,
        kernel: MatMulKernel,
        weights: &SlotWeights,
        query: &[f32],
        position: usize,
        mixed: &mut [f32],
    ) {
        match kernel {
            #[cfg(target_arch = "x86_64")]
            MatMulKernel::Avx2 | MatMulKernel::Avx512Vnni if MatMulKernel::Avx2.is_available() => {
                // SAFETY: the processor has AVX2.
                unsafe { self.attend_avx2(weights, query, position, mixed) }
            }
            _ => self.attend_plain(weights, query, position, mixed),
        }
    }

    /// # Safety
    /// The processor must have AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn set_avx2(&mut self, weights: &SlotWeights, sentence: &[f32]) {
        self.set_plain(weights, sentence);
    }

    /// # Safety
    /// The processor must have AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn attend_avx2(
        &self,
        weights: &SlotWeights,
        query: &[f32],
        position: usize,
        mixed: &mut [f32],
    ) {
        self.attend_plain(weights, query, position, mixed);
    }

    /// Inlined into a function that has more instructions, it uses them.
    #[inline(always)]
    fn set_plain(&mut self, weights: &SlotWeights, sentence: &[f32]) {
        let (hidden, room) = (weights.hidden, weights.room());
        self.sentence.clear();
        self.sentence.extend_from_slice(sentence);
        // Those of an earlier sentence are written over.
        self.keys.resize(hidden * room, 0.0);
        self.values.resize(weights.entries * hidden, 0.0);
        let slot = hidden / (weights.entries - 1);
        let mut entry = vec![0.0; 2 * hidden];
        for (number, bias) in weights.bias.chunks_exact(2 * hidden).enumerate() {
            let (input, weight) = match number {
                0 => (sentence, &weights.whole),
                _ => (&sentence[(number - 1) * slot..][..slot], &weights.part),
            };
            entry.fill(0.0);
            for (&factor, row) in input.iter().zip(weight.chunks_exact(2 * hidden)) {
                add_scaled(&mut entry, factor, row);
            }
            for (sum, bias) in entry.iter_mut().zip(bias) {
                *sum += bias;
            }
            let (key, value) = entry.split_at(hidden);
            for (keys, &key) in self.keys.chunks_exact_mut(room).zip(key) {
                keys[number] = key;
            }
            self.values[number * hidden..][..hidden].copy_from_slice(value);
        }
    }

    #[inline(always)]
    fn attend_plain(
        &self,
        weights: &SlotWeights,
        query: &[f32],
        position: usize,
        mixed: &mut [f32],
    ) {
        let (hidden, room, entries) = (weights.hidden, weights.room(), weights.entries);
        let size = hidden / weights.heads;
        let bias = &weights.position_bias[position * entries..][..entries];
        let mut scores = vec![0.0; room];
        for (head, mixed) in mixed.chunks_exact_mut(size).enumerate() {
            let query = &query[head * size..][..size];
            let keys = self.keys[head * size * room..].chunks_exact(room);
            scores.fill(0.0);
            for (query, keys) in query.iter().zip(keys) {
                add_scaled(&mut scores, query * weights.scale, keys);
            }
            let scores = &mut scores[..entries];
            for (score, bias) in scores.iter_mut().zip(bias) {
                *score += bias;
            }
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for score in scores.iter_mut() {
                *score = (*score - max).exp();
                sum += *score;
            }
            mixed.fill(0.0);
            for (score, values) in scores.iter().zip(self.values.chunks_exact(hidden)) {
                add_scaled(mixed, score / sum, &values[head * size..][..size]);
            }
        }
    }
}

/// sums += factor * row
#[inline(always)]
fn add_scaled(sums: &mut [f32], factor: f32, row: &[f32]) {
    for (sum, number) in sums.iter_mut().zip(row) {
        *sum += factor * number;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HIDDEN: usize = 24;
    const HEADS: usize = 3;
    const POSITIONS: usize = 5;

    fn matrix(rows: usize, columns: usize, seed: f32) -> Matrix {
        let numbers = (0..rows * columns).map(|n| (n as f32 * seed).sin());
        (numbers.collect(), (rows, columns))
    }

    fn weights(slots: usize, seed: f32) -> SlotWeights {
        let matrix = |rows, columns, step: f32| matrix(rows, columns, seed + step);
        SlotWeights::new(
            matrix(HIDDEN, 2 * HIDDEN, 0.1),
            matrix(HIDDEN / slots, 2 * HIDDEN, 0.2),
            matrix(slots + 1, 2 * HIDDEN, 0.3),
            matrix(POSITIONS, slots + 1, 0.4),
            HEADS,
            0.3,
        )
        .unwrap()
    }

    /// The same in f64, entry by entry.
    fn attended(
        weights: &SlotWeights,
        sentence: &[f32],
        query: &[f32],
        position: usize,
    ) -> Vec<f64> {
        let slot = HIDDEN / (weights.entries - 1);
        let entry = |number: usize, column: usize| {
            let (input, weight) = match number {
                0 => (sentence, &weights.whole),
                _ => (&sentence[(number - 1) * slot..][..slot], &weights.part),
            };
            let product = |(row, &x): (usize, &f32)| {
                f64::from(x) * f64::from(weight[row * 2 * HIDDEN + column])
            };
            let bias = f64::from(weights.bias[number * 2 * HIDDEN + column]);
            input.iter().enumerate().map(product).sum::<f64>() + bias
        };
        let size = HIDDEN / HEADS;
        let mut mixed = Vec::new();
        for head in 0..HEADS {
            let columns = head * size..(head + 1) * size;
            let score = |number: usize| {
                let product = |column: usize| f64::from(query[column]) * entry(number, column);
                let bias = weights.position_bias[position * weights.entries + number];
                f64::from(weights.scale) * columns.clone().map(product).sum::<f64>()
                    + f64::from(bias)
            };
            let powers: Vec<f64> = (0..weights.entries).map(|n| score(n).exp()).collect();
            let sum: f64 = powers.iter().sum();
            mixed.extend(columns.clone().map(|column| {
                let value = |(number, power)| power / sum * entry(number, HIDDEN + column);
                powers.iter().copied().enumerate().map(value).sum::<f64>()
            }));
        }
        mixed
    }

    fn kernels() -> impl Iterator<Item = MatMulKernel> {
        let all = MatMulKernel::ALL.into_iter();
        all.filter(|kernel| kernel.is_available())
    }

    proptest! {
        #[test]
        fn every_entry_is_attended_to(
            slots in prop::sample::select(vec![1usize, 2, 3, 8, 24]),
            seed in 0.01f32..1.0,
            sentence in prop::collection::vec(-2f32..2.0, HIDDEN),
            query in prop::collection::vec(-2f32..2.0, HIDDEN),
            position in 0..POSITIONS,
        ) {
            let weights = weights(slots, seed);
            prop_assert_eq!(weights.positions(), POSITIONS);
            let expected = attended(&weights, &sentence, &query, position);
            for kernel in kernels() {
                let mut memory = SlotMemory::default();
                prop_assert!(!memory.is_of(&sentence));
                memory.set(kernel, &weights, &sentence);
                prop_assert!(memory.is_of(&sentence));
                let mut mixed = [0.0; HIDDEN];
                memory.attend(kernel, &weights, &query, position, &mut mixed);
                for (&found, &expected) in mixed.iter().zip(&expected) {
                    prop_assert!((f64::from(found) - expected).abs() < 1e-3, "{found} {expected}");
                }
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let fits = |whole, part, bias, position_bias, heads| {
            let matrix = |(rows, columns)| matrix(rows, columns, 0.1);
            let (whole, part) = (matrix(whole), matrix(part));
            let (bias, position_bias) = (matrix(bias), matrix(position_bias));
            SlotWeights::new(whole, part, bias, position_bias, heads, 1.0).is_some()
        };
        assert!(fits((8, 16), (2, 16), (5, 16), (3, 5), 2));
        for (whole, part, bias, position_bias, heads) in [
            ((8, 15), (2, 16), (5, 16), (3, 5), 2),
            ((8, 16), (2, 15), (5, 16), (3, 5), 2),
            ((8, 16), (3, 16), (5, 16), (3, 5), 2),
            ((8, 16), (2, 16), (4, 16), (3, 5), 2),
            ((8, 16), (2, 16), (5, 15), (3, 5), 2),
            ((8, 16), (2, 16), (5, 16), (3, 4), 2),
            ((8, 16), (2, 16), (5, 16), (0, 5), 2),
            ((8, 16), (2, 16), (0, 16), (3, 0), 2),
            ((0, 0), (0, 0), (5, 0), (3, 5), 2),
            ((8, 16), (2, 16), (5, 16), (3, 5), 3),
            ((8, 16), (2, 16), (5, 16), (3, 5), 0),
        ] {
            assert!(!fits(whole, part, bias, position_bias, heads));
        }
    }
}
