//! Kernels against the plain product of dequantised weights, and operators against the nodes that
//! they replace.

use proptest::prelude::*;

use super::{
    MatMulKernel, Plan, Replaced,
    activations::Activations,
    kernel::plain_products_of_16,
    packed::{Format, Packed},
};
use crate::runtime::ExternalData;

/// Weights as a graph has them.
#[derive(Debug)]
struct Weights {
    format: Format,
    rows: usize,
    columns: usize,
    codes: Vec<u8>,
    scales: Vec<f32>,
    bias: Option<Vec<f32>>,
}

impl Weights {
    fn code(&self, row: usize, column: usize) -> u8 {
        let row_bytes = self.columns.div_ceil(self.format.block()) * self.format.block_bytes();
        let codes = &self.codes[row * row_bytes..];
        match (self.format.bits(), column % 2) {
            (8, _) => codes[column],
            (_, 0) => codes[column / 2] & 15,
            _ => codes[column / 2] >> 4,
        }
    }

    fn weight(&self, row: usize, column: usize) -> f64 {
        let blocks = self.columns.div_ceil(self.format.block());
        let scale = self.scales[row * blocks + column / self.format.block()];
        let code = f64::from(self.code(row, column));
        f64::from(scale) * (code - f64::from(self.format.zero()))
    }

    fn packed(&self, lanes: usize) -> Packed {
        let bias = self.bias.as_deref();
        Packed::new(
            &self.codes,
            &self.scales,
            bias,
            self.rows,
            self.format,
            lanes,
        )
        .unwrap()
    }

    fn activations(&self, vectors: &[f32]) -> Activations {
        let mut activations = Activations::new(self.columns, self.format);
        activations.set(vectors);
        activations
    }
}

fn weights() -> impl Strategy<Value = Weights> {
    let sizes = (
        proptest::sample::select(&Format::ALL[..]),
        1usize..70,
        1usize..400,
    );
    sizes.prop_flat_map(|(format, rows, columns)| {
        let blocks = rows * columns.div_ceil(format.block());
        (
            proptest::collection::vec(any::<u8>(), blocks * format.block_bytes()),
            proptest::collection::vec(-0.1f32..0.1, blocks),
            proptest::option::of(proptest::collection::vec(-1.0f32..1.0, rows)),
        )
            .prop_map(move |(codes, scales, bias)| Weights {
                format,
                rows,
                columns,
                codes,
                scales,
                bias,
            })
    })
}

/// The products [vector][row] by a kernel, in two parts.
fn products(kernel: MatMulKernel, weights: &Weights, vectors: &[f32]) -> Vec<Vec<f32>> {
    let packed = weights.packed(kernel.lanes());
    let activations = weights.activations(vectors);
    let mut found = vec![Vec::new(); activations.len()];
    let middle = packed.groups() / 2;
    for groups in [0..middle, middle..packed.groups()] {
        kernel.products(&packed, groups, &activations, |vector, first, products| {
            assert_eq!(found[vector].len(), first);
            found[vector].extend_from_slice(products);
        });
    }
    for found in &mut found {
        let behind = found.split_off(weights.rows);
        assert!(behind.iter().all(|&product| product == f32::NEG_INFINITY));
    }
    found
}

fn is_replaceable(model: &[u8]) -> bool {
    Plan::of(model).is_some()
}

fn replace(model: &[u8], source: &ExternalData, lanes: usize) -> Option<Replaced> {
    Plan::of(model)?.replace(source, lanes)
}

fn kernels() -> impl Iterator<Item = MatMulKernel> {
    let all = MatMulKernel::ALL.into_iter().skip(1);
    all.filter(|kernel| kernel.is_available())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_kernel_multiplies(weights in weights(), count in 1usize..10, seed: u32) {
        // Values of one sign are the furthest from 0 that sums can be.
        let value = |number: u32| match seed % 3 {
            0 => 1.0,
            1 => -1.0,
            _ => (number.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 8e6 - 1.0,
        };
        let vectors: Vec<f32> = (0..(count * weights.columns) as u32).map(value).collect();
        let plain = products(MatMulKernel::Plain, &weights, &vectors);
        for (vector, plain) in vectors.chunks(weights.columns).zip(&plain) {
            for (row, &found) in plain.iter().enumerate() {
                let products = vector.iter().enumerate().map(|(column, &value)| {
                    let weight = weights.weight(row, column);
                    // The value is rounded to a 254th of the largest, which is 1.
                    (f64::from(value) * weight, weight.abs() / 254.0)
                });
                let (sum, error) = products.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                let bias = weights.bias.as_ref().map_or(0.0, |bias| f64::from(bias[row]));
                let size: f64 = (0..weights.columns).map(|c| weights.weight(row, c).abs()).sum();
                let allowed = 1.01 * error + 1e-6 * size + 1e-4;
                prop_assert!((f64::from(found) - sum - bias).abs() <= allowed, "{found} {sum}");
            }
        }
        for kernel in kernels() {
            prop_assert_eq!(&products(kernel, &weights, &vectors), &plain, "{}", kernel);
        }
    }

    /// The order of the widest kernel, which few processors have, by plain instructions.
    #[test]
    fn sixteen_lanes_give_what_eight_give(weights in weights()) {
        let vectors: Vec<f32> = (0..2 * weights.columns).map(|n| (n as f32 * 0.7).sin()).collect();
        let mut found = vec![Vec::new(); 2];
        let packed = weights.packed(16);
        plain_products_of_16(&packed, &weights.activations(&vectors), |vector, products| {
            found[vector].extend_from_slice(products);
        });
        let expected = products(MatMulKernel::Plain, &weights, &vectors);
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert_eq!(&found[..weights.rows], &expected[..]);
        }
    }
}

/// The largest sums that there are: no kernel's may overflow.
#[test]
fn the_largest_sums_fit() {
    for (format, code) in Format::ALL
        .into_iter()
        .flat_map(|format| [(format, 0), (format, 255)])
    {
        let columns = 3 * format.block();
        let weights = Weights {
            format,
            rows: 20,
            columns,
            codes: vec![code; 20 * 3 * format.block_bytes()],
            scales: vec![1.0; 20 * 3],
            bias: None,
        };
        for value in [1.0f32, -1.0] {
            let expected = columns as f64 * weights.weight(0, 0) * f64::from(value);
            for kernel in kernels() {
                let found = products(kernel, &weights, &vec![value; columns]);
                let close = |&found: &f32| (f64::from(found) / expected - 1.0).abs() < 1e-6;
                assert!(
                    found[0].iter().all(close),
                    "{kernel} {format:?} {code}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    for format in Format::ALL {
        let bytes = format.block_bytes();
        let new = |codes: usize, scales: usize, bias: usize, rows: usize| {
            let (codes, scales) = (vec![0; codes], vec![0.0; scales]);
            Packed::new(&codes, &scales, Some(&vec![0.0; bias]), rows, format, 8).is_some()
        };
        assert!(new(10 * bytes, 10, 5, 5));
        assert!(!new(10 * bytes, 10, 4, 5));
        assert!(!new(9 * bytes, 10, 5, 5));
        assert!(!new(11 * bytes, 11, 5, 5));
        assert!(!new(0, 0, 0, 0));
    }
}

/// Graphs of one product.
mod matmul {
    use std::path::Path;

    use ort::value::Tensor;

    use super::{Format, MatMulKernel, is_replaceable, kernels, replace};
    use crate::{
        protobuf::{put_bytes, put_integer},
        runtime::{
            ExternalData, Graph, GraphBytes,
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
    fn model(format: Format, level: u64, mut external: Option<&mut Vec<u8>>) -> Vec<u8> {
        let blocks = COLUMNS / format.block();
        let codes: Vec<u8> = (0..ROWS * blocks * format.block_bytes())
            .map(|n| ((n * 73) >> 2) as u8)
            .collect();
        let floats = |count: usize, step: f32| -> Vec<u8> {
            let number = |n| (0.01 + n as f32 * step).to_le_bytes();
            (0..count).flat_map(number).collect()
        };
        let mut node = Vec::new();
        for input in ["x", "codes", "scales", "", "", "bias"] {
            put_bytes(&mut node, 1, input.as_bytes());
        }
        put_bytes(&mut node, 2, b"y");
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
        let value = |name: &str, width: usize| {
            let batch = message(&[(1, &message(&[(2, b"batch")]))]);
            let width = message(&[(1, &integers(&[(1, width as u64)]))]);
            let mut tensor = integers(&[(1, 1)]);
            put_bytes(&mut tensor, 2, &[batch, width].concat());
            message(&[(1, name.as_bytes()), (2, &message(&[(1, &tensor)]))])
        };
        let sizes = [ROWS, blocks, format.block_bytes()];
        let graph = message(&[
            (1, &node),
            (2, b"product"),
            (
                5,
                &constant("codes", (2, &sizes), &codes, external.as_deref_mut()),
            ),
            (
                5,
                &constant(
                    "scales",
                    (1, &sizes[..2]),
                    &floats(ROWS * blocks, 1e-4),
                    external,
                ),
            ),
            (5, &constant("bias", (1, &[ROWS]), &floats(ROWS, 0.1), None)),
            (11, &value("x", COLUMNS)),
            (12, &value("y", ROWS)),
        ]);
        let mut model = integers(&[(1, 10)]);
        put_bytes(&mut model, 2, b"sllm_export");
        put_bytes(&mut model, 7, &graph);
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
                    for kernel in kernels() {
                        assert_close(&run(kernel), &expected, 1e-3);
                    }
                }
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
}

/// Graphs that rank a vocabulary.
mod graphs {
    use super::{
        super::onnx::{fields, graph, model},
        is_replaceable, replace,
    };
    use crate::{
        LoadOptions, MatMulKernel, Model,
        runtime::{ExternalData, testing::assert_close},
    };

    fn load(bundle: &str, kernel: MatMulKernel) -> Model {
        let options = LoadOptions::default().with_threads(2).unwrap();
        let options = options.with_matmul_kernel(kernel).unwrap();
        Model::load(format!("tests/golden/{bundle}"), options).unwrap()
    }

    /// The operator gives what the nodes give that it replaces: dense logits, and continuations.
    #[test]
    fn the_operator_equals_the_nodes() {
        let nodes = load("bundle-fast", MatMulKernel::OnnxRuntime);
        assert_eq!(nodes.matmul_kernel(), Some(MatMulKernel::OnnxRuntime));
        let decoder = &nodes.autoencoder().unwrap().decoder;
        let vectors = nodes
            .encode(&["the cat sat on the hill. ", "a dog ran. "])
            .unwrap();
        let vectors = vectors.as_slice().unwrap();
        let ids: [&[u32]; 2] = [
            &[nodes.config().tokens.bos, 20, 30],
            &[nodes.config().tokens.bos],
        ];
        let expected = decoder.teacher_forced(vectors, &ids).unwrap();
        for kernel in super::kernels() {
            let model = load("bundle-fast", kernel);
            assert_eq!(model.matmul_kernel(), Some(kernel));
            let decoder = &model.autoencoder().unwrap().decoder;
            let found = decoder.teacher_forced(vectors, &ids).unwrap();
            assert_close(&found, &expected, 1e-4);
        }
    }

    #[test]
    fn continuations_are_the_same() {
        for bundle in ["bundle-fast", "bundle-opt-fast"] {
            let text = |kernel: MatMulKernel| {
                let model = load(bundle, kernel);
                let mut session = model.session().unwrap();
                session
                    .append("the cat sat on the hill. the dog ran. ")
                    .unwrap();
                let options = crate::GenerateOptions::default()
                    .with_max_sentences(3)
                    .with_ignore_eos(true)
                    .with_max_tokens(Some(12));
                let sentences = session
                    .generate(options)
                    .collect::<Result<Vec<_>, _>>()
                    .unwrap();
                sentences
                    .into_iter()
                    .map(|sentence| sentence.token_ids)
                    .collect::<Vec<_>>()
            };
            let expected = text(MatMulKernel::OnnxRuntime);
            assert!(expected.iter().flatten().count() > 10);
            for kernel in super::kernels() {
                assert_eq!(text(kernel), expected, "{bundle}, {kernel}");
            }
        }
    }

    #[test]
    fn a_model_of_floats_has_no_kernel() {
        let options = LoadOptions::default().with_variant("portable");
        let model = Model::load("tests/golden/bundle", options).unwrap();
        assert_eq!(model.matmul_kernel(), None);
    }

    #[test]
    fn graphs_of_few_bits_are_changed() {
        // Ten nodes that rank become one, or twelve where there is a bias.
        for (name, fewer) in [
            ("bundle-fast/cpu-int8/decoder.onnx", Some(11)),
            ("bundle-opt-fast/cpu-int8/opt.onnx", Some(9)),
            ("bundle/cpu-int8/decoder.onnx", Some(0)),
            ("bundle-fast/cpu-int8/backbone.onnx", Some(0)),
            ("bundle/portable/decoder.onnx", None),
            ("bundle-half/cuda-fp16/decoder.onnx", None),
        ] {
            let bytes = std::fs::read(format!("tests/golden/{name}")).unwrap();
            assert_eq!(is_replaceable(&bytes), fewer.is_some(), "{name}");
            let replaced = replace(&bytes, &ExternalData::Memory(Vec::new()), 8);
            assert_eq!(replaced.is_some(), fewer.is_some(), "{name}");
            let (Some(replaced), Some(fewer)) = (replaced, fewer) else {
                continue;
            };
            let nodes = |model: &[u8]| {
                let all = fields(model).unwrap();
                let graph = all
                    .iter()
                    .find(|field| field.number == model::GRAPH)
                    .unwrap();
                let nodes = fields(graph.bytes()).unwrap();
                nodes
                    .iter()
                    .filter(|field| field.number == graph::NODE)
                    .count()
            };
            assert_eq!(nodes(&replaced.model) + fewer, nodes(&bytes), "{name}");
            assert!(!is_replaceable(&replaced.model));
        }
    }
}
