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
        self.keys.clear();
        self.keys.resize(hidden * room, 0.0);
        self.values.clear();
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
