//! Finds the nodes of a graph that rank its vocabulary.

use super::{onnx::Node, producers::Producers, product::Product};

/// The values of such nodes.
pub(super) struct Ranking<'a> {
    /// The coarse scores of hidden vectors.
    pub product: Product<'a>,
    /// The weight's rows f16 [vocab, K].
    pub rows: &'a [u8],
    /// How many tokens get exact logits, i64 [1].
    pub count: &'a [u8],
    /// Whether all logits are wanted, a bool.
    pub wanted: &'a [u8],
    /// The indices of the nodes.
    pub nodes: Vec<usize>,
}

impl<'a> Ranking<'a> {
    /// Follow the outputs of `best_logits` of the exporter back to where it begins.
    pub fn find(nodes: &[Node<'a>]) -> Option<Self> {
        let mut producers = Producers::new(nodes);
        let [ids, order] = producers.of(b"candidate_ids", "GatherElements")?.inputs[..] else {
            return None;
        };
        let best = producers.of(b"candidate_logits", "TopK")?;
        let [exact, count] = best.inputs[..] else {
            return None;
        };
        let choice = producers.of(b"logits", "If")?;
        let [wanted] = choice.inputs[..] else {
            return None;
        };
        let top = producers.of(ids, "TopK")?;
        let [coarse, coarse_count] = top.inputs[..] else {
            return None;
        };
        let is_ordered = best.outputs.get(1) == Some(&order) && top.outputs.get(1) == Some(&ids);
        if !is_ordered || coarse_count != count {
            return None;
        }
        let product = Product::of(producers.of(coarse, "MatMulNBits")?)?;
        let scores = match product.bias {
            None => exact,
            Some(bias) => {
                let [scores, chosen] = producers.of(exact, "Add")?.inputs[..] else {
                    return None;
                };
                if producers.of(chosen, "Gather")?.inputs != [bias, ids] {
                    return None;
                }
                scores
            }
        };
        let exact = *producers.of(scores, "Squeeze")?.inputs.first()?;
        let [rows, column] = producers.of(exact, "MatMul")?.inputs[..] else {
            return None;
        };
        let column = producers.of(column, "Unsqueeze")?;
        let rows = *producers.of(rows, "Cast")?.inputs.first()?;
        let [rows, gathered] = producers.of(rows, "Gather")?.inputs[..] else {
            return None;
        };
        if gathered != ids || column.inputs.first() != Some(&product.input) {
            return None;
        }
        let replaced = &producers.asked;
        let is_used_elsewhere = nodes.iter().enumerate().any(|(number, node)| {
            let of_replaced = |input: &&[u8]| {
                let mut outputs = replaced.iter().flat_map(|&number| &nodes[number].outputs);
                outputs.any(|output| output == input)
            };
            !replaced.contains(&number) && node.inputs.iter().any(of_replaced)
        });
        if is_used_elsewhere {
            return None;
        }
        Some(Self {
            product,
            rows,
            count,
            wanted,
            nodes: producers.asked,
        })
    }

    /// The values that the operator reads.
    pub fn inputs(&self) -> [&'a [u8]; 4] {
        [self.product.input, self.wanted, self.rows, self.count]
    }
}
