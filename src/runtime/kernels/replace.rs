//! Puts operators of ours in the place of nodes of a graph, and takes their weights out of it.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    onnx::{self, Node, Tensor, fields, graph, model, opset},
    operators::{DOMAIN, MATMUL, RANK_VOCABULARY},
    product::{Constants, Product, Weights},
    ranking::Ranking,
};
use crate::{
    protobuf::{Field, put_bytes, put_integer},
    runtime::ExternalData,
};

const PRODUCER: &[u8] = b"sllm_export";

/// A graph with operators of ours.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub model: Vec<u8>,
    /// By the number that a node has as its attribute.
    pub(super) weights: Vec<Arc<Weights>>,
}

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
        })
    }

    /// The values that are needed beside the operators' weights.
    fn read_values(&self) -> Option<BTreeSet<&'a [u8]>> {
        let mut values = Vec::new();
        for (node, fate) in self.nodes.iter().zip(&self.fates) {
            if matches!(fate, Fate::Stays) {
                node.reads(&mut values)?;
            }
        }
        values.extend(
            self.ranking
                .iter()
                .flat_map(|ranking| [ranking.rows, ranking.count]),
        );
        for field in self
            .fields
            .iter()
            .filter(|field| field.number == graph::OUTPUT)
        {
            values.push(onnx::value_name(field.bytes())?);
        }
        Some(values.into_iter().collect())
    }

    /// The graph with the operators, without weights that nothing else reads.
    fn graph(&self) -> Option<Vec<u8>> {
        let read = self.read_values()?;
        let weights: BTreeSet<_> = self.products.iter().flat_map(Product::constants).collect();
        let mut changed = Vec::new();
        let mut fates = self.fates.iter();
        for field in &self.fields {
            let fate = match field.number {
                graph::NODE => *fates.next()?,
                graph::INITIALIZER => {
                    let name = Tensor::read(field.bytes())?.name;
                    match weights.contains(name) && !read.contains(name) {
                        true => Fate::Goes,
                        false => Fate::Stays,
                    }
                }
                _ => Fate::Stays,
            };
            match fate {
                Fate::Stays => changed.extend_from_slice(field.encoded),
                Fate::Goes => (),
                Fate::MatMul(number) => {
                    let Product { input, output, .. } = self.products[number];
                    let node = onnx::node(DOMAIN, MATMUL, &[input], &[output], number);
                    put_bytes(&mut changed, graph::NODE, &node);
                }
            }
        }
        if let Some(ranking) = &self.ranking {
            let inputs = [
                ranking.product.input,
                ranking.wanted,
                ranking.rows,
                ranking.count,
            ];
            let outputs: [&[u8]; 3] = [b"candidate_ids", b"candidate_logits", b"logits"];
            let number = self.products.len() - 1;
            let node = onnx::node(DOMAIN, RANK_VOCABULARY, &inputs, &outputs, number);
            put_bytes(&mut changed, graph::NODE, &node);
        }
        Some(changed)
    }
}
