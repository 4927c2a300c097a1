//! Finds the nodes of a graph that attend to the slots of a sentence vector.

use super::{
    onnx::{Node, Tensor},
    producers::Producers,
    product::Constants,
    slot_memory::SlotWeights,
};
use crate::runtime::ExternalData;

/// Such nodes, as `slots.attend` of the exporter writes them: from the query to the mixed values.
pub(super) struct SlotAttention<'a> {
    /// f32 [batch, tokens, D].
    query: &'a [u8],
    /// Sentence vectors f32 [batch, D], normed.
    sentence: &'a [u8],
    /// i64 [batch, tokens].
    position_ids: &'a [u8],
    /// f32 [batch, tokens, D].
    pub output: &'a [u8],
    /// f32, or f16, [D, 2 D].
    whole: &'a [u8],
    /// f32, or f16, [C, 2 D].
    part: &'a [u8],
    /// f32 [K + 1, 2 D].
    bias: &'a [u8],
    /// f32 [positions, K + 1].
    position_bias: &'a [u8],
    /// The shape of what is divided into heads, i64 [4].
    heads: &'a [u8],
    /// f32, one number.
    scale: &'a [u8],
}

impl<'a> SlotAttention<'a> {
    /// `None` unless `node` is the last one of such nodes.
    pub fn ending_in(node: &Node<'a>, nodes: &[Node<'a>]) -> Option<Self> {
        if node.op_type != b"Reshape" {
            return None;
        }
        let producers = &mut Producers::new(nodes);
        let (&[mixed, _], &[output]) = (&node.inputs[..], &node.outputs[..]) else {
            return None;
        };
        let [mixed] = producers.inputs(mixed, "Transpose")?;
        let [attention, values] = producers.inputs(mixed, "MatMul")?;
        let [scores] = producers.inputs(attention, "Softmax")?;
        let [scores, bias] = producers.inputs(scores, "Add")?;
        let [bias, _] = producers.inputs(bias, "Unsqueeze")?;
        let [position_bias, position_ids] = producers.inputs(bias, "Gather")?;
        let [query, keys] = producers.inputs(scores, "MatMul")?;
        let [query, scale] = producers.inputs(query, "Mul")?;
        let [keys] = producers.inputs(keys, "Transpose")?;
        let (query, heads) = of_heads(producers, query)?;
        let (keys, heads_of_keys) = of_heads(producers, keys)?;
        let (values, heads_of_values) = of_heads(producers, values)?;
        let split = producers.of(keys, "Split")?;
        let (&[entries, ..], [first, second]) = (&split.inputs[..], &split.outputs[..]) else {
            return None;
        };
        let [entries, bias] = producers.inputs(entries, "Add")?;
        let [whole, parts] = producers.inputs(entries, "Concat")?;
        let (whole, whole_weight) = of_weight(producers, whole)?;
        let (parts, part_weight) = of_weight(producers, parts)?;
        let [sentence, _] = producers.inputs(whole, "Unsqueeze")?;
        let [same_sentence, _] = producers.inputs(parts, "Reshape")?;
        let fits = (*first, *second) == (keys, values)
            && (heads, heads) == (heads_of_keys, heads_of_values)
            && sentence == same_sentence;
        fits.then_some(Self {
            query,
            sentence,
            position_ids,
            output,
            whole: whole_weight,
            part: part_weight,
            bias,
            position_bias,
            heads,
            scale,
        })
    }

    /// The values that the operator reads.
    pub fn inputs(&self) -> [&'a [u8]; 3] {
        [self.query, self.sentence, self.position_ids]
    }

    /// Its weights; `None` if they cannot be read, or do not fit each other.
    pub fn weights(
        &self,
        constants: &Constants<'_>,
        external_data: &ExternalData,
    ) -> Option<SlotWeights> {
        let matrix = |name: &[u8]| {
            let tensor: &Tensor<'_> = constants.get(name)?;
            let &[rows, columns] = tensor.dims() else {
                return None;
            };
            let numbers = tensor
                .floats(external_data)
                .or_else(|| tensor.halves(external_data));
            Some((numbers?, (rows.try_into().ok()?, columns.try_into().ok()?)))
        };
        let heads = constants.get(self.heads)?.integers(external_data)?;
        let &[0, 0, heads, -1] = &heads[..] else {
            return None;
        };
        let &[scale] = &constants.get(self.scale)?.floats(external_data)?[..] else {
            return None;
        };
        SlotWeights::new(
            matrix(self.whole)?,
            matrix(self.part)?,
            matrix(self.bias)?,
            matrix(self.position_bias)?,
            usize::try_from(heads).ok()?,
            scale,
        )
    }
}

/// What is divided into heads, and the shape with their number.
fn of_heads<'a>(producers: &mut Producers<'_, 'a>, value: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let [value] = producers.inputs(value, "Transpose")?;
    let [value, heads] = producers.inputs(value, "Reshape")?;
    Some((value, heads))
}

/// What is multiplied with a weight, and the weight, which may be stored in half precision.
fn of_weight<'a>(producers: &mut Producers<'_, 'a>, value: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let [value, weight] = producers.inputs(value, "MatMul")?;
    let stored = producers.inputs(weight, "Cast").map(|[stored]| stored);
    Some((value, stored.unwrap_or(weight)))
}
