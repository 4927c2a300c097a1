//! Replaces nodes of a graph with custom operators, and takes their weights out of the graph.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    onnx::{self, Node, Tensor, fields, graph, model, opset},
    product::{Constants, Product},
    ranking::Ranking,
    replaced::{DOMAIN, MATMUL, RANK_VOCABULARY, Replaced, SLOT_ATTENTION, WEIGHTS},
    slot_attention::SlotAttention,
};
use crate::{
    protobuf::{Field, put_bytes, put_integer},
    runtime::ExternalData,
};

const PRODUCER: &[u8] = b"sllm_export";

/// Whether the exporter made a model.
fn is_ours(model: &[Field<'_>]) -> bool {
    model
        .iter()
        .any(|field| field.number == model::PRODUCER_NAME && field.bytes().starts_with(PRODUCER))
}

/// What becomes of a node.
#[derive(Clone, Copy)]
enum Fate {
    Stays,
    Goes,
    /// It becomes the operator for the product of this number.
    MatMul(usize),
    /// It becomes the operator for the attention of this number, whose other nodes nothing needs then.
    SlotAttention(usize),
}

/// What is to be replaced in the graph of a model.
pub(crate) struct Plan<'a> {
    model: Vec<Field<'a>>,
    /// Of the graph.
    fields: Vec<Field<'a>>,
    nodes: Vec<Node<'a>>,
    fates: Vec<Fate>,
    constants: Constants<'a>,
    products: Vec<Product<'a>>,
    attentions: Vec<SlotAttention<'a>>,
    /// Its product is the last one.
    ranking: Option<Ranking<'a>>,
}

impl<'a> Plan<'a> {
    /// `None` if a kernel cannot be used for the model at all.
    pub fn of(model: &'a [u8]) -> Option<Self> {
        let model = fields(model)?;
        if !is_ours(&model) {
            return None;
        }
        let graph = model.iter().find(|field| field.number == model::GRAPH)?;
        let fields = fields(graph.bytes())?;
        let of = |number: u64| fields.iter().filter(move |field| field.number == number);
        let nodes = of(graph::NODE).map(|field| Node::read(field.bytes()));
        let nodes: Vec<Node<'a>> = nodes.collect::<Option<_>>()?;
        let constants = of(graph::INITIALIZER).map(|field| {
            let tensor = Tensor::read(field.bytes())?;
            Some((tensor.name, tensor))
        });
        let constants: Constants<'a> = constants.collect::<Option<_>>()?;
        let ranking = Ranking::find(&nodes);
        let ranking = ranking.filter(|ranking| ranking.product.is_constant(&constants));
        let mut fates = vec![Fate::Stays; nodes.len()];
        for &number in ranking.iter().flat_map(|ranking| &ranking.nodes) {
            fates[number] = Fate::Goes;
        }
        let mut products = Vec::new();
        for (fate, node) in fates.iter_mut().zip(&nodes) {
            let product = match fate {
                Fate::Stays => Product::of(node).filter(|product| product.is_constant(&constants)),
                _ => None,
            };
            if let Some(product) = product {
                *fate = Fate::MatMul(products.len());
                products.push(product);
            }
        }
        let mut attentions = Vec::new();
        for (fate, node) in fates.iter_mut().zip(&nodes) {
            if let Some(attention) = SlotAttention::ending_in(node, &nodes) {
                *fate = Fate::SlotAttention(attentions.len());
                attentions.push(attention);
            }
        }
        products.extend(ranking.iter().map(|ranking| ranking.product.clone()));
        if products.is_empty() {
            return None;
        }
        Some(Self {
            model,
            fields,
            nodes,
            fates,
            constants,
            products,
            attentions,
            ranking,
        })
    }

    /// The model with operators of ours; `None` if the weights cannot be read.
    pub fn replace(&self, external_data: &ExternalData, lanes: usize) -> Option<Replaced> {
        let weights = |product: &Product<'_>| {
            let weights = product.weights(&self.constants, external_data, lanes)?;
            Some(Arc::new(weights))
        };
        let weights = self.products.iter().map(weights).collect::<Option<_>>()?;
        let slots = |attention: &SlotAttention<'_>| {
            let weights = attention.weights(&self.constants, external_data)?;
            Some(Arc::new(weights))
        };
        let slots = self.attentions.iter().map(slots).collect::<Option<_>>()?;
        let mut changed = Vec::new();
        for field in &self.model {
            if field.number == model::GRAPH {
                put_bytes(&mut changed, model::GRAPH, &self.graph()?);
            } else {
                changed.extend_from_slice(field.encoded);
            }
        }
        let mut import = Vec::new();
        put_bytes(&mut import, opset::DOMAIN, DOMAIN.as_bytes());
        put_integer(&mut import, opset::VERSION, 1);
        put_bytes(&mut changed, model::OPSET_IMPORT, &import);
        Some(Replaced {
            model: changed,
            weights,
            slots,
        })
    }

    /// The values that are read, and of each node whether one of its outputs is among them.
    fn needed(&self) -> Option<(BTreeSet<&'a [u8]>, Vec<bool>)> {
        let mut read = BTreeSet::new();
        for field in &self.fields {
            if field.number == graph::OUTPUT {
                read.insert(onnx::value_name(field.bytes())?);
            }
        }
        let ranking = self.ranking.iter();
        read.extend(ranking.flat_map(Ranking::inputs));
        let mut is_needed = vec![false; self.nodes.len()];
        // A node comes behind those that compute what it reads.
        for (number, node) in self.nodes.iter().enumerate().rev() {
            let is_read = |output: &&[u8]| !output.is_empty() && read.contains(output);
            if !node.outputs.iter().any(is_read) {
                continue;
            }
            is_needed[number] = true;
            match self.fates[number] {
                Fate::Stays => {
                    let mut values = Vec::new();
                    node.reads(&mut values)?;
                    read.extend(values);
                }
                Fate::Goes => (),
                Fate::MatMul(number) => {
                    read.insert(self.products[number].input);
                }
                Fate::SlotAttention(number) => read.extend(self.attentions[number].inputs()),
            }
        }
        Some((read, is_needed))
    }

    /// The graph with the operators, without nodes and weights that nothing reads.
    fn graph(&self) -> Option<Vec<u8>> {
        let (read, is_needed) = self.needed()?;
        let mut changed = Vec::new();
        let mut nodes = self.fates.iter().zip(is_needed);
        for field in &self.fields {
            match field.number {
                graph::NODE => match nodes.next()? {
                    (_, false) | (Fate::Goes, _) => (),
                    (Fate::Stays, true) => changed.extend_from_slice(field.encoded),
                    (&Fate::MatMul(number), true) => {
                        let Product { input, output, .. } = self.products[number];
                        let node =
                            onnx::node((DOMAIN, MATMUL), &[input], &[output], (WEIGHTS, number));
                        put_bytes(&mut changed, graph::NODE, &node);
                    }
                    (&Fate::SlotAttention(number), true) => {
                        let attention = &self.attentions[number];
                        let (inputs, outputs) = (attention.inputs(), [attention.output]);
                        let node = onnx::node(
                            (DOMAIN, SLOT_ATTENTION),
                            &inputs,
                            &outputs,
                            (WEIGHTS, number),
                        );
                        put_bytes(&mut changed, graph::NODE, &node);
                    }
                },
                graph::INITIALIZER => {
                    if read.contains(Tensor::read(field.bytes())?.name) {
                        changed.extend_from_slice(field.encoded);
                    }
                }
                _ => changed.extend_from_slice(field.encoded),
            }
        }
        if let Some(ranking) = &self.ranking {
            let outputs: [&[u8]; 3] = [b"candidate_ids", b"candidate_logits", b"logits"];
            let number = self.products.len() - 1;
            let inputs = ranking.inputs();
            let node = onnx::node(
                (DOMAIN, RANK_VOCABULARY),
                &inputs,
                &outputs,
                (WEIGHTS, number),
            );
            put_bytes(&mut changed, graph::NODE, &node);
        }
        Some(changed)
    }
}
