//! A product with weights of a few bits, as graphs have it.

use std::collections::BTreeMap;

use super::{
    onnx::{Node, Tensor},
    packed::{Format, Packed},
};
use crate::runtime::ExternalData;

pub(super) type Constants<'a> = BTreeMap<&'a [u8], Tensor<'a>>;

/// A node `MatMulNBits` that a kernel can take the place of.
#[derive(Clone, Debug)]
pub(super) struct Product<'a> {
    /// Vectors f32 [..., columns].
    pub input: &'a [u8],
    /// f32 [..., rows].
    pub output: &'a [u8],
    /// u8 [rows, blocks, bytes].
    pub codes: &'a [u8],
    /// f32 [rows, blocks].
    pub scales: &'a [u8],
    /// f32 [rows].
    pub bias: Option<&'a [u8]>,
    format: Format,
    rows: usize,
    columns: usize,
}

/// Products count in 32 bits: more columns than any model has.
const MAX_COLUMNS: usize = 1 << 20;

impl<'a> Product<'a> {
    /// `None` for any other node.
    pub fn of(node: &Node<'a>) -> Option<Self> {
        // Of level 4: activations may be rounded to 8 bits.
        if node.op_type != b"MatMulNBits" || node.integer("accuracy_level") != Some(4) {
            return None;
        }
        let format = Format::new(
            node.integer("bits").unwrap_or(4),
            node.integer("block_size")?,
        )?;
        let size = |name| usize::try_from(node.integer(name)?).ok();
        let (rows, columns) = (size("N")?, size("K")?);
        let [input, codes, scales, ref others @ ..] = node.inputs[..] else {
            return None;
        };
        let (bias, others) = match *others {
            // Zero points, group indices, bias.
            [ref others @ .., bias] if others.len() == 2 => (Some(bias), others),
            ref others => (None, others),
        };
        let &[output] = &node.outputs[..] else {
            return None;
        };
        let fits = (1..=MAX_COLUMNS).contains(&columns) && rows > 0;
        if !fits || others.iter().any(|name| !name.is_empty()) {
            return None;
        }
        Some(Self {
            input,
            output,
            codes,
            scales,
            bias,
            format,
            rows,
            columns,
        })
    }

    /// The constants that nothing else may need.
    pub fn constants(&self) -> impl Iterator<Item = &'a [u8]> {
        [self.codes, self.scales].into_iter().chain(self.bias)
    }

    /// Whether all of its weights are constants of the graph.
    pub fn is_constant(&self, constants: &Constants<'_>) -> bool {
        self.constants().all(|name| constants.contains_key(name))
    }

    /// Its weights for a kernel with so many lanes.
    pub fn weights(
        &self,
        constants: &Constants<'_>,
        external_data: &ExternalData,
        lanes: usize,
    ) -> Option<Weights> {
        let codes = constants.get(self.codes)?.bytes(external_data)?;
        let scales = constants.get(self.scales)?.floats(external_data)?;
        let bias = match self.bias {
            Some(bias) => Some(constants.get(bias)?.floats(external_data)?),
            None => None,
        };
        let packed = Packed::new(
            &codes,
            &scales,
            bias.as_deref(),
            self.rows,
            self.format,
            lanes,
        )?;
        let fits = packed.blocks == self.columns.div_ceil(self.format.block());
        fits.then_some(Weights {
            packed,
            columns: self.columns,
        })
    }
}

/// The weights of a product.
#[derive(Debug)]
pub(super) struct Weights {
    pub packed: Packed,
    /// Numbers of a vector that it is multiplied with.
    pub columns: usize,
}
