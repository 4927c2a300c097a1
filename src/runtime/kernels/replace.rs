//! Puts operators of ours in the place of nodes of a graph, and takes their weights out of it.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    onnx::{self, DataSource, Node, Tensor, fields, graph, model, opset},
    operators::{DOMAIN, MATMUL, RANK_VOCABULARY},
    product::{Constants, Product, Weights},
    ranking::Ranking,
};
use crate::protobuf::{Field, put_bytes, put_integer};

const PRODUCER: &[u8] = b"sllm_export";

/// A graph with operators of ours.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub model: Vec<u8>,
    /// By the number that a node has as its attribute.
    pub(super) weights: Vec<Arc<Weights>>,
}

/// Whether a kernel can be used for the graph at all.
pub(crate) fn is_replaceable(model: &[u8]) -> bool {
    let is_ours = |graph| Some(!Plan::of(graph)?.products.is_empty());
    graph_of(model).and_then(is_ours).unwrap_or(false)
}

/// `model` with operators of ours; `None` if there is nothing to replace, or if the weights cannot be
/// read, of which external data is in `source`.
pub(crate) fn replace(model: &[u8], source: DataSource<'_>, lanes: usize) -> Option<Replaced> {
    let plan = Plan::of(graph_of(model)?)?;
    let weights = |product: &Product<'_>| {
        let weights = product.weights(&plan.constants, source, lanes)?;
        Some(Arc::new(weights))
    };
    let weights: Vec<_> = plan.products.iter().map(weights).collect::<Option<_>>()?;
    if weights.is_empty() {
        return None;
    }
    let mut changed = Vec::with_capacity(model.len());
    for field in fields(model)? {
        if field.number == model::GRAPH {
            put_bytes(&mut changed, model::GRAPH, &plan.graph()?);
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

/// The graph of a model that the exporter made.
fn graph_of(model: &[u8]) -> Option<&[u8]> {
    let fields = fields(model)?;
    let is_ours = |field: &Field<'_>| {
        field.number == model::PRODUCER_NAME && field.bytes().starts_with(PRODUCER)
    };
    fields.iter().find(|field| is_ours(field))?;
    let graph = fields.iter().find(|field| field.number == model::GRAPH)?;
    Some(graph.bytes())
}

/// What becomes of a node.
#[derive(Clone, Copy)]
enum Fate {
    Stays,
    Goes,
    /// It becomes the operator for the product of this number.
    MatMul(usize),
}

/// What is to be replaced in a graph.
struct Plan<'a> {
    fields: Vec<Field<'a>>,
    nodes: Vec<Node<'a>>,
    fates: Vec<Fate>,
    constants: Constants<'a>,
    products: Vec<Product<'a>>,
    /// Its product is the last one.
    ranking: Option<Ranking<'a>>,
}

impl<'a> Plan<'a> {
    /// `None` if the graph is malformed.
    fn of(graph: &'a [u8]) -> Option<Self> {
        let fields = fields(graph)?;
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
        Some(Self {
            fields,
            nodes,
            fates,
            constants,
            products,
            ranking,
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
