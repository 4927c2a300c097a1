//! Evaluation of a model on a text file.
//!
//! It measures how well sentences are reconstructed from their vectors, and how well the next
//! sentence, the next token and the end of a record are predicted.
//!
//! [`SEPARATOR`] ends a record; a file without it is one record. The model's [`TextPipeline`] cuts
//! the text of a record, without the white space around it, into sentences, which form windows of
//! at most `max_sentences`. In kind `opt`, a window has as many whole sentences as fit
//! `max_positions` tokens, and its text is tokenized as one. The file is read piece by piece:
//! memory does not grow with its size.
//!
//! To compare models of different kinds, tokenizers and units, use `next_sentence.bits_per_byte`:
//! it covers all sentences of a window but the first. If a record is longer than a context, or a
//! bundle's segmentation drops text, the covered text differs a little between models;
//! `next_sentence.bytes` shows it.

mod degenerate;
mod file_sentence;
mod measure;
mod options;
pub(crate) mod records;
mod report;
mod score;
mod state;
mod sums;
mod window_limit;
mod windows;

use std::{path::Path, time::Instant};

use crate::{
    error::{Error, Result, TextError},
    model::{Model, Network},
    text::{LongSentence, Segmentation, Tail, TextPipeline},
};
pub use degenerate::Degeneration;
use measure::{Measure, window_limit};
pub use options::EvalOptions;
pub use records::SEPARATOR;
pub use report::{
    Evaluation, LengthScore, NextSentenceScore, NextTokenScore, ReconstructionScore, StopScore,
};
use state::Subject;
use windows::{Window, Windows};

/// Windows are measured together until they have this many sentences.
const BATCH_SENTENCES: usize = 128;
/// What is said beside the figures of a bidirectional prefill.
const SEES_ITS_TARGET: &str = "as in arXiv 2408.00655 the backbone sees the whole window at once, and so \
the sentence that it is asked to predict; the original's code also masks each sentence by the length of \
the one before it, which is not done here; next_sentence has the causal figures";
/// What is said beside the figures of kind `opt` that compare with those of kind `sllm`.
const SAME_TEXT: &str = "of kind opt, the tokens whose text lies in the second and later sentences of \
each window: the text that an sllm predicts, whose figures also hold the end of each sentence";

/// Progress of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of the file that were processed.
    pub bytes: u64,
    /// Size of the file, in bytes.
    pub total_bytes: u64,
    /// Sentences that were processed.
    pub sentences: u64,
    /// Records that were processed or begun.
    pub records: u64,
    /// Limit on the records: [`EvalOptions::with_limit`].
    pub limit: Option<u64>,
}

/// Evaluate `model` on the file `text`; `progress` is called as the evaluation proceeds.
///
/// # Errors
/// [`Error::Read`], [`TextError::NotUtf8`], [`TextError::Nul`], [`TextError::Unusable`] or
/// [`TextError::NoSentences`] for the text; [`Error::State`], [`Error::Read`] or [`Error::Write`]
/// for the state file; [`TextError::Encode`], [`Error::Graph`].
///
/// ```no_run
/// use sllm_ort::{LoadOptions, Model, eval::{EvalOptions, evaluate}};
///
/// let model = Model::load("models/sllm-stories", LoadOptions::default())?;
/// let found = evaluate(&model, "stories.txt", &EvalOptions::default(), |_| ())?;
/// println!("{}", found.reconstruction.map_or(0.0, |found| found.exact));
/// # Ok::<(), sllm_ort::Error>(())
/// ```
pub fn evaluate(
    model: &Model,
    text: impl AsRef<Path>,
    options: &EvalOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Evaluation> {
    let text = text.as_ref();
    let subject = Subject::new(model, text, options.limit, options.state.is_some())?;
    let mut done = begin(&subject, options)?;
    let mut measure = Measure::new(model)?;
    let pipeline = pipeline(model)?;
    let ended = (done.sums.records).saturating_sub(u64::from(done.position.in_record));
    let mut windows = Windows::open(&pipeline, text, done.position, window_limit(model))?
        .with_records(options.limit.map(|limit| limit.saturating_sub(ended)));
    let mut saved = Instant::now();
    loop {
        let started = Instant::now();
        let batch = next_batch(&mut windows)?;
        let Some(last) = batch.last() else {
            break;
        };
        measure.add(&batch, &mut done.sums)?;
        done.position = last.next;
        done.seconds += started.elapsed().as_secs_f64();
        if let Some(path) = &options.state
            && saved.elapsed() >= options.state_interval
        {
            subject.save(path, &done)?;
            saved = Instant::now();
        }
        progress(Progress {
            bytes: done.position.offset,
            total_bytes: subject.text_bytes(),
            sentences: done.sums.sentences,
            records: done.sums.records,
            limit: options.limit,
        });
    }
    finish(&subject, options, &done)?;
    if done.sums.sentences == 0 {
        return Err(Error::Text(TextError::NoSentences {
            path: text.to_owned(),
        }));
    }
    let sums = &done.sums;
    let is_opt = matches!(model.network(), Network::Tokens(_));
    Ok(Evaluation {
        model: model.config().name.clone(),
        variant: model.variant().to_owned(),
        text: text.display().to_string(),
        records: sums.records,
        sentences: sums.sentences,
        bytes: sums.bytes,
        truncated_sentences: sums.truncated_sentences,
        reconstruction: sums.reconstruction(),
        next_sentence: sums.next_sentence.report(is_opt.then_some(SAME_TEXT)),
        next_sentence_bidirectional: sums
            .next_sentence_bidirectional
            .report(Some(SEES_ITS_TARGET)),
        next_token: sums.next_token.report_tokens(),
        stop: sums.stop.report(),
        seconds: done.seconds,
    })
}

/// How the text becomes sentences. Kind `opt` has no sentences of its own: nothing of the text is left
/// out, and only what is longer than its context is split.
fn pipeline(model: &Model) -> Result<TextPipeline> {
    let pipeline = model.text_pipeline();
    match model.network() {
        Network::Tokens(model) => TextPipeline::new(
            pipeline.tokenizer().clone(),
            Segmentation {
                tail: Tail::Keep,
                long_sentence: LongSentence::Split,
                ..model.shared.bundle.segmentation
            },
            model.graph.max_positions(),
        ),
        _ => Ok(pipeline.clone()),
    }
}

/// What was done already. Writing it at once shows early whether it can be.
fn begin(subject: &Subject, options: &EvalOptions) -> Result<state::Progress> {
    let Some(path) = &options.state else {
        return Ok(state::Progress::default());
    };
    match subject.load(path)? {
        Some(done) => Ok(done),
        None => {
            let done = state::Progress::default();
            subject.save(path, &done)?;
            Ok(done)
        }
    }
}

fn finish(subject: &Subject, options: &EvalOptions, done: &state::Progress) -> Result<()> {
    match &options.state {
        Some(path) if options.keep_state && done.sums.sentences > 0 => subject.save(path, done),
        Some(path) => state::remove(path),
        None => Ok(()),
    }
}

/// The next windows, in all of about [`BATCH_SENTENCES`]; none in the end.
fn next_batch(windows: &mut Windows<'_>) -> Result<Vec<Window>> {
    let (mut batch, mut sentences) = (Vec::new(), 0);
    while sentences < BATCH_SENTENCES
        && let Some(window) = windows.next_window()?
    {
        sentences += window.sentences.len();
        batch.push(window);
    }
    Ok(batch)
}
