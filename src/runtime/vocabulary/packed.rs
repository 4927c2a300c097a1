//! The 4-bit weights of a vocabulary, in the order in which a kernel reads them.

use std::slice;

use super::pattern::BLOCK;

/// Values of an activation that are multiplied with one value of each lane at a time.
const QUAD: usize = 4;
const QUADS: usize = BLOCK / QUAD;
/// A code of the weight 0 in both halves.
const ZEROS: u8 = 0x88;

/// The weight [vocab, K] and bias [vocab], in groups of tokens: one for each lane of a kernel.
///
/// A block of a group is `QUADS / 2` times `lanes` quads: the quad `q` of each lane in the lower four
/// bits, and the quad `q + QUADS / 2` in the upper ones.
#[derive(Debug)]
pub(super) struct Packed {
    pub lanes: usize,
    pub vocab: usize,
    pub blocks: usize,
    /// [group][block][line]
    codes: Vec<Line>,
    /// [group][block][lane]
    scales: Vec<f32>,
    /// [group][lane]; of no token where there are more lanes than tokens: -infinity.
    bias: Vec<f32>,
}

/// A line of the processor's cache.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([[u8; QUAD]; Line::QUADS]);

impl Line {
    const QUADS: usize = 64 / QUAD;
}

/// The tokens of one group.
pub(super) struct Group<'a> {
    /// [block][quad][lane]
    codes: &'a [[u8; QUAD]],
    /// [block][lane]
    scales: &'a [f32],
    /// One for each lane.
    pub bias: &'a [f32],
}

impl<'a> Group<'a> {
    /// `QUADS / 2` times as many quads as there are lanes.
    #[inline(always)]
    pub fn block_codes(&self, block: usize) -> &'a [[u8; QUAD]] {
        let size = self.bias.len() * QUADS / 2;
        &self.codes[block * size..][..size]
    }

    /// One for each lane.
    #[inline(always)]
    pub fn block_scales(&self, block: usize) -> &'a [f32] {
        let lanes = self.bias.len();
        &self.scales[block * lanes..][..lanes]
    }
}

/// Bytes of the codes of one block of a token.
pub(super) const BLOCK_BYTES: usize = BLOCK / 2;

impl Packed {
    /// `codes` [vocab, blocks, BLOCK_BYTES], lower half of a byte first, and `scales` [vocab, blocks];
    /// a bias of 0 where there is none.
    ///
    /// `None` if the sizes do not fit each other. `lanes` is a multiple of 4.
    pub fn new(
        codes: &[u8],
        scales: &[f32],
        bias: Option<&[f32]>,
        vocab: usize,
        lanes: usize,
    ) -> Option<Self> {
        let blocks = scales.len() / vocab.max(1);
        let fits = blocks > 0
            && scales.len() == vocab * blocks
            && codes.len() == scales.len() * BLOCK_BYTES
            && bias.is_none_or(|bias| bias.len() == vocab);
        if !fits {
            return None;
        }
        let groups = vocab.div_ceil(lanes);
        let mut packed = Self {
            lanes,
            vocab,
            blocks,
            codes: vec![
                Line([[ZEROS; QUAD]; Line::QUADS]);
                groups * blocks * lanes * QUADS / 2 / Line::QUADS
            ],
            scales: vec![0.0; groups * blocks * lanes],
            bias: vec![f32::NEG_INFINITY; groups * lanes],
        };
        let all = quads_mut(&mut packed.codes);
        for (number, codes) in codes.chunks_exact(BLOCK_BYTES).enumerate() {
            let (token, block) = (number / blocks, number % blocks);
            let (group, lane) = (token / lanes, token % lanes);
            let place = group * blocks + block;
            packed.scales[place * lanes + lane] = scales[number];
            let quads = &mut all[place * lanes * QUADS / 2..][..lanes * QUADS / 2];
            let (lower, upper) = codes.split_at(BLOCK_BYTES / 2);
            let pairs = lower.chunks_exact(2).zip(upper.chunks_exact(2));
            for (quad, (lower, upper)) in quads.chunks_exact_mut(lanes).zip(pairs) {
                quad[lane] = (spread(lower) | spread(upper) << 4).to_le_bytes();
            }
        }
        match bias {
            Some(bias) => packed.bias[..vocab].copy_from_slice(bias),
            None => packed.bias[..vocab].fill(0.0),
        }
        Some(packed)
    }

    pub fn bias_of(&self, token: usize) -> f32 {
        self.bias[token]
    }

    pub fn groups(&self) -> usize {
        self.bias.len() / self.lanes
    }

    pub fn group(&self, number: usize) -> Group<'_> {
        let values = self.blocks * self.lanes;
        let size = values * QUADS / 2;
        Group {
            codes: &quads(&self.codes)[number * size..][..size],
            scales: &self.scales[number * values..][..values],
            bias: &self.bias[number * self.lanes..][..self.lanes],
        }
    }
}

fn quads(lines: &[Line]) -> &[[u8; QUAD]] {
    // SAFETY: a line is an array of `Line::QUADS` quads and nothing else.
    unsafe { slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * Line::QUADS) }
}

fn quads_mut(lines: &mut [Line]) -> &mut [[u8; QUAD]] {
    // SAFETY: as above, and any bytes are a line.
    unsafe { slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * Line::QUADS) }
}

/// Four codes of four bits as four bytes.
fn spread(codes: &[u8]) -> u32 {
    let pairs = u32::from(codes[0]) | u32::from(codes[1]) << 16;
    (pairs | pairs << 4) & 0x0f0f_0f0f
}
