//! Weights of 4 or 8 bits, in the order in which a kernel reads them.

use std::slice;

use super::huge_pages::vec_of_huge_pages;

/// Values of an activation that are multiplied with one value of each lane at a time.
const QUAD: usize = 4;

/// Bits of a weight, and how many weights have one scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Int4Block64,
    Int4Block128,
    Int8Block16,
    Int8Block128,
}

impl Format {
    pub const ALL: [Self; 4] = [
        Self::Int4Block64,
        Self::Int4Block128,
        Self::Int8Block16,
        Self::Int8Block128,
    ];

    /// `None` for one that no kernel reads.
    pub fn new(bits: u64, block: u64) -> Option<Self> {
        let is_it = |format: &Self| (format.bits() as u64, format.block() as u64) == (bits, block);
        Self::ALL.into_iter().find(is_it)
    }

    pub const fn bits(self) -> usize {
        match self {
            Self::Int4Block64 | Self::Int4Block128 => 4,
            Self::Int8Block16 | Self::Int8Block128 => 8,
        }
    }

    /// Weights of a block.
    pub const fn block(self) -> usize {
        match self {
            Self::Int8Block16 => 16,
            Self::Int4Block64 => 64,
            Self::Int4Block128 | Self::Int8Block128 => 128,
        }
    }

    /// Bytes of the codes of a block.
    pub const fn block_bytes(self) -> usize {
        self.block() * self.bits() / 8
    }

    /// The code of the weight 0.
    pub const fn zero(self) -> i32 {
        1 << (self.bits() - 1)
    }

    /// Quads that the codes of a block are stored in.
    const fn quads(self) -> usize {
        self.block_bytes() / QUAD
    }

    /// A byte of codes of the weight 0.
    const fn zeros(self) -> u8 {
        match self.bits() {
            4 => 0x88,
            _ => 0x80,
        }
    }
}

/// A weight [rows, columns] and a bias [rows], in groups of rows: one for each lane of a kernel.
///
/// A block of a group is as many quads for each lane as `Format::quads` says. With 4 bits, the quads of
/// the first half of a block are in the lower bits, and those of the second half in the upper ones.
#[derive(Debug)]
pub(super) struct Packed {
    pub format: Format,
    pub lanes: usize,
    pub rows: usize,
    pub blocks: usize,
    /// [group][block][line]
    codes: Vec<Line>,
    /// [group][block][lane]
    scales: Vec<f32>,
    /// [group][lane]; of no row where there are more lanes than rows: -infinity.
    bias: Vec<f32>,
}

/// A line of the processor's cache.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([[u8; QUAD]; Line::QUADS]);

impl Line {
    const QUADS: usize = 64 / QUAD;
}

/// The rows of one group.
pub(super) struct Group<'a> {
    quads: usize,
    /// [block][quad][lane]
    codes: &'a [[u8; QUAD]],
    /// [block][lane]
    scales: &'a [f32],
    /// One for each lane.
    pub bias: &'a [f32],
}

impl<'a> Group<'a> {
    /// As many quads for each lane as the format has.
    #[inline(always)]
    pub fn block_codes(&self, block: usize) -> &'a [[u8; QUAD]] {
        let size = self.bias.len() * self.quads;
        &self.codes[block * size..][..size]
    }

    /// One for each lane.
    #[inline(always)]
    pub fn block_scales(&self, block: usize) -> &'a [f32] {
        let lanes = self.bias.len();
        &self.scales[block * lanes..][..lanes]
    }
}

impl Packed {
    /// `codes` [rows, blocks, bytes], of 4 bits the lower half of a byte first, and `scales` [rows,
    /// blocks]; a bias of 0 where there is none.
    ///
    /// `None` if the sizes do not fit each other. `lanes` is a multiple of 4.
    pub fn new(
        codes: &[u8],
        scales: &[f32],
        bias: Option<&[f32]>,
        rows: usize,
        format: Format,
        lanes: usize,
    ) -> Option<Self> {
        let blocks = scales.len() / rows.max(1);
        let fits = blocks > 0
            && scales.len() == rows * blocks
            && codes.len() == scales.len() * format.block_bytes()
            && bias.is_none_or(|bias| bias.len() == rows);
        if !fits {
            return None;
        }
        let groups = rows.div_ceil(lanes);
        let size = lanes * format.quads();
        let line = Line([[format.zeros(); QUAD]; Line::QUADS]);
        let mut packed = Self {
            format,
            lanes,
            rows,
            blocks,
            codes: vec_of_huge_pages(line, groups * blocks * size / Line::QUADS),
            scales: vec![0.0; groups * blocks * lanes],
            bias: vec![f32::NEG_INFINITY; groups * lanes],
        };
        let all = quads_mut(&mut packed.codes);
        for (number, codes) in codes.chunks_exact(format.block_bytes()).enumerate() {
            let (row, block) = (number / blocks, number % blocks);
            let (group, lane) = (row / lanes, row % lanes);
            let place = group * blocks + block;
            packed.scales[place * lanes + lane] = scales[number];
            let quads = all[place * size..][..size].chunks_exact_mut(lanes);
            match format.bits() {
                4 => pack_halves(codes, quads.map(|quad| &mut quad[lane])),
                _ => {
                    let (codes, _) = codes.as_chunks();
                    for (quad, codes) in quads.zip(codes) {
                        quad[lane] = *codes;
                    }
                }
            }
        }
        match bias {
            Some(bias) => packed.bias[..rows].copy_from_slice(bias),
            None => packed.bias[..rows].fill(0.0),
        }
        Some(packed)
    }

    pub fn bias_of(&self, row: usize) -> f32 {
        self.bias[row]
    }

    /// Bytes of the codes of a group.
    pub fn group_bytes(&self) -> usize {
        self.blocks * self.lanes * self.format.block_bytes()
    }

    pub fn groups(&self) -> usize {
        self.bias.len() / self.lanes
    }

    pub fn group(&self, number: usize) -> Group<'_> {
        let values = self.blocks * self.lanes;
        let size = values * self.format.quads();
        Group {
            quads: self.format.quads(),
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

/// Puts codes of 4 bits into quads of both halves of the block.
fn pack_halves<'a>(codes: &[u8], quads: impl Iterator<Item = &'a mut [u8; QUAD]>) {
    let (lower, upper) = codes.split_at(codes.len() / 2);
    let pairs = lower.chunks_exact(2).zip(upper.chunks_exact(2));
    for (quad, (lower, upper)) in quads.zip(pairs) {
        *quad = (spread(lower) | spread(upper) << 4).to_le_bytes();
    }
}

/// Four codes of four bits as four bytes.
fn spread(codes: &[u8]) -> u32 {
    let pairs = u32::from(codes[0]) | u32::from(codes[1]) << 16;
    (pairs | pairs << 4) & 0x0f0f_0f0f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        for format in Format::ALL {
            let bytes = format.block_bytes();
            let new = |codes: usize, scales: usize, bias: usize, rows: usize| {
                let (codes, scales) = (vec![0; codes], vec![0.0; scales]);
                Packed::new(&codes, &scales, Some(&vec![0.0; bias]), rows, format, 8).is_some()
            };
            assert!(new(10 * bytes, 10, 5, 5));
            assert!(!new(10 * bytes, 10, 4, 5));
            assert!(!new(9 * bytes, 10, 5, 5));
            assert!(!new(11 * bytes, 11, 5, 5));
            assert!(!new(0, 0, 0, 0));
        }
    }
}
