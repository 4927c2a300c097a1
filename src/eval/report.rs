//! The figures of an evaluation.

use serde::Serialize;

/// The figures of a model on a text. A figure that was not measured is absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// Name of the model.
    pub model: String,
    /// The variant in use.
    pub variant: String,
    /// The text file.
    pub text: String,
    /// Records that hold a sentence.
    pub records: u64,
    /// Sentences that were encoded and decoded; in kind `opt`, the sentences of all windows.
    pub sentences: u64,
    /// Bytes of the text of these sentences, without what was cut off from truncated ones, and for
    /// kind `opt` without white space between windows.
    pub bytes: u64,
    /// Sentences that the bundle's segmentation truncated.
    pub truncated_sentences: u64,
    /// Each sentence decoded from its own vector. Absent for kind `opt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconstruction: Option<ReconstructionScore>,
    /// Each sentence predicted from those before it; the backbone sees only these. Absent for kind
    /// `svae`, and where no record has two sentences. In kind `opt`, covers the tokens whose text
    /// lies in these sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_sentence: Option<NextSentenceScore>,
    /// `next_sentence` as the original measures it, if the model's prefill is bidirectional: the
    /// backbone sees the whole window at once, including the sentence to predict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_sentence_bidirectional: Option<NextSentenceScore>,
    /// Each token predicted from those before it. Present for kind `opt` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<NextTokenScore>,
    /// The stop head. Present for kind `sllm` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopScore>,
    /// Wall time in seconds, including that of an interrupted run up to its last saved state.
    pub seconds: f64,
}

/// How well sentences are reconstructed from their vectors.
///
/// Decoded with teacher forcing: tokens `[t1..tn, eos]` after `[bos, t1..tn]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReconstructionScore {
    /// Predicted tokens, eos included.
    pub tokens: u64,
    /// Their negative log-likelihood, in nats.
    pub nll: f64,
    /// `exp(nll / tokens)`.
    pub perplexity: f64,
    /// As in arXiv 2408.00655: the exponential of the mean over sentences of each one's mean
    /// cross-entropy.
    pub paper_perplexity: f64,
    /// `nll` in bits, over the bytes of the sentences.
    pub bits_per_byte: f64,
    /// Share of sentences in which every token is the most likely one, as if decoded greedily.
    pub exact: f64,
    /// Share of the text's bytes that lie in exactly reconstructed sentences.
    pub round_trip: f64,
    /// Mean length of a sentence, bos and eos not counted.
    pub tokens_per_sentence: f64,
    /// Share of tokens that are the most likely one.
    pub token_accuracy: f64,
    /// Exactness and accuracy by length; lengths without a sentence are left out.
    pub by_length: Vec<LengthScore>,
}

/// Reconstruction of sentences of similar length.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LengthScore {
    /// Range of lengths in tokens, bos and eos not counted, such as `9-16`.
    pub length: String,
    /// Sentences of that length.
    pub sentences: u64,
    /// Share of them in which every token is the most likely one.
    pub exact: f64,
    /// Share of their tokens, eos included, that are the most likely one.
    pub token_accuracy: f64,
}

/// How well the next sentence is predicted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NextSentenceScore {
    /// Predicted sentences: all but the first of each window.
    pub sentences: u64,
    /// Bytes of their text: two models are measured on the same text where these are equal.
    pub bytes: u64,
    /// Their tokens. Kind `sllm` counts the eos of each sentence. Kind `opt` counts no eos, and a
    /// token that begins with the space at the end of the first sentence belongs to the second.
    pub tokens: u64,
    /// Their negative log-likelihood, in nats.
    pub nll: f64,
    /// `exp(nll / tokens)`.
    pub perplexity: f64,
    /// The exponential of the mean over windows of each one's mean cross-entropy.
    pub paper_perplexity: f64,
    /// `nll` in bits, over the bytes of the predicted sentences.
    pub bits_per_byte: f64,
    /// Share of tokens that are the most likely one.
    pub token_accuracy: f64,
    /// A note on how to read these figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How well the next token is predicted, in windows of at most `max_positions` tokens: `[t1..tn]`
/// after `[bos, t1..tn]`, and eos where the record ends.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NextTokenScore {
    /// Windows.
    pub windows: u64,
    /// Bytes of their text.
    pub bytes: u64,
    /// Predicted tokens, eos of each record included.
    pub tokens: u64,
    /// Their negative log-likelihood, in nats.
    pub nll: f64,
    /// `exp(nll / tokens)`.
    pub perplexity: f64,
    /// As in arXiv 2408.00655: the exponential of the mean over windows of each one's mean
    /// cross-entropy.
    pub paper_perplexity: f64,
    /// `nll` in bits, over the bytes of the text.
    pub bits_per_byte: f64,
    /// Share of tokens that are the most likely one.
    pub token_accuracy: f64,
}

/// How well the stop head predicts the end of a record.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StopScore {
    /// Number of predictions: one after every sentence.
    pub positions: u64,
    /// Number of predictions at the end of a record.
    pub ends: u64,
    /// Number of predictions that the record ends.
    pub predicted: u64,
    /// Share of correct predictions.
    pub accuracy: f64,
    /// Share of the ends that were predicted; absent without an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Share of the predicted ends that were correct; absent if none was predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
}
