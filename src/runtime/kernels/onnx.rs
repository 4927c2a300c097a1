//! A minimal ONNX parser: enough to find products in a graph and to replace them.
//!
//! Field numbers are those of onnx.proto, which never change.

use std::{borrow::Cow, collections::BTreeMap};

use half::f16;

use crate::{
    protobuf::{Content, Field, Fields, put_bytes, put_integer},
    runtime::ExternalData,
};

pub(super) mod model {
    pub const PRODUCER_NAME: u64 = 2;
    pub const GRAPH: u64 = 7;
    pub const OPSET_IMPORT: u64 = 8;
}

pub(super) mod opset {
    pub const DOMAIN: u64 = 1;
    pub const VERSION: u64 = 2;
}

pub(super) mod graph {
    pub const NODE: u64 = 1;
    pub const INITIALIZER: u64 = 5;
    pub const OUTPUT: u64 = 12;
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
    pub const GRAPH: u64 = 6;
    pub const GRAPHS: u64 = 11;
    pub const TYPE: u64 = 20;
    /// Of `TYPE`.
    pub const INT: u64 = 2;
}

mod tensor {
    pub const DIMS: u64 = 1;
    pub const DATA_TYPE: u64 = 2;
    pub const NAME: u64 = 8;
    pub const RAW_DATA: u64 = 9;
    pub const EXTERNAL_DATA: u64 = 13;
}

mod entry {
    pub const KEY: u64 = 1;
    pub const VALUE: u64 = 2;
}

/// `TensorProto.DataType`.
pub(super) const FLOAT: u64 = 1;
pub(super) const UINT8: u64 = 2;
const INT64: u64 = 7;
const FLOAT16: u64 = 10;

/// The fields of a message; `None` if it is malformed.
pub(super) fn fields(message: &[u8]) -> Option<Vec<Field<'_>>> {
    Fields::new(message).collect::<Result<_, _>>().ok()
}

/// What is read of a node.
#[derive(Default)]
pub(super) struct Node<'a> {
    pub op_type: &'a [u8],
    pub inputs: Vec<&'a [u8]>,
    pub outputs: Vec<&'a [u8]>,
    integers: BTreeMap<&'a [u8], u64>,
    /// Graphs in its attributes.
    graphs: Vec<&'a [u8]>,
}

impl<'a> Node<'a> {
    pub fn read(message: &'a [u8]) -> Option<Self> {
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
                (attribute::GRAPH | attribute::GRAPHS, Content::Bytes(graph)) => {
                    self.graphs.push(graph);
                }
                _ => (),
            }
        }
        self.integers.extend(integer.map(|value| (name, value)));
        Some(())
    }

    pub fn integer(&self, name: &str) -> Option<u64> {
        self.integers.get(name.as_bytes()).copied()
    }

    /// All values that it reads, those of graphs in it included.
    pub fn reads(&self, values: &mut Vec<&'a [u8]>) -> Option<()> {
        values.extend(&self.inputs);
        for graph in &self.graphs {
            for field in fields(graph)? {
                match field.number {
                    graph::NODE => Node::read(field.bytes())?.reads(values)?,
                    // A graph in a node may hand out a value of the graph around it.
                    graph::OUTPUT => values.push(value_name(field.bytes())?),
                    _ => (),
                }
            }
        }
        Some(())
    }
}

/// The name in a `ValueInfoProto`.
pub(super) fn value_name(message: &[u8]) -> Option<&[u8]> {
    let name = fields(message)?.into_iter().find(|field| field.number == 1);
    Some(name?.bytes())
}

/// A node of an operator, given by its domain and name, with one attribute.
pub(super) fn node(
    (domain, op_type): (&str, &str),
    inputs: &[&[u8]],
    outputs: &[&[u8]],
    (attribute, value): (&str, usize),
) -> Vec<u8> {
    let mut message = Vec::new();
    for input in inputs {
        put_bytes(&mut message, node::INPUT, input);
    }
    for output in outputs {
        put_bytes(&mut message, node::OUTPUT, output);
    }
    put_bytes(&mut message, node::OP_TYPE, op_type.as_bytes());
    let mut integer = Vec::new();
    put_bytes(&mut integer, attribute::NAME, attribute.as_bytes());
    put_integer(&mut integer, attribute::INTEGER, value as u64);
    put_integer(&mut integer, attribute::TYPE, attribute::INT);
    put_bytes(&mut message, node::ATTRIBUTE, &integer);
    put_bytes(&mut message, node::DOMAIN, domain.as_bytes());
    message
}

/// A constant of a graph.
#[derive(Default)]
pub(super) struct Tensor<'a> {
    pub name: &'a [u8],
    dims: Vec<u64>,
    data_type: u64,
    raw_data: &'a [u8],
    external_data: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Tensor<'a> {
    pub fn read(message: &'a [u8]) -> Option<Self> {
        let mut read = Self::default();
        for field in Fields::new(message) {
            let field = field.ok()?;
            match (field.number, field.content) {
                (tensor::DIMS, Content::Varint(size)) => read.dims.push(size),
                // Several sizes in one field.
                (tensor::DIMS, Content::Bytes(_)) => return None,
                (tensor::DATA_TYPE, Content::Varint(data_type)) => read.data_type = data_type,
                (tensor::NAME, Content::Bytes(name)) => read.name = name,
                (tensor::RAW_DATA, Content::Bytes(data)) => read.raw_data = data,
                (tensor::EXTERNAL_DATA, Content::Bytes(pair)) => read.read_entry(pair)?,
                _ => (),
            }
        }
        Some(read)
    }

    fn read_entry(&mut self, message: &'a [u8]) -> Option<()> {
        let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
        for field in Fields::new(message) {
            let field = field.ok()?;
            match field.number {
                entry::KEY => key = field.bytes(),
                entry::VALUE => value = field.bytes(),
                _ => (),
            }
        }
        self.external_data.insert(key, value);
        Some(())
    }

    fn bytes_of(&self, element: usize) -> Option<usize> {
        let size = |product: usize, &size: &u64| product.checked_mul(size.try_into().ok()?);
        self.dims.iter().try_fold(element, size)
    }

    /// Its data, if it has elements of `data_type`, which are of `element` bytes.
    fn data(
        &self,
        data_type: u64,
        element: usize,
        external_data: &ExternalData,
    ) -> Option<Cow<'a, [u8]>> {
        if self.data_type != data_type {
            return None;
        }
        let bytes = self.bytes_of(element)?;
        if self.external_data.is_empty() {
            return (self.raw_data.len() == bytes).then_some(Cow::Borrowed(self.raw_data));
        }
        let text = |key: &str| std::str::from_utf8(self.external_data.get(key.as_bytes())?).ok();
        let number = |key: &str| text(key)?.parse::<u64>().ok();
        let offset = match self.external_data.contains_key(&b"offset"[..]) {
            true => number("offset")?,
            false => 0,
        };
        if number("length")? != bytes as u64 {
            return None;
        }
        let data = external_data.read(text("location")?, offset, bytes)?;
        Some(Cow::Owned(data))
    }

    pub fn bytes(&self, external_data: &ExternalData) -> Option<Cow<'a, [u8]>> {
        self.data(UINT8, 1, external_data)
    }

    pub fn floats(&self, external_data: &ExternalData) -> Option<Vec<f32>> {
        self.numbers(FLOAT, external_data, f32::from_le_bytes)
    }

    /// Numbers of half precision.
    pub fn halves(&self, external_data: &ExternalData) -> Option<Vec<f32>> {
        self.numbers(FLOAT16, external_data, |bytes| {
            f16::from_le_bytes(bytes).to_f32()
        })
    }

    pub fn integers(&self, external_data: &ExternalData) -> Option<Vec<i64>> {
        self.numbers(INT64, external_data, i64::from_le_bytes)
    }

    fn numbers<T, const BYTES: usize>(
        &self,
        data_type: u64,
        external_data: &ExternalData,
        number: impl Fn([u8; BYTES]) -> T,
    ) -> Option<Vec<T>> {
        let data = self.data(data_type, BYTES, external_data)?;
        let (numbers, _) = data.as_chunks();
        Some(numbers.iter().map(|&bytes| number(bytes)).collect())
    }

    /// Its sizes.
    pub fn dims(&self) -> &[u64] {
        &self.dims
    }
}
