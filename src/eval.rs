//! Evaluation of a model on a text file: how well sentences come back from their vectors, how well
//! the next sentence and the end of a record are predicted.
//!
//! A line [`SEPARATOR`] ends a record; a file without one is one record. The text of a record, white
//! space around it left out, is cut by the model's [`TextPipeline`](crate::text::TextPipeline), and
//! the sentences make windows of at most `max_sentences`. The file is read as it is worked through:
//! memory does not grow with it.

mod measure;
pub(crate) mod records;
mod report;
mod score;
mod state;
mod sums;
mod windows;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    config::ModelKind,
    error::{Error, Result},
    model::Model,
};
use measure::Measure;
pub use records::SEPARATOR;
pub use report::{Evaluation, LengthScore, NextSentenceScore, ReconstructionScore, StopScore};
use state::Subject;
use windows::{Window, Windows};

/// Windows are measured together until they have this many sentences.
const BATCH_SENTENCES: usize = 128;
/// Sentences of a window for a model without a context.
const SVAE_WINDOW: usize = 64;
const STATE_INTERVAL: Duration = Duration::from_secs(10);
/// What is said beside the figures of a bidirectional prefill.
const SEES_ITS_TARGET: &str = "measured as in arXiv 2408.00655: the backbone sees the whole window at \
once, and so the sentence that it is asked to predict; next_sentence has the causal figures";

/// How a model is evaluated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EvalOptions {
    limit: Option<u64>,
    state: Option<PathBuf>,
    state_interval: Duration,
    keep_state: bool,
}

impl Default for EvalOptions {
    /// The whole file, without a state file.
    fn default() -> Self {
        Self {
            limit: None,
            state: None,
            state_interval: STATE_INTERVAL,
            keep_state: false,
        }
    }
}

impl EvalOptions {
    /// Only the first records, at least 1; records without a sentence do not count.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for 0.
    pub fn with_limit(mut self, records: u64) -> Result<Self> {
        if records == 0 {
            return Err(Error::InvalidOption {
                option: "limit",
                value: records.to_string(),
                allowed: "1 or more".into(),
            });
        }
        self.limit = Some(records);
        Ok(self)
    }

    /// Keep the sums and the place in the text in this file, and go on from there if it exists. It
    /// is removed in the end.
    #[must_use]
    pub fn with_state(mut self, path: impl Into<PathBuf>) -> Self {
        self.state = Some(path.into());
        self
    }

    /// How often the state is written; every 10 seconds where not set.
    #[must_use]
    pub fn with_state_interval(mut self, interval: Duration) -> Self {
        self.state_interval = interval;
        self
    }

    /// Leave the state file in the end: the same evaluation then has its result at once.
    #[must_use]
    pub fn with_keep_state(mut self, keep: bool) -> Self {
        self.keep_state = keep;
        self
    }
}

/// How far an evaluation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of the file that are done.
    pub bytes: u64,
    /// Bytes of the file.
    pub total_bytes: u64,
    /// Sentences that are done.
    pub sentences: u64,
}

/// Evaluate `model` on the file `text`; `progress` is told how far it is.
///
/// # Errors
/// [`Error::Read`], [`Error::NotText`], [`Error::UnusableText`] or [`Error::NoSentences`] for the
/// text; [`Error::EvalState`], [`Error::EvalStateMismatch`], [`Error::Read`] or [`Error::Write`] for
/// the state file; [`Error::GraphRun`], [`Error::NotFinite`].
///
/// ```no_run
/// use sllm_ort::{LoadOptions, Model, eval::{EvalOptions, evaluate}};
///
/// let model = Model::load("models/sllm-stories", LoadOptions::default())?;
/// let found = evaluate(&model, "stories.txt", &EvalOptions::default(), |_| ())?;
/// println!("{}", found.reconstruction.exact);
/// # Ok::<(), sllm_ort::Error>(())
/// ```
pub fn evaluate(
    model: &Model,
    text: impl AsRef<Path>,
    options: &EvalOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Evaluation> {
    let text = text.as_ref();
    let subject = Subject::new(model, text, options.limit)?;
    let mut done = begin(&subject, options)?;
    let window = match model.config().kind {
        ModelKind::Sllm => model.config().require_max_sentences()?,
        _ => SVAE_WINDOW,
    };
    let ended = (done.sums.records).saturating_sub(u64::from(done.position.in_record));
    let mut windows = Windows::open(model.text_pipeline(), text, done.position, window)?
        .with_records(options.limit.map(|limit| limit.saturating_sub(ended)));
    let mut measure = Measure::new(model)?;
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
        });
    }
    finish(&subject, options, &done)?;
    if done.sums.sentences == 0 {
        return Err(Error::NoSentences {
            path: text.to_owned(),
        });
    }
    let sums = &done.sums;
    Ok(Evaluation {
        model: model.config().name.clone(),
        variant: model.variant().to_owned(),
        text: text.display().to_string(),
        records: sums.records,
        sentences: sums.sentences,
        bytes: sums.bytes,
        truncated_sentences: sums.truncated_sentences,
        reconstruction: sums.reconstruction(),
        next_sentence: sums.next_sentence.report(None),
        next_sentence_bidirectional: sums
            .next_sentence_bidirectional
            .report(Some(SEES_ITS_TARGET)),
        stop: sums.stop.report(),
        seconds: done.seconds,
    })
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
