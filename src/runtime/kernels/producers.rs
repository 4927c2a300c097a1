//! Follows values of a graph back to the nodes that compute them.

use super::onnx::Node;

/// The nodes of a graph by what they compute; those that were asked for are remembered.
pub(super) struct Producers<'n, 'a> {
    nodes: &'n [Node<'a>],
    pub asked: Vec<usize>,
}

impl<'n, 'a> Producers<'n, 'a> {
    pub fn new(nodes: &'n [Node<'a>]) -> Self {
        Self {
            nodes,
            asked: Vec::new(),
        }
    }

    /// The node that computes `value`, if it is of this type.
    pub fn of(&mut self, value: &[u8], op_type: &str) -> Option<&'n Node<'a>> {
        let computes = |node: &Node<'_>| node.outputs.contains(&value);
        let number = self.nodes.iter().position(computes)?;
        let node = &self.nodes[number];
        self.asked.push(number);
        (node.op_type == op_type.as_bytes()).then_some(node)
    }

    /// The inputs of such a node.
    pub fn inputs<const N: usize>(&mut self, value: &[u8], op_type: &str) -> Option<[&'a [u8]; N]> {
        self.of(value, op_type)?.inputs[..].try_into().ok()
    }
}
