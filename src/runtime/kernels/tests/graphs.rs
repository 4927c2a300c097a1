//! Graphs of bundles: the operators that rank a vocabulary and attend to slots, and what has no
//! kernel.

use super::{is_replaceable, kernels, replace};
use crate::{
    LoadOptions, MatMulKernel, Model,
    runtime::{
        ExternalData,
        kernels::onnx::{fields, graph, model},
        testing::assert_close,
    },
};

fn load(bundle: &str, kernel: MatMulKernel) -> Model {
    let options = LoadOptions::default().with_threads(2).unwrap();
    let options = options.with_matmul_kernel(kernel).unwrap();
    Model::load(format!("tests/golden/{bundle}"), options).unwrap()
}

#[test]
fn the_ranking_equals_the_nodes() {
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
    for kernel in kernels() {
        let model = load("bundle-fast", kernel);
        assert_eq!(model.matmul_kernel(), Some(kernel));
        let decoder = &model.autoencoder().unwrap().decoder;
        let found = decoder.teacher_forced(vectors, &ids).unwrap();
        assert_close(&found, &expected, 1e-4);
    }
}

/// Rows that leave, join and stay: the memories of the run before are found again, or made anew.
#[test]
fn the_attention_to_slots_equals_the_nodes() {
    let nodes = load("bundle-slots", MatMulKernel::OnnxRuntime);
    let (hidden, bos) = (nodes.config().hidden_size, nodes.config().tokens.bos);
    let vector = |seed: usize| (0..hidden).map(move |n| ((n + 7 * seed) as f32 * 0.7).sin());
    let runs: [&[usize]; 6] = [
        &[1, 2, 3],
        &[1, 2, 3],
        &[1, 3],
        &[1, 4, 3],
        &[4, 1],
        &[1, 1],
    ];
    let tokens: [&[u32]; 3] = [&[bos, 20, 30], &[bos], &[bos, 7]];
    let logits = |model: &Model| {
        let decoder = &model.autoencoder().unwrap().decoder;
        runs.map(|rows| {
            let vectors: Vec<f32> = rows.iter().flat_map(|&seed| vector(seed)).collect();
            decoder
                .teacher_forced(&vectors, &tokens[..rows.len()])
                .unwrap()
        })
    };
    let expected = logits(&nodes);
    for kernel in kernels() {
        let model = load("bundle-slots", kernel);
        assert_eq!(model.matmul_kernel(), Some(kernel));
        for (found, expected) in logits(&model).iter().zip(&expected) {
            assert_close(found, expected, 1e-4);
        }
    }
}

#[test]
fn continuations_are_the_same() {
    for bundle in [
        "bundle-fast",
        "bundle-opt-fast",
        "bundle-slots",
        "bundle-context-bias",
    ] {
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
        for kernel in kernels() {
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
        // 22 nodes of each of the two layers, and the two that lead to both.
        ("bundle-slots/cpu-int8/decoder.onnx", Some(46)),
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
