use super::*;
use crate::{LoadOptions, Model, Provider, ProviderChoice, runtime::testing::assert_close};

fn load(bundle: &str, variant: &str) -> Model {
    let options = LoadOptions::default()
        .with_provider(ProviderChoice::Only(Provider::Cpu))
        .with_variant(variant);
    Model::load(format!("tests/golden/{bundle}"), options).unwrap()
}

fn log_sum_exp(logits: &[f32]) -> f32 {
    logits.iter().map(|logit| logit.exp()).sum::<f32>().ln()
}

/// Logits of a guided sentence are those of its vector, led away from those of zeros, in runs
/// with others too; a sentence with scale 1 has its own.
#[test]
fn guided_logits_are_led_away_from_those_of_zeros() {
    for (bundle, variant) in [("bundle", "portable"), ("bundle-fast", "cpu-int8")] {
        let model = load(bundle, variant);
        let decoder = &model.autoencoder().unwrap().decoder;
        let texts = [
            "the cat sat on the hill. ",
            "a dog ran. ",
            "we saw the moon. ",
        ];
        let vectors: Vec<f32> = model.encode(&texts).unwrap().into_iter().collect();
        let size = model.config().hidden_size;
        let bos = model.config().tokens.bos;
        let tokens = [[bos, 20, 30, 5], [bos, 7, 8, 9], [bos, 11, 4, 12]];
        let lengths = [2, 4, 3];
        let scales = [1.75, 1.0, 3.0];
        let mut found = vec![Vec::new(); 3];
        let next = |sentence: usize, logits: Result<&mut Logits>| {
            found[sentence].push(logits.unwrap().clone());
            let place = found[sentence].len();
            (place < lengths[sentence]).then(|| tokens[sentence][place])
        };
        let mut buffers = DecodeBuffers::default();
        decoder
            .decode_guided(&mut buffers, bos, &vectors, &scales, next)
            .unwrap();
        let zeros = vec![0.0; size];
        for (sentence, found) in found.iter().enumerate() {
            let ids = &tokens[sentence][..lengths[sentence]];
            let vector = &vectors[sentence * size..][..size];
            let alone = stepwise(decoder, vector, ids);
            let without = decoder.teacher_forced(&zeros, &[ids]).unwrap();
            let without = without.chunks(decoder.vocab_size());
            assert_eq!(found.len(), alone.len());
            let steps = found.iter().zip(alone).zip(without).enumerate();
            for (place, ((found, mut expected), without)) in steps {
                let scale = scales[sentence];
                if scale != 1.0 {
                    let shift = log_sum_exp(expected.values()) - log_sum_exp(without);
                    for &id in &ids[1..=place] {
                        if let Some(logit) = expected.logit_mut(id) {
                            *logit = logit.min(without[id as usize] + shift);
                        }
                    }
                }
                let most = expected.best_token().1;
                let lead = |(id, logit): (u32, f32)| {
                    let without = without[id as usize];
                    if scale != 1.0 && logit < most + 0.1f32.ln() {
                        return f32::NEG_INFINITY;
                    }
                    without + scale * (logit - without)
                };
                let values: Vec<f32> = expected.iter().map(lead).collect();
                expected.set_top(expected.ids().to_vec(), &values);
                let ranks = variant != "portable";
                assert!(ranks || found.ids().is_empty());
                // Coarse logits may rank otherwise with other rows in a run.
                let pairs = found.iter().filter_map(|(id, logit)| {
                    let pair = (logit, *expected.logit_mut(id)?);
                    let finite = pair.0.is_finite() && pair.1.is_finite();
                    assert!(ranks || pair.0.is_finite() == pair.1.is_finite());
                    finite.then_some(pair)
                });
                let (found, expected): (Vec<f32>, Vec<f32>) = pairs.unzip();
                assert!(!found.is_empty());
                assert_close(&found, &expected, if ranks { 0.05 } else { 1e-4 });
            }
        }
    }
}

/// Tokens of the context gain the context bias, each by itself, and only with a vector's own
/// context: not those of other rows, nor of guidance's rows of zeros.
#[test]
fn tokens_of_the_context_gain_a_bias() {
    for (bundle, variant, tolerance) in [
        ("bundle-context-bias", "portable", 1e-4),
        ("bundle-context-bias", "cpu-int8", 0.05),
    ] {
        let model = load(bundle, variant);
        let decoder = &model.autoencoder().unwrap().decoder;
        let vocab_size = model.config().vocab_size;
        let vector = model.encode(&["the cat sat on the hill. "]).unwrap();
        let vector = vector.row(0).to_vec();
        let bos = model.config().tokens.bos;
        let condition = |before: &[u32]| {
            let mut condition = Vec::new();
            decoder.push_condition(&mut condition, &vector, before.iter().copied());
            condition
        };
        let logits = |before: &[u32]| {
            let found = decoder.teacher_forced(&condition(before), &[&[bos]]);
            found.unwrap()
        };
        let none = logits(&[]);
        assert_eq!(
            none,
            decoder
                .teacher_forced(&decoder.conditions(&vector), &[&[bos]])
                .unwrap()
        );
        let all: Vec<u32> = (0..vocab_size as u32).collect();
        let every = logits(&all);
        let some = logits(&[9, 30, 9]);
        for id in 0..vocab_size {
            let expected = if [9, 30].contains(&id) { &every } else { &none };
            let difference = (some[id] - expected[id]).abs();
            assert!(
                difference <= tolerance,
                "{bundle}, {variant}, {id}: {difference}"
            );
        }
        let gained = every
            .iter()
            .zip(&none)
            .filter(|(e, n)| (*e - *n).abs() > 0.1);
        assert!(gained.count() > vocab_size / 2);

        let conditions = [condition(&[]), condition(&[9, 30]), condition(&[9, 30])].concat();
        let mut found = vec![Vec::new(); 3];
        let next = |row: usize, logits: Result<&mut Logits>| {
            found[row].push(logits.unwrap().clone());
            (found[row].len() <= row).then_some(20)
        };
        let mut buffers = DecodeBuffers::default();
        decoder
            .decode(&mut buffers, bos, &conditions, next)
            .unwrap();
        for (row, expected) in [(0, &none), (1, &some), (2, &some)] {
            for (id, logit) in found[row][0].iter() {
                let difference = (logit - expected[id as usize]).abs();
                assert!(
                    difference <= tolerance,
                    "{bundle}, {variant}, row {row}: {difference}"
                );
            }
        }
        let [alone, of_two] = [&found[1][1], &found[2][1]];
        let pairs = alone.iter().zip(of_two.iter());
        for ((id, one), (other_id, other)) in pairs {
            assert!(id == other_id && (one - other).abs() <= tolerance);
        }

        let mut guided = Vec::new();
        let next = |_, logits: Result<&mut Logits>| {
            guided.push(logits.unwrap().clone());
            None
        };
        decoder
            .decode_guided(&mut buffers, bos, &condition(&[9, 30]), &[2.0], next)
            .unwrap();
        let zeros =
            decoder.teacher_forced(&decoder.conditions(&vec![0.0; vector.len()]), &[&[bos]]);
        let zeros = zeros.unwrap();
        let finite = guided[0].iter().filter(|(_, logit)| logit.is_finite());
        for (id, logit) in finite {
            let (with, without) = (some[id as usize], zeros[id as usize]);
            let difference = (logit - (2.0 * with - without)).abs();
            assert!(
                difference <= 3.0 * tolerance,
                "{bundle}, {variant}, {id}: {difference}"
            );
        }
    }
}

/// The logits after each token of a sentence that is decoded with these tokens.
fn stepwise(decoder: &Decoder, vector: &[f32], tokens: &[u32]) -> Vec<Logits> {
    let mut found = Vec::new();
    let mut rest = tokens[1..].iter().copied();
    let mut buffers = DecodeBuffers::default();
    let next = |_, logits: Result<&mut Logits>| {
        found.push(logits.unwrap().clone());
        rest.next()
    };
    decoder
        .decode(&mut buffers, tokens[0], vector, next)
        .unwrap();
    found
}

/// Token by token with the cache, and the whole prefix from scratch, agree.
#[test]
fn steps_equal_recomputing() {
    // On ARM, ONNX Runtime rounds a single vector otherwise than several.
    let int8 = if cfg!(target_arch = "aarch64") {
        0.02
    } else {
        1e-4
    };
    for (bundle, variant, tolerance) in [
        ("bundle", "portable", 1e-4),
        ("bundle", "cpu-int8", int8),
        ("bundle-half", "cuda-fp16", 0.02),
    ] {
        let model = load(bundle, variant);
        let decoder = &model.autoencoder().unwrap().decoder;
        let vocab_size = model.config().vocab_size;
        let vector = model.encode(&["the cat sat on the hill. "]).unwrap();
        let vector = vector.row(0).to_vec();
        let mut ids = vec![model.config().tokens.bos];
        for _ in 0..20 {
            let step = stepwise(decoder, &vector, &ids).pop().unwrap();
            let whole = decoder.teacher_forced(&vector, &[&ids]).unwrap();
            let whole = &whole[whole.len() - vocab_size..];
            let (chosen, logits): (Vec<u32>, Vec<f32>) = step.iter().unzip();
            assert_eq!(chosen.len(), whole.len());
            let expected: Vec<f32> = chosen.iter().map(|&id| whole[id as usize]).collect();
            assert_close(&logits, &expected, tolerance);
            let (best, _) = step.best_token();
            let best_of_whole = Logits::dense(whole.to_vec()).best_token().0;
            assert_eq!(best, best_of_whole, "{variant}, after {ids:?}");
            ids.push(best);
        }
    }
}

/// The top k of the graph are the best of all tokens, with the same logits, and hold nearly all
/// of the probability.
#[test]
fn ranked_logits_are_those_of_the_best_tokens() {
    let model = Model::load("tests/golden/bundle-fast", LoadOptions::default()).unwrap();
    let decoder = &model.autoencoder().unwrap().decoder;
    let vector = model.encode(&["the cat sat on the hill. "]).unwrap();
    let vector = vector.row(0).to_vec();
    let ids = [model.config().tokens.bos, 20, 30];
    let dense = decoder.teacher_forced(&vector, &[&ids]).unwrap();
    let ranked = stepwise(decoder, &vector, &ids);
    for (top, dense) in ranked.iter().zip(dense.chunks(model.config().vocab_size)) {
        assert_eq!(top.iter().count(), 8);
        let least = top.values().iter().copied().fold(f32::MAX, f32::min);
        for (id, &logit) in dense.iter().enumerate() {
            let chosen = top.ids().contains(&(id as u32));
            assert!(chosen || logit < least + 0.5, "{id}: {logit}, {least}");
        }
        for (id, logit) in top.iter() {
            assert!((logit - dense[id as usize]).abs() < 1e-4, "{id}");
        }
        let weight = |logits: &[f32]| logits.iter().map(|logit| logit.exp()).sum::<f32>();
        let mass = weight(top.values()) / weight(dense);
        assert!(mass > 0.9, "{mass}");
    }
}
