//! The figures of a text.

use std::path::Path;

use serde::Serialize;

use super::{Bin, Counts, LengthSummary, SentenceLength, VocabularyUse, lengths::bins};
use crate::{
    bundle::Bundle,
    error::{Error, Result, TextError},
    fs::write_whole,
    plot::{Bars, bars},
    text::SentenceTokenizer,
};

/// Bars of a drawing: one for each length that sentences of the paper's models have.
const DRAWN_BINS: usize = 64;

/// The statistics of a text for a model. Tokens are counted without bos and eos; a sentence that
/// the model would get in parts is counted as its parts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TextStats {
    /// Name of the model.
    pub model: String,
    /// The text file.
    pub text: String,
    /// Records that hold a sentence.
    pub records: u64,
    /// Sentences.
    pub sentences: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Bytes of the text that the tokens stand for.
    pub bytes: u64,
    /// Characters of that text.
    pub characters: u64,
    /// `bytes / tokens`.
    pub bytes_per_token: f64,
    /// Lengths of the sentences.
    pub tokens_per_sentence: LengthSummary,
    /// Lengths of the records.
    pub sentences_per_record: LengthSummary,
    /// The longest sentence that the model takes, bos included. Absent for kind `opt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sentence_tokens: Option<usize>,
    /// Sentences of the text that were longer and were split into parts.
    pub split_sentences: u64,
    /// Sentences of the text that were longer and were cut short.
    pub truncated_sentences: u64,
    /// Records of which the text after the last mark was left out.
    pub dropped_tails: u64,
    /// Bytes that were left out: those tails, and what was cut off from truncated sentences.
    pub dropped_bytes: u64,
    /// How many sentences have each length, the shortest first; lengths without a sentence are left
    /// out.
    pub sentences_by_length: Vec<SentenceLength>,
    /// Which tokens the text uses.
    pub vocabulary: VocabularyUse,
}

impl TextStats {
    /// The lengths of the sentences in at most `most` bins of equal width (2 if `most` is less),
    /// the shortest first; the last bin also counts the few sentences that are far longer than
    /// nearly all.
    #[must_use]
    pub fn histogram(&self, most: usize) -> Vec<Bin> {
        let p99 = self.tokens_per_sentence.p99;
        bins(&self.sentences_by_length, p99, most as u64)
    }

    /// Write a chart of the sentence lengths to an SVG file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write_svg(&self, path: impl AsRef<Path>) -> Result<()> {
        let bins = self.histogram(DRAWN_BINS);
        let title = format!("{} sentences as {} sees them", self.sentences, self.model);
        let bar = |bin: &Bin| (bin.label(), bin.sentences as f64);
        let chart = Bars {
            title: &title,
            label_axis: "tokens",
            value_axis: "sentences",
            bars: &bins.iter().map(bar).collect::<Vec<_>>(),
        };
        write_whole(path.as_ref(), |file| {
            file.write_all(bars(&[chart])?.as_bytes())
        })
    }
}

pub(super) fn report(
    counts: &Counts,
    bundle: &Bundle,
    tokenizer: &SentenceTokenizer,
    text: &Path,
) -> Result<TextStats> {
    let empty = || {
        Error::Text(TextError::NoSentences {
            path: text.to_owned(),
        })
    };
    let tokens = counts.sentences.total();
    Ok(TextStats {
        model: bundle.config.name.clone(),
        text: text.display().to_string(),
        records: counts.records.count(),
        sentences: counts.sentences.count(),
        tokens,
        bytes: counts.bytes,
        characters: counts.characters,
        bytes_per_token: counts.bytes as f64 / tokens as f64,
        tokens_per_sentence: counts.sentences.summary().ok_or_else(empty)?,
        sentences_per_record: counts.records.summary().ok_or_else(empty)?,
        max_sentence_tokens: bundle.config.require_max_sentence_tokens().ok(),
        split_sentences: counts.split_sentences,
        truncated_sentences: counts.truncated_sentences,
        dropped_tails: counts.dropped_tails,
        dropped_bytes: counts.dropped_bytes,
        sentences_by_length: counts.sentences.by_length(),
        vocabulary: counts.tokens.report(tokenizer)?,
    })
}
