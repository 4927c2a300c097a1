//! Kernels against the plain product of dequantised weights, and the operator against the nodes that
//! it replaces.

use proptest::prelude::*;

use super::{
    VocabularyKernel,
    activations::Activations,
    packed::{BLOCK_BYTES, Packed},
    pattern::BLOCK,
};

/// The weights of a vocabulary, as a graph has them.
#[derive(Debug)]
struct Weights {
    vocab: usize,
    columns: usize,
    codes: Vec<u8>,
    scales: Vec<f32>,
    bias: Option<Vec<f32>>,
}

impl Weights {
    fn code(&self, token: usize, column: usize) -> u8 {
        let blocks = self.columns.div_ceil(BLOCK);
        let byte = self.codes[token * blocks * BLOCK_BYTES + column / 2];
        if column.is_multiple_of(2) {
            byte & 15
        } else {
            byte >> 4
        }
    }

    fn weight(&self, token: usize, column: usize) -> f64 {
        let scale = self.scales[token * self.columns.div_ceil(BLOCK) + column / BLOCK];
        f64::from(scale) * (f64::from(self.code(token, column)) - 8.0)
    }

    fn packed(&self, kernel: VocabularyKernel) -> Packed {
        let bias = self.bias.as_deref();
        Packed::new(&self.codes, &self.scales, bias, self.vocab, kernel.lanes()).unwrap()
    }
}

fn weights() -> impl Strategy<Value = Weights> {
    (1usize..70, 1usize..400).prop_flat_map(|(vocab, columns)| {
        let blocks = vocab * columns.div_ceil(BLOCK);
        (
            proptest::collection::vec(any::<u8>(), blocks * BLOCK_BYTES),
            proptest::collection::vec(-0.1f32..0.1, blocks),
            proptest::option::of(proptest::collection::vec(-1.0f32..1.0, vocab)),
        )
            .prop_map(move |(codes, scales, bias)| Weights {
                vocab,
                columns,
                codes,
                scales,
                bias,
            })
    })
}

/// The scores [vector][token] by a kernel, in two parts.
fn scores(kernel: VocabularyKernel, weights: &Weights, vectors: &[f32]) -> Vec<Vec<f32>> {
    let packed = weights.packed(kernel);
    let mut activations = Activations::default();
    activations.set(vectors, weights.columns);
    let mut found = vec![Vec::new(); activations.len()];
    let middle = packed.groups() / 2;
    for groups in [0..middle, middle..packed.groups()] {
        kernel.scores(&packed, groups, &activations, |vector, first, scores| {
            assert_eq!(found[vector].len(), first);
            found[vector].extend_from_slice(scores);
        });
    }
    for found in &mut found {
        let behind = found.split_off(weights.vocab);
        assert!(behind.iter().all(|&score| score == f32::NEG_INFINITY));
    }
    found
}

fn kernels() -> impl Iterator<Item = VocabularyKernel> {
    let all = VocabularyKernel::ALL.into_iter().skip(1);
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
        let plain = scores(VocabularyKernel::Plain, &weights, &vectors);
        for (vector, plain) in vectors.chunks(weights.columns).zip(&plain) {
            for (token, &found) in plain.iter().enumerate() {
                let products = vector.iter().enumerate().map(|(column, &value)| {
                    let weight = weights.weight(token, column);
                    // The value is rounded to a 254th of the largest, which is 1.
                    (f64::from(value) * weight, weight.abs() / 254.0)
                });
                let (sum, error) = products.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                let bias = weights.bias.as_ref().map_or(0.0, |bias| f64::from(bias[token]));
                let allowed = 1.01 * error + 1e-4;
                prop_assert!((f64::from(found) - sum - bias).abs() <= allowed, "{found} {sum}");
            }
        }
        for kernel in kernels() {
            prop_assert_eq!(&scores(kernel, &weights, &vectors), &plain, "{}", kernel);
        }
    }
}

/// The order of the widest kernel, which few processors have, is tried with plain instructions.
#[test]
fn sixteen_lanes_give_what_eight_give() {
    let weights = Weights {
        vocab: 37,
        columns: 300,
        codes: (0..37 * 3 * BLOCK_BYTES)
            .map(|n| ((n * 73) >> 2) as u8)
            .collect(),
        scales: (0..37 * 3).map(|n| 0.01 + n as f32 / 1e4).collect(),
        bias: None,
    };
    let vectors: Vec<f32> = (0..600).map(|n| (n as f32 * 0.7).sin()).collect();
    let packed = weights.packed(VocabularyKernel::Avx512Vnni);
    assert_eq!(packed.lanes, 16);
    let mut activations = Activations::default();
    activations.set(&vectors, weights.columns);
    let mut found = vec![Vec::new(); 2];
    super::kernel::plain_scores_of_16(&packed, &activations, |vector, scores| {
        found[vector].extend_from_slice(scores);
    });
    let expected = scores(VocabularyKernel::Plain, &weights, &vectors);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(&found[..weights.vocab], expected);
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let new = |codes: usize, scales: usize, bias: usize, vocab: usize| {
        let bias = vec![0.0; bias];
        Packed::new(&vec![0; codes], &vec![0.0; scales], Some(&bias), vocab, 8).is_some()
    };
    assert!(new(10 * BLOCK_BYTES, 10, 5, 5));
    assert!(!new(10 * BLOCK_BYTES, 10, 4, 5));
    assert!(!new(9 * BLOCK_BYTES, 10, 5, 5));
    assert!(!new(11 * BLOCK_BYTES, 11, 5, 5));
    assert!(!new(0, 0, 0, 0));
}

mod graphs {
    use crate::{LoadOptions, Model, VocabularyKernel, runtime::testing::assert_close};

    fn load(bundle: &str, kernel: VocabularyKernel) -> Model {
        let options = LoadOptions::default().with_threads(2).unwrap();
        let options = options.with_vocabulary_kernel(kernel).unwrap();
        Model::load(format!("tests/golden/{bundle}"), options).unwrap()
    }

    /// The operator gives what the nodes give that it replaces: dense logits, and continuations.
    #[test]
    fn the_operator_equals_the_nodes() {
        let nodes = load("bundle-fast", VocabularyKernel::OnnxRuntime);
        assert_eq!(
            nodes.vocabulary_kernel(),
            Some(VocabularyKernel::OnnxRuntime)
        );
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
            assert_eq!(model.vocabulary_kernel(), Some(kernel));
            let decoder = &model.autoencoder().unwrap().decoder;
            let found = decoder.teacher_forced(vectors, &ids).unwrap();
            assert_close(&found, &expected, 1e-4);
        }
    }

    #[test]
    fn continuations_are_the_same() {
        for bundle in ["bundle-fast", "bundle-opt-fast"] {
            let text = |kernel: VocabularyKernel| {
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
            let expected = text(VocabularyKernel::OnnxRuntime);
            assert!(expected.iter().flatten().count() > 10);
            for kernel in super::kernels() {
                assert_eq!(text(kernel), expected, "{bundle}, {kernel}");
            }
        }
    }

    #[test]
    fn a_small_vocabulary_has_no_kernel() {
        let model = load("bundle", VocabularyKernel::Plain);
        assert_eq!(model.vocabulary_kernel(), None);
    }
}
