//! Sentences under the decoder, teacher forced.

use crate::{config::SpecialTokens, error::Result, graphs::Decoder, logits::best_of};

/// A sentence to be decoded from a vector.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The sentence vector, `[hidden]`.
    pub vector: &'a [f32],
    /// The tokens before it, where it is predicted from them.
    pub before: &'a [u32],
    /// The tokens, without bos and eos.
    pub ids: &'a [u32],
}

/// How a sentence was predicted: its tokens and eos.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Tokens that were predicted, eos included.
    pub tokens: u64,
    /// How many of them were the most likely one.
    pub correct: u64,
    /// Negative log-likelihood of all, in nats.
    pub nll: f64,
}

impl Score {
    /// Mean negative log-likelihood of a token.
    pub fn mean(&self) -> f64 {
        self.nll / self.tokens as f64
    }

    /// Whether greedy decoding gives the sentence.
    pub fn is_exact(&self) -> bool {
        self.correct == self.tokens
    }
}

impl std::ops::AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.correct += other.correct;
        self.nll += other.nll;
    }
}

/// The scores of sentences, each decoded with the right tokens given in front of each.
pub fn score(
    decoder: &Decoder,
    tokens: SpecialTokens,
    targets: &[Target<'_>],
) -> Result<Vec<Score>> {
    let ids: Vec<&[u32]> = targets.iter().map(|target| target.ids).collect();
    let condition = |target: &Target<'_>| {
        let mut condition = Vec::new();
        decoder.push_condition(&mut condition, target.vector, target.before.iter().copied());
        condition
    };
    let conditions: Vec<Vec<f32>> = targets.iter().map(condition).collect();
    let conditions: Vec<&[f32]> = conditions.iter().map(Vec::as_slice).collect();
    let mut scores = vec![Score::default(); targets.len()];
    decoder.each_teacher_forced(tokens.bos, &conditions, &ids, |index, logits| {
        let expected = targets[index].ids.iter().chain([&tokens.eos]);
        for (&id, logits) in expected.zip(logits.chunks_exact(decoder.vocab_size())) {
            scores[index].add(id, logits);
        }
    })?;
    Ok(scores)
}

impl Score {
    /// Add a token that was predicted by `logits`.
    pub fn add(&mut self, id: u32, logits: &[f32]) {
        let best = best_of(logits) as u32;
        self.tokens += 1;
        self.correct += u64::from(best == id);
        self.nll += log_sum_exp(logits, logits[best as usize]) - f64::from(logits[id as usize]);
    }
}

/// Logarithm of the sum of the exponentials of `logits`, of which `most` is the largest.
fn log_sum_exp(logits: &[f32], most: f32) -> f64 {
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from((logit - most).exp()))
        .sum();
    f64::from(most) + sum.ln()
}

#[cfg(test)]
pub mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{LoadOptions, Model, graphs::DecodeBuffers, logits::Logits};

    const MODELS: [(&str, &str); 2] = [
        ("bundle", "tiny-causal"),
        ("bundle-original", "tiny-original"),
    ];
    /// Variants, and how far their numbers may be from those of PyTorch: logits up to 10 that are 1 %
    /// off make 0.1 of a likelihood.
    const VARIANTS: [(&str, f64); 2] = [("portable", 1e-4), ("cpu-int8", 0.1)];

    fn load(bundle: &str, variant: &str) -> Model {
        let options = LoadOptions::default().with_variant(variant);
        Model::load(format!("tests/golden/{bundle}"), options).unwrap()
    }

    /// The score by the definition of cross-entropy, from the logits in front of each token.
    pub fn by_definition(logits: &[Vec<f32>], ids: &[u32]) -> Score {
        let mut score = Score::default();
        for (logits, &id) in logits.iter().zip(ids) {
            let likelihood = f64::from(logits[id as usize]).exp();
            let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            score.nll -= (likelihood / sum).ln();
            score.correct += u64::from(logits[id as usize] == best);
            score.tokens += 1;
        }
        score
    }

    pub fn assert_close(found: Score, expected: Score, tolerance: f64, what: &str) {
        assert_eq!(found.tokens, expected.tokens, "{what}");
        // Two tokens of nearly the same logit may change places in int8.
        let ties = u64::from(tolerance > 1e-3);
        assert!(found.correct.abs_diff(expected.correct) <= ties, "{what}");
        let allowed = tolerance * expected.nll.max(1.0);
        let difference = (found.nll - expected.nll).abs();
        assert!(difference <= allowed, "{what}: {found:?}, {expected:?}");
    }

    #[test]
    fn scores_are_those_of_pytorch() {
        for (bundle, folder) in MODELS {
            let golden = std::fs::read(format!("tests/golden/{folder}/expected.json")).unwrap();
            let golden: Value = serde_json::from_slice(&golden).unwrap();
            let golden = golden["decoder"].clone();
            let ids: Vec<Vec<u32>> = serde_json::from_value(golden["input_ids"].clone()).unwrap();
            let vectors: Vec<Vec<f32>> =
                serde_json::from_value(golden["sentence_embedding"].clone()).unwrap();
            let logits: Vec<Vec<Vec<f32>>> =
                serde_json::from_value(golden["logits"].clone()).unwrap();
            let targets: Vec<_> = ids
                .iter()
                .zip(&vectors)
                .map(|(ids, vector)| Target {
                    before: &[],
                    vector,
                    ids: &ids[1..],
                })
                .collect();
            for (variant, tolerance) in VARIANTS {
                let model = load(bundle, variant);
                let tokens = model.config().tokens;
                let scores =
                    score(&model.autoencoder().unwrap().decoder, tokens, &targets).unwrap();
                for ((found, target), logits) in scores.into_iter().zip(&targets).zip(&logits) {
                    let expected = by_definition(logits, &[target.ids, &[tokens.eos]].concat());
                    assert_close(found, expected, tolerance, &format!("{folder} {variant}"));
                }
            }
        }
    }

    /// Sentences of different lengths in one run, and each token by token with the cache, agree.
    #[test]
    fn together_is_step_by_step() {
        for ((bundle, _), (variant, _)) in MODELS.into_iter().flat_map(|m| VARIANTS.map(|v| (m, v)))
        {
            let model = load(bundle, variant);
            let (decoder, tokens) = (&model.autoencoder().unwrap().decoder, model.config().tokens);
            let size = model.config().hidden_size;
            let ids: Vec<Vec<u32>> = (0..23)
                .map(|length| (0..length).map(|i| 4 + (i * 7 + length) % 57).collect())
                .collect();
            let vectors: Vec<Vec<f32>> = (0..ids.len())
                .map(|row| {
                    (0..size)
                        .map(|j| ((row * 31 + j * 7) as f32).sin())
                        .collect()
                })
                .collect();
            let targets: Vec<_> = ids
                .iter()
                .zip(&vectors)
                .map(|(ids, vector)| Target {
                    vector,
                    before: &[],
                    ids,
                })
                .collect();
            let together = score(decoder, tokens, &targets).unwrap();
            for (target, together) in targets.iter().zip(together) {
                let ids = [&[tokens.bos], target.ids].concat();
                let mut rest = ids[1..].iter().copied();
                let mut logits = Vec::new();
                let next = |_, found: Result<&mut Logits>| {
                    logits.push(found.unwrap().values().to_vec());
                    rest.next()
                };
                let mut buffers = DecodeBuffers::default();
                decoder
                    .decode(&mut buffers, ids[0], target.vector, next)
                    .unwrap();
                let expected = by_definition(&logits, &[target.ids, &[tokens.eos]].concat());
                assert_close(together, expected, 1e-4, &format!("{bundle} {variant}"));
            }
        }
    }
}
