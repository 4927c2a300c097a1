//! Graphs of one product.

use std::path::Path;

use ort::value::Tensor;

use super::{MatMulKernel, is_replaceable, kernels, replace};
use crate::{
    protobuf::{put_bytes, put_integer},
    runtime::{
        ExternalData, Graph, GraphBytes,
        kernels::packed::Format,
        testing::{self, assert_close},
    },
};

const ROWS: usize = 37;
const COLUMNS: usize = 256;
const DATA: &str = "data";

fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, content) in fields {
        put_bytes(&mut message, *number, content);
    }
    message
}

fn integers(fields: &[(u64, u64)]) -> Vec<u8> {
    let mut message = Vec::new();
    for &(number, value) in fields {
        put_integer(&mut message, number, value);
    }
    message
}

/// A constant, whose data is put behind `external` if there is such.
fn constant(
    name: &str,
    (data_type, sizes): (u64, &[usize]),
    data: &[u8],
    external: Option<&mut Vec<u8>>,
) -> Vec<u8> {
    let sizes: Vec<_> = sizes.iter().map(|&size| (1, size as u64)).collect();
    let mut tensor = [integers(&sizes), integers(&[(2, data_type)])].concat();
    put_bytes(&mut tensor, 8, name.as_bytes());
    match external {
        None => put_bytes(&mut tensor, 9, data),
        Some(external) => {
            let (offset, length) = (external.len().to_string(), data.len().to_string());
            for (key, value) in [("location", DATA), ("offset", &offset), ("length", &length)] {
                let entry = message(&[(1, key.as_bytes()), (2, value.as_bytes())]);
                put_bytes(&mut tensor, 13, &entry);
            }
            put_integer(&mut tensor, 14, 1);
            external.extend_from_slice(data);
        }
    }
    tensor
}

/// A graph that multiplies `x` [batch, COLUMNS] to `y`.
fn model(format: Format, level: u64, external: Option<&mut Vec<u8>>) -> Vec<u8> {
    let product = product(format, level, "y");
    model_of(&[&product], weights(format, external), b"batch")
}

/// A graph that multiplies `x` [?, COLUMNS], whose first size has no name, and adds as many rows of
/// a table as that is.
fn model_with_positions(format: Format, table: &[f32]) -> Vec<u8> {
    let product = product(format, 4, "product");
    let end = integers(&[(3, 1), (20, 2)]);
    let end = [message(&[(1, b"end")]), end].concat();
    let size = message(&[(1, b"product"), (2, b"size"), (4, b"Shape"), (5, &end)]);
    let inputs = [(1, &b"table"[..]), (1, b"zero"), (1, b"size")];
    let slice = [message(&inputs), message(&[(2, b"rows"), (4, b"Slice")])].concat();
    let add = message(&[(1, b"product"), (1, b"rows"), (2, b"y"), (4, b"Add")]);
    let bytes: Vec<u8> = table
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let mut constants = weights(format, None);
    let sizes = [table.len() / ROWS, ROWS];
    constants.push(constant("table", (1, &sizes), &bytes, None));
    constants.push(constant("zero", (7, &[1]), &[0; 8], None));
    model_of(&[&product, &size, &slice, &add], constants, b"")
}

fn product(format: Format, level: u64, output: &str) -> Vec<u8> {
    let mut node = Vec::new();
    for input in ["x", "codes", "scales", "", "", "bias"] {
        put_bytes(&mut node, 1, input.as_bytes());
    }
    put_bytes(&mut node, 2, output.as_bytes());
    put_bytes(&mut node, 4, b"MatMulNBits");
    for (name, value) in [
        ("bits", format.bits() as u64),
        ("block_size", format.block() as u64),
        ("K", COLUMNS as u64),
        ("N", ROWS as u64),
        ("accuracy_level", level),
    ] {
        let attribute = [
            message(&[(1, name.as_bytes())]),
            integers(&[(3, value), (20, 2)]),
        ];
        put_bytes(&mut node, 5, &attribute.concat());
    }
    put_bytes(&mut node, 7, b"com.microsoft");
    node
}

/// The constants of the product.
fn weights(format: Format, mut external: Option<&mut Vec<u8>>) -> Vec<Vec<u8>> {
    let blocks = COLUMNS / format.block();
    let codes: Vec<u8> = (0..ROWS * blocks * format.block_bytes())
        .map(|n| ((n * 73) >> 2) as u8)
        .collect();
    let floats = |count: usize, step: f32| -> Vec<u8> {
        let number = |n| (0.01 + n as f32 * step).to_le_bytes();
        (0..count).flat_map(number).collect()
    };
    let sizes = [ROWS, blocks, format.block_bytes()];
    let scales = floats(ROWS * blocks, 1e-4);
    vec![
        constant("codes", (2, &sizes), &codes, external.as_deref_mut()),
        constant("scales", (1, &sizes[..2]), &scales, external),
        constant("bias", (1, &[ROWS]), &floats(ROWS, 0.1), None),
    ]
}

/// A model of the exporter from `x` [`batch`, COLUMNS] to `y` [`batch`, ROWS].
fn model_of(nodes: &[&[u8]], constants: Vec<Vec<u8>>, batch: &[u8]) -> Vec<u8> {
    let value = |name: &str, width: usize| {
        let batch = match batch {
            [] => message(&[(1, &[])]),
            name => message(&[(1, &message(&[(2, name)]))]),
        };
        let width = message(&[(1, &integers(&[(1, width as u64)]))]);
        let mut tensor = integers(&[(1, 1)]);
        put_bytes(&mut tensor, 2, &[batch, width].concat());
        message(&[(1, name.as_bytes()), (2, &message(&[(1, &tensor)]))])
    };
    let (x, y) = (value("x", COLUMNS), value("y", ROWS));
    let mut parts: Vec<(u64, &[u8])> = nodes.iter().map(|&node| (1, node)).collect();
    parts.push((2, b"product"));
    parts.extend(constants.iter().map(|constant| (5, &constant[..])));
    parts.extend([(11, &x[..]), (12, &y[..])]);
    let mut model = integers(&[(1, 10)]);
    put_bytes(&mut model, 2, b"sllm_export");
    put_bytes(&mut model, 7, &message(&parts));
    put_bytes(&mut model, 8, &integers(&[(2, 21)]));
    let contrib = [message(&[(1, b"com.microsoft")]), integers(&[(2, 1)])].concat();
    put_bytes(&mut model, 8, &contrib);
    model
}

fn load(path: &Path, bytes: &[u8], external_data: ExternalData, kernel: MatMulKernel) -> Graph {
    let mut settings = testing::settings();
    settings.matmul_kernel = kernel;
    settings.threads = 2;
    let file = GraphBytes {
        bytes,
        external_data,
    };
    Graph::load(path, &file, &settings).unwrap()
}

/// Where the weights of a graph are.
#[derive(Clone, Copy, Debug)]
enum Place {
    Graph,
    File,
    Memory,
}

#[test]
fn an_operator_equals_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("product.onnx");
    for format in Format::ALL {
        for place in [Place::Graph, Place::File, Place::Memory] {
            let mut external = Vec::new();
            let is_external = !matches!(place, Place::Graph);
            let bytes = model(format, 4, is_external.then_some(&mut external));
            std::fs::write(&path, &bytes).unwrap();
            std::fs::write(folder.path().join(DATA), &external).unwrap();
            for rows in [1, 3, 700] {
                let input: Vec<f32> = (0..rows * COLUMNS)
                    .map(|n| (n as f32 * 0.3).sin())
                    .collect();
                let run = |kernel: MatMulKernel| {
                    let data = match place {
                        Place::Graph => ExternalData::Memory(Vec::new()),
                        Place::File => ExternalData::Folder(folder.path().to_owned()),
                        Place::Memory => {
                            ExternalData::Memory(vec![(DATA.into(), external.clone().into())])
                        }
                    };
                    let graph = load(&path, &bytes, data, kernel);
                    assert_eq!(graph.matmul_kernel(), Some(kernel));
                    let input = Tensor::from_array(([rows, COLUMNS], input.clone())).unwrap();
                    graph
                        .run(vec![("x", input.into())], "y", &[rows, ROWS])
                        .unwrap()
                };
                let expected = run(MatMulKernel::OnnxRuntime);
                // There ONNX Runtime rounds the vectors otherwise.
                let tolerance = if cfg!(target_arch = "aarch64") {
                    0.02
                } else {
                    1e-3
                };
                for kernel in kernels() {
                    assert_close(&run(kernel), &expected, tolerance);
                }
            }
        }
    }
}

/// What ONNX Runtime computes from the shape of a product is right where a size is not known and has
/// no name.
#[test]
fn a_size_without_a_name_is_no_size() {
    let (format, most) = (Format::Int8Block128, 9);
    let table: Vec<f32> = (0..most * ROWS).map(|n| (n as f32 * 0.7).cos()).collect();
    let bytes = model_with_positions(format, &table);
    let path = Path::new("positions.onnx");
    for rows in [1, 4, most] {
        let input: Vec<f32> = (0..rows * COLUMNS)
            .map(|n| (n as f32 * 0.3).sin())
            .collect();
        let run = |kernel: MatMulKernel| {
            let graph = load(path, &bytes, ExternalData::Memory(Vec::new()), kernel);
            assert_eq!(graph.matmul_kernel(), Some(kernel));
            let input = Tensor::from_array(([rows, COLUMNS], input.clone())).unwrap();
            let inputs = vec![("x", input.into())];
            graph.run(inputs, "y", &[rows, ROWS]).unwrap()
        };
        let expected = run(MatMulKernel::OnnxRuntime);
        for kernel in kernels() {
            assert_close(&run(kernel), &expected, 1e-3);
        }
    }
}

/// The operator is not given what its graph does not need: it keeps its own weights.
#[test]
fn weights_leave_the_graph() {
    let bytes = model(Format::Int8Block128, 4, None);
    let replaced = replace(&bytes, &ExternalData::Memory(Vec::new()), 8).unwrap();
    assert_eq!(replaced.weights.len(), 1);
    assert!(replaced.model.len() < 500, "{} bytes", replaced.model.len());
    assert!(!is_replaceable(&replaced.model));
}

#[test]
fn other_graphs_stay_as_they_are() {
    // More exact than 8 bits.
    assert!(!is_replaceable(&model(Format::Int8Block128, 1, None)));
    // Weights that are not there, or not all of them.
    let mut external = Vec::new();
    let bytes = model(Format::Int4Block64, 4, Some(&mut external));
    let folder = tempfile::tempdir().unwrap();
    assert!(replace(&bytes, &ExternalData::Folder(folder.path().to_owned()), 8).is_none());
    external.pop();
    std::fs::write(folder.path().join(DATA), external).unwrap();
    assert!(replace(&bytes, &ExternalData::Folder(folder.path().to_owned()), 8).is_none());
    // A graph that is cut short.
    let bytes = model(Format::Int4Block128, 4, None);
    for length in (0..bytes.len()).step_by(97) {
        assert!(
            replace(&bytes[..length], &ExternalData::Memory(Vec::new()), 8).is_none(),
            "{length}"
        );
    }
}
