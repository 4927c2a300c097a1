//! Finds the nodes of a graph that rank its vocabulary, and replaces them with one custom operator.
//!
//! Field numbers are those of onnx.proto, which never change.

use std::collections::BTreeMap;

use super::operator::{DOMAIN, NAME};
use crate::protobuf::{Content, Field, Fields, put_bytes, put_integer};

const PRODUCER: &[u8] = b"sllm_export";
const BITS: u64 = 4;
pub(super) const BLOCK: usize = 128;

mod model {
    pub const PRODUCER_NAME: u64 = 2;
    pub const GRAPH: u64 = 7;
    pub const OPSET_IMPORT: u64 = 8;
}

mod opset {
    pub const DOMAIN: u64 = 1;
    pub const VERSION: u64 = 2;
}

mod graph {
    pub const NODE: u64 = 1;
}

mod node {
    pub const INPUT: u64 = 1;
    pub const OUTPUT: u64 = 2;
    pub const OP_TYPE: u64 = 4;
    pub const ATTRIBUTE: u64 = 5;
    pub const DOMAIN: u64 = 7;
}

mod attribute {
    pub const NAME: u64 = 1;
    pub const INTEGER: u64 = 3;
}

/// What is read of a node.
#[derive(Default)]
struct Node<'a> {
    op_type: &'a [u8],
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
    integers: BTreeMap<&'a [u8], u64>,
}

/// The values that the operator needs.
struct Ranking<'a> {
    /// Hidden vectors f32 [..., K].
    hidden: &'a [u8],
    codes: &'a [u8],
    scales: &'a [u8],
    /// The weight's rows f16 [vocab, K].
    rows: &'a [u8],
    /// How many tokens get exact logits, i64 [1].
    count: &'a [u8],
    bias: Option<&'a [u8]>,
    /// Whether all logits are wanted, a bool.
    wanted: &'a [u8],
    /// The indices of the nodes that the operator replaces.
    nodes: Vec<usize>,
}

/// `model` with the operator in place of the nodes that rank; `None` if it has no such nodes.
pub(crate) fn with_operator(model: &[u8]) -> Option<Vec<u8>> {
    let fields = fields(model)?;
    let is_ours = |field: &Field<'_>| {
        field.number == model::PRODUCER_NAME && field.bytes().starts_with(PRODUCER)
    };
    if !fields.iter().any(is_ours) {
        return None;
    }
    let mut changed = Vec::with_capacity(model.len());
    for field in fields {
        if field.number == model::GRAPH {
            put_bytes(&mut changed, model::GRAPH, &with_node(field.bytes())?);
        } else {
            changed.extend_from_slice(field.encoded);
        }
    }
    let mut import = Vec::new();
    put_bytes(&mut import, opset::DOMAIN, DOMAIN.as_bytes());
    put_integer(&mut import, opset::VERSION, 1);
    put_bytes(&mut changed, model::OPSET_IMPORT, &import);
    Some(changed)
}

fn with_node(graph: &[u8]) -> Option<Vec<u8>> {
    let fields = fields(graph)?;
    let nodes = fields.iter().filter(|field| field.number == graph::NODE);
    let nodes: Vec<Node<'_>> = nodes
        .map(|field| Node::read(field.bytes()))
        .collect::<Option<_>>()?;
    let ranking = Ranking::find(&nodes)?;
    let mut changed = Vec::with_capacity(graph.len());
    let mut number = 0..;
    for field in &fields {
        let replaced = field.number == graph::NODE
            && number.next().is_some_and(|n| ranking.nodes.contains(&n));
        if !replaced {
            changed.extend_from_slice(field.encoded);
        }
    }
    put_bytes(&mut changed, graph::NODE, &ranking.node());
    Some(changed)
}

fn fields(message: &[u8]) -> Option<Vec<Field<'_>>> {
    Fields::new(message).collect::<Result<_, _>>().ok()
}

impl<'a> Node<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let mut read = Self::default();
        for field in Fields::new(message) {
            let field = field.ok()?;
            match field.number {
                node::INPUT => read.inputs.push(field.bytes()),
                node::OUTPUT => read.outputs.push(field.bytes()),
                node::OP_TYPE => read.op_type = field.bytes(),
                node::ATTRIBUTE => read.read_attribute(field.bytes())?,
                _ => (),
            }
        }
        Some(read)
    }

    fn read_attribute(&mut self, message: &'a [u8]) -> Option<()> {
        let (mut name, mut integer) = (&[][..], None);
        for field in Fields::new(message) {
            let field = field.ok()?;
            match (field.number, field.content) {
                (attribute::NAME, Content::Bytes(bytes)) => name = bytes,
                (attribute::INTEGER, Content::Varint(value)) => integer = Some(value),
                _ => (),
            }
        }
        self.integers.extend(integer.map(|value| (name, value)));
        Some(())
    }

    fn integer(&self, name: &str) -> Option<u64> {
        self.integers.get(name.as_bytes()).copied()
    }
}

/// The nodes of a graph by what they compute; those that were asked for are remembered.
struct Producers<'n, 'a> {
    nodes: &'n [Node<'a>],
    asked: Vec<usize>,
}

impl<'n, 'a> Producers<'n, 'a> {
    /// The node that computes `value`, if it is of this type.
    fn of(&mut self, value: &[u8], op_type: &str) -> Option<&'n Node<'a>> {
        let computes = |node: &Node<'_>| node.outputs.contains(&value);
        let number = self.nodes.iter().position(computes)?;
        let node = &self.nodes[number];
        self.asked.push(number);
        (node.op_type == op_type.as_bytes()).then_some(node)
    }
}

impl<'a> Ranking<'a> {
    /// Follow the outputs of `best_logits` of the exporter back to where it begins.
    fn find(nodes: &[Node<'a>]) -> Option<Self> {
        let mut producers = Producers {
            nodes,
            asked: Vec::new(),
        };
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
        let product = producers.of(coarse, "MatMulNBits")?;
        let is_coarse = product.integer("bits") == Some(BITS)
            && product.integer("block_size") == Some(BLOCK as u64);
        let [hidden, codes, scales, ref others @ ..] = product.inputs[..] else {
            return None;
        };
        let (bias, zero_points) = match *others {
            [ref zero_points @ .., bias] if zero_points.len() == 2 => (Some(bias), zero_points),
            ref zero_points => (None, zero_points),
        };
        if !is_coarse || zero_points.iter().any(|name| !name.is_empty()) {
            return None;
        }
        let scores = match bias {
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
        let product = *producers.of(scores, "Squeeze")?.inputs.first()?;
        let [rows, column] = producers.of(product, "MatMul")?.inputs[..] else {
            return None;
        };
        let column = producers.of(column, "Unsqueeze")?;
        let rows = *producers.of(rows, "Cast")?.inputs.first()?;
        let [rows, gathered] = producers.of(rows, "Gather")?.inputs[..] else {
            return None;
        };
        if gathered != ids || column.inputs.first() != Some(&hidden) {
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
            hidden,
            codes,
            scales,
            rows,
            count,
            bias,
            wanted,
            nodes: producers.asked,
        })
    }

    /// The operator's node.
    fn node(&self) -> Vec<u8> {
        let mut node = Vec::new();
        let inputs = [
            self.hidden,
            self.wanted,
            self.codes,
            self.scales,
            self.rows,
            self.count,
        ];
        for input in inputs.into_iter().chain(self.bias) {
            put_bytes(&mut node, node::INPUT, input);
        }
        for output in ["candidate_ids", "candidate_logits", "logits"] {
            put_bytes(&mut node, node::OUTPUT, output.as_bytes());
        }
        put_bytes(&mut node, node::OP_TYPE, NAME.as_bytes());
        put_bytes(&mut node, node::DOMAIN, DOMAIN.as_bytes());
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("tests/golden/{name}")).unwrap()
    }

    #[test]
    fn graphs_that_rank_in_four_bits_are_changed() {
        for (name, expected) in [
            ("bundle-fast/cpu-int8/decoder.onnx", true),
            ("bundle-opt-fast/cpu-int8/opt.onnx", true),
            ("bundle/cpu-int8/decoder.onnx", false),
            ("bundle/portable/decoder.onnx", false),
            ("bundle-half/cuda-fp16/decoder.onnx", false),
            ("bundle-fast/cpu-int8/backbone.onnx", false),
        ] {
            let changed = with_operator(&file(name));
            assert_eq!(changed.is_some(), expected, "{name}");
        }
    }

    #[test]
    fn the_operator_takes_the_place_of_the_nodes() {
        let model = file("bundle-fast/cpu-int8/decoder.onnx");
        let changed = with_operator(&model).unwrap();
        let count = |model: &[u8]| {
            let graph = fields(model).unwrap();
            let graph = graph
                .iter()
                .find(|field| field.number == model::GRAPH)
                .unwrap();
            let nodes = fields(graph.bytes()).unwrap();
            nodes
                .iter()
                .filter(|field| field.number == graph::NODE)
                .count()
        };
        assert_eq!(count(&changed) + 11, count(&model));
        // There is nothing left to replace.
        assert!(with_operator(&changed).is_none());
    }

    #[test]
    fn a_graph_that_is_cut_short_stays_as_it_is() {
        let model = file("bundle-fast/cpu-int8/decoder.onnx");
        for length in (0..model.len()).step_by(997) {
            assert!(with_operator(&model[..length]).is_none(), "{length}");
        }
    }
}
