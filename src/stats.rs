//! Statistics of a text file as a model would see it: its sentences, their lengths, and which of the
//! vocabulary's tokens they use.
//!
//! Records and sentences are those of [`eval`](crate::eval). Only a bundle's manifest and tokenizer
//! are needed, no ONNX Runtime. The file is read piece by piece; only counts are kept.

mod lengths;
mod report;
mod vocabulary;

use std::path::Path;

use crate::{
    bundle::Bundle,
    error::{Error, Result, TextError},
    eval::records::{Piece, Position, Records},
    text::{SentenceTokenizer, TextPipeline, TextSentence},
};
use lengths::Lengths;
use vocabulary::TokenCounts;

pub use lengths::{Bin, LengthSummary, SentenceLength};
pub use report::TextStats;
pub use vocabulary::{TokenCount, VocabularyUse};

/// Compute the statistics of the file `text` for the model of `bundle`.
///
/// `progress` is given the number of bytes that were processed.
///
/// A model of kind `opt` has no limit on the length of a sentence; its text is cut by the same rule.
///
/// # Errors
/// [`Error::Read`], [`TextError::NotUtf8`], [`TextError::Nul`], [`TextError::Unusable`] or
/// [`TextError::NoSentences`] for the text; those of [`Bundle::load_tokenizer`].
///
/// ```
/// use sllm_ort::{bundle::Bundle, stats::text_stats};
///
/// let bundle = Bundle::open("models/sllm-stories")?;
/// let stats = text_stats(&bundle, "tests/data/stories.txt", |_| ())?;
/// println!("{:.2} bytes per token", stats.bytes_per_token);
/// # Ok::<(), sllm_ort::Error>(())
/// ```
pub fn text_stats(
    bundle: &Bundle,
    text: impl AsRef<Path>,
    progress: impl FnMut(u64),
) -> Result<TextStats> {
    text_stats_with(bundle, &bundle.load_tokenizer()?, text, progress)
}

/// Compute [`text_stats`] with a tokenizer that is already loaded, which saves time for several
/// files.
///
/// # Errors
/// Those of [`text_stats`] for the text.
pub fn text_stats_with(
    bundle: &Bundle,
    tokenizer: &SentenceTokenizer,
    text: impl AsRef<Path>,
    mut progress: impl FnMut(u64),
) -> Result<TextStats> {
    let text = text.as_ref();
    let limit = bundle.config.require_max_sentence_tokens().ok();
    let pipeline = TextPipeline::new(
        tokenizer.clone(),
        bundle.segmentation,
        limit.unwrap_or(usize::MAX),
    )?;
    let mut counter = Counter {
        pipeline: &pipeline,
        counts: Counts::new(bundle.config.vocab_size),
    };
    let mut records = Records::open(text, Position::default(), bundle.segmentation.rule)?;
    while let Some(piece) = records.next_piece()? {
        counter.add_piece(&piece, text)?;
        progress(piece.next_record.unwrap_or(piece.offset(0)));
    }
    report::report(&counter.counts, bundle, pipeline.tokenizer(), text)
}

/// What is kept of a text.
struct Counts {
    records: Lengths,
    sentences: Lengths,
    tokens: TokenCounts,
    bytes: u64,
    characters: u64,
    split_sentences: u64,
    truncated_sentences: u64,
    dropped_tails: u64,
    dropped_bytes: u64,
    sentences_of_record: u64,
}

impl Counts {
    fn new(vocab_size: usize) -> Self {
        Self {
            records: Lengths::default(),
            sentences: Lengths::default(),
            tokens: TokenCounts::new(vocab_size),
            bytes: 0,
            characters: 0,
            split_sentences: 0,
            truncated_sentences: 0,
            dropped_tails: 0,
            dropped_bytes: 0,
            sentences_of_record: 0,
        }
    }
}

struct Counter<'p> {
    pipeline: &'p TextPipeline,
    counts: Counts,
}

impl Counter<'_> {
    fn add_piece(&mut self, piece: &Piece, path: &Path) -> Result<()> {
        let mut at = 0;
        let unusable = |at: usize, source| {
            Error::Text(TextError::Unusable {
                path: path.to_owned(),
                byte: piece.offset(at),
                source: Box::new(source),
            })
        };
        let mut sentences = self.pipeline.sentences(piece.text())?;
        let mut parts = 0;
        while let Some(part) = sentences.next() {
            let part = part.map_err(|source| unusable(at, source))?;
            self.add(&part).map_err(|source| unusable(at, source))?;
            parts += 1;
            if !sentences.is_within_sentence() {
                self.counts.split_sentences += u64::from(parts > 1);
                parts = 0;
            }
            at = piece.text().len() - sentences.remaining_bytes();
        }
        let dropped = sentences.dropped();
        self.counts.dropped_tails += u64::from(!dropped.is_empty());
        self.counts.dropped_bytes += dropped.len() as u64;
        if piece.next_record.is_some() {
            let sentences = std::mem::take(&mut self.counts.sentences_of_record);
            if sentences > 0 {
                self.counts.records.add(sentences);
            }
        }
        Ok(())
    }

    /// Count a sentence of the text, or a part of one that is too long for the model.
    fn add(&mut self, part: &TextSentence<'_>) -> Result<()> {
        let counts = &mut self.counts;
        counts.sentences_of_record += 1;
        counts.sentences.add(part.ids.len() as u64);
        counts.tokens.add(&part.ids);
        let kept = match part.truncated {
            true => &self.pipeline.decode(&part.ids)?,
            false => part.text,
        };
        counts.bytes += kept.len() as u64;
        counts.characters += kept.chars().count() as u64;
        counts.truncated_sentences += u64::from(part.truncated);
        counts.dropped_bytes += part.text.len().saturating_sub(kept.len()) as u64;
        Ok(())
    }
}
