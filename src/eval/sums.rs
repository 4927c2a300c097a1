//! The running sums of an evaluation, which the state file holds.

use serde::{Deserialize, Serialize};

use super::{
    report::{LengthScore, NextSentenceScore, NextTokenScore, ReconstructionScore, StopScore},
    score::Score,
};

/// Lengths in tokens (bos and eos not counted) that are reported together.
const LENGTHS: [(u64, u64, &str); 5] = [
    (1, 8, "1-8"),
    (9, 16, "9-16"),
    (17, 32, "17-32"),
    (33, 64, "33-64"),
    (65, u64::MAX, "65+"),
];

/// Largest count that is read: adding to it cannot overflow.
const MAX_COUNT: u64 = 1 << 53;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    pub records: u64,
    pub sentences: u64,
    pub bytes: u64,
    pub truncated_sentences: u64,
    reconstruction: Predicted,
    by_length: [Exactness; LENGTHS.len()],
    pub next_sentence: Predicted,
    /// The same with the backbone's attention as it is in a prefill, where that is another.
    pub next_sentence_bidirectional: Predicted,
    /// Of the whole text. A state that is older than kind `opt` has none.
    #[serde(default)]
    pub next_token: Predicted,
    pub stop: Stops,
}

/// Predicted tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicted {
    sentences: u64,
    bytes: u64,
    exact: u64,
    #[serde(default)]
    exact_bytes: u64,
    tokens: u64,
    correct: u64,
    #[serde(with = "exact")]
    nll: f64,
    samples: u64,
    #[serde(with = "exact")]
    sample_means: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exactness {
    sentences: u64,
    exact: u64,
    tokens: u64,
    correct: u64,
}

/// What the stop head said and what was so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stops {
    positions: u64,
    right: u64,
    ends: u64,
    predicted: u64,
    found: u64,
}

impl Sums {
    /// Whether no count exceeds [`MAX_COUNT`] or the count that it is a part of.
    pub fn is_consistent(&self) -> bool {
        let reconstruction = &self.reconstruction;
        let own = [
            (self.records, self.sentences),
            (self.truncated_sentences, self.sentences),
            (self.bytes, MAX_COUNT),
            // Each sentence has at least the token that ends it.
            (reconstruction.sentences, reconstruction.tokens),
        ];
        let predicted = [
            reconstruction,
            &self.next_sentence,
            &self.next_sentence_bidirectional,
            &self.next_token,
        ];
        own.into_iter()
            .chain(predicted.into_iter().flat_map(Predicted::parts))
            .chain(self.by_length.iter().flat_map(Exactness::parts))
            .chain(self.stop.parts())
            .all(|(part, whole)| part <= whole && whole <= MAX_COUNT)
    }

    pub fn add_reconstruction(&mut self, bytes: u64, score: Score) {
        self.reconstruction.add_sentence(bytes, score);
        self.reconstruction.add_sample(score.mean());
        let length = score.tokens - 1;
        let bins = LENGTHS.iter().zip(&mut self.by_length);
        for (_, bin) in bins.filter(|((from, to, _), _)| (*from..=*to).contains(&length)) {
            bin.sentences += 1;
            bin.exact += u64::from(score.is_exact());
            bin.tokens += score.tokens;
            bin.correct += score.correct;
        }
    }

    /// The figures; none where nothing was decoded.
    pub fn reconstruction(&self) -> Option<ReconstructionScore> {
        let sums = &self.reconstruction;
        let bins = LENGTHS.iter().zip(&self.by_length);
        let by_length = bins
            .filter(|(_, bin)| bin.sentences > 0)
            .map(|((_, _, length), bin)| LengthScore {
                length: (*length).to_owned(),
                sentences: bin.sentences,
                exact: share(bin.exact, bin.sentences),
                token_accuracy: share(bin.correct, bin.tokens),
            });
        (sums.tokens > 0).then(|| ReconstructionScore {
            tokens: sums.tokens,
            nll: sums.nll,
            perplexity: sums.perplexity(),
            paper_perplexity: sums.paper_perplexity(),
            bits_per_byte: sums.bits_per_byte(),
            exact: share(sums.exact, sums.sentences),
            round_trip: share(sums.exact_bytes, sums.bytes),
            tokens_per_sentence: share(sums.tokens - sums.sentences, sums.sentences),
            token_accuracy: share(sums.correct, sums.tokens),
            by_length: by_length.collect(),
        })
    }
}

impl Predicted {
    /// Each count with the one that it is a part of.
    fn parts(&self) -> [(u64, u64); 4] {
        [
            (self.exact, self.sentences),
            (self.exact_bytes, self.bytes),
            (self.correct, self.tokens),
            (self.samples, MAX_COUNT),
        ]
    }

    pub fn add_sentence(&mut self, bytes: u64, score: Score) {
        self.add_texts(1, bytes, score);
        if score.is_exact() {
            self.exact += 1;
            self.exact_bytes += bytes;
        }
    }

    /// Several sentences, or one text that is no sentence, with one score for all.
    pub fn add_texts(&mut self, count: u64, bytes: u64, score: Score) {
        self.sentences += count;
        self.bytes += bytes;
        self.tokens += score.tokens;
        self.correct += score.correct;
        self.nll += score.nll;
    }

    /// A sample of the paper's mean, by its mean negative log-likelihood.
    pub fn add_sample(&mut self, mean: f64) {
        self.samples += 1;
        self.sample_means += mean;
    }

    fn perplexity(&self) -> f64 {
        (self.nll / self.tokens as f64).exp()
    }

    fn paper_perplexity(&self) -> f64 {
        (self.sample_means / self.samples as f64).exp()
    }

    fn bits_per_byte(&self) -> f64 {
        self.nll / std::f64::consts::LN_2 / self.bytes as f64
    }

    /// The figures of whole texts; none where nothing was predicted.
    pub fn report_tokens(&self) -> Option<NextTokenScore> {
        (self.tokens > 0).then(|| NextTokenScore {
            windows: self.samples,
            bytes: self.bytes,
            tokens: self.tokens,
            nll: self.nll,
            perplexity: self.perplexity(),
            paper_perplexity: self.paper_perplexity(),
            bits_per_byte: self.bits_per_byte(),
            token_accuracy: share(self.correct, self.tokens),
        })
    }

    /// The figures of sentences; none where nothing was predicted.
    pub fn report(&self, note: Option<&str>) -> Option<NextSentenceScore> {
        (self.tokens > 0).then(|| NextSentenceScore {
            sentences: self.sentences,
            bytes: self.bytes,
            tokens: self.tokens,
            nll: self.nll,
            perplexity: self.perplexity(),
            paper_perplexity: self.paper_perplexity(),
            bits_per_byte: self.bits_per_byte(),
            token_accuracy: share(self.correct, self.tokens),
            note: note.map(ToOwned::to_owned),
        })
    }
}

impl Exactness {
    /// Each count with the one that it is a part of.
    fn parts(&self) -> [(u64, u64); 2] {
        [(self.exact, self.sentences), (self.correct, self.tokens)]
    }
}

impl Stops {
    /// Each count with the one that it is a part of.
    fn parts(&self) -> [(u64, u64); 4] {
        [
            (self.right, self.positions),
            (self.ends, self.positions),
            (self.predicted, self.positions),
            (self.found, self.ends.min(self.predicted)),
        ]
    }

    /// `said` is what the stop head said, `end` whether the record ended there.
    pub fn add(&mut self, said: bool, end: bool) {
        self.positions += 1;
        self.right += u64::from(said == end);
        self.ends += u64::from(end);
        self.predicted += u64::from(said);
        self.found += u64::from(said && end);
    }

    /// The figures; none where it was not asked.
    pub fn report(&self) -> Option<StopScore> {
        let of = |count, all| (all > 0).then(|| share(count, all));
        (self.positions > 0).then(|| StopScore {
            positions: self.positions,
            ends: self.ends,
            predicted: self.predicted,
            accuracy: share(self.right, self.positions),
            recall: of(self.found, self.ends),
            precision: of(self.found, self.predicted),
        })
    }
}

fn share(count: u64, all: u64) -> f64 {
    count as f64 / all as f64
}

/// Numbers as text, which reads back as the same number to the last bit.
mod exact {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_nothing_are_left_out() {
        assert_eq!(Predicted::default().report(None), None);
        assert_eq!(Predicted::default().report_tokens(), None);
        assert_eq!(Sums::default().reconstruction(), None);
        let mut stops = Stops::default();
        assert_eq!(stops.report(), None);
        stops.add(false, false);
        assert_eq!(
            serde_json::to_value(stops.report()).unwrap(),
            serde_json::json!({"positions": 1, "ends": 0, "predicted": 0, "accuracy": 1.0})
        );
    }

    #[test]
    fn sentences_are_sorted_by_length() {
        let mut sums = Sums::default();
        for length in [0u64, 1, 8, 9, 32, 33, 64, 65, 500] {
            let score = Score {
                tokens: length + 1,
                correct: length,
                nll: 1.0,
            };
            sums.add_reconstruction(3, score);
        }
        let report = sums.reconstruction().unwrap();
        let bins: Vec<_> = report
            .by_length
            .iter()
            .map(|bin| (bin.length.as_str(), bin.sentences))
            .collect();
        let expected = [
            ("1-8", 2),
            ("9-16", 1),
            ("17-32", 1),
            ("33-64", 2),
            ("65+", 2),
        ];
        assert_eq!(bins, expected);
        assert_eq!(report.exact, 0.0);
        assert_eq!(report.by_length[0].token_accuracy, 9.0 / 11.0);
    }

    #[test]
    fn counts_that_contradict_each_other_are_found() {
        let mut sums = Sums::default();
        assert!(sums.is_consistent());
        let score = Score {
            tokens: 1,
            correct: 1,
            nll: 0.0,
        };
        sums.add_reconstruction(1, score);
        sums.stop.add(true, true);
        sums.sentences = 1;
        assert!(sums.is_consistent());
        let changes: [fn(&mut Sums); 7] = [
            |sums| sums.records = 2,
            |sums| sums.sentences = u64::MAX,
            |sums| sums.bytes = u64::MAX,
            |sums| sums.reconstruction.sentences = 2,
            |sums| sums.next_sentence.correct = 1,
            |sums| sums.by_length[4].exact = 1,
            |sums| sums.stop.found = 2,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = sums.clone();
            change(&mut changed);
            assert!(!changed.is_consistent(), "change {number}");
        }
    }

    #[test]
    fn sums_survive_being_written() {
        let mut sums = Sums::default();
        for nll in [0.1, 1e-300, 1.0 / 3.0] {
            let score = Score {
                tokens: 3,
                correct: 1,
                nll,
            };
            sums.add_reconstruction(7, score);
        }
        let text = serde_json::to_string(&sums).unwrap();
        assert_eq!(serde_json::from_str::<Sums>(&text).unwrap(), sums);
    }
}
