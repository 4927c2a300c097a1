//! Benchmarks: the speed and memory of models.
//!
//! A round reads a prompt of random tokens and continues it greedily. All sentences have a fixed
//! number of tokens, so that models of all kinds, trained or not, do the same work. The generation
//! loop is that of any other continuation. To compare models, alternate their rounds.

mod memory;
mod options;
mod report;
mod round;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    error::Result,
    model::{LoadOptions, Model},
};
pub use options::BenchOptions;
pub use report::{BenchReport, Ratios, Spread, write_svg};
use round::{Round, Workload};

/// A model that is being measured.
///
/// ```no_run
/// use sllm_ort::{LoadOptions, bench::{Bench, BenchOptions}};
///
/// let options = BenchOptions::default();
/// let mut bench = Bench::load("models/sllm-stories", LoadOptions::default(), options)?;
/// for _ in 0..5 {
///     bench.round()?;
/// }
/// if let Some(report) = bench.report() {
///     println!("{:.0} tokens/s", report.output_tokens_per_second);
/// }
/// # Ok::<(), sllm_ort::Error>(())
/// ```
#[derive(Debug)]
pub struct Bench {
    model: Model,
    options: BenchOptions,
    workload: Workload,
    load: Duration,
    peak_memory_bytes: Option<u64>,
    memory_slope: Option<f64>,
    rounds: Vec<Round>,
}

impl Bench {
    /// Load a bundle, warm it up, and measure its memory on the way.
    ///
    /// Memory figures are valid only for the first model of a process, and while nothing else runs
    /// in it: a later model reuses memory that an earlier one freed.
    ///
    /// # Errors
    /// Those of [`Model::load`]; [`Error::InvalidOption`](crate::Error::InvalidOption) if prompt
    /// and continuation do not fit the model; [`Error::Graph`](crate::Error::Graph).
    pub fn load(
        dir: impl AsRef<Path>,
        load_options: LoadOptions,
        options: BenchOptions,
    ) -> Result<Self> {
        let before = match options.memory {
            true => memory::reset_peak().and_then(|()| memory::resident()),
            false => None,
        };
        let started = Instant::now();
        let model = Model::load(dir, load_options)?;
        let load = started.elapsed();
        let workload = Workload::new(model.config(), &options)?;
        for _ in 0..options.warmup {
            workload.round(&model)?;
        }
        let peak = memory::peak().zip(before);
        let memory_slope = match options.memory {
            true => workload.memory_slope(&model)?,
            false => None,
        };
        Ok(Self {
            peak_memory_bytes: peak.map(|(peak, before)| peak.saturating_sub(before)),
            memory_slope,
            model,
            options,
            workload,
            load,
            rounds: Vec::new(),
        })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Measure one more round.
    ///
    /// # Errors
    /// [`Error::Graph`](crate::Error::Graph).
    pub fn round(&mut self) -> Result<()> {
        self.rounds.push(self.workload.round(&self.model)?);
        Ok(())
    }

    /// The figures so far; `None` before the first round.
    #[must_use]
    pub fn report(&self) -> Option<BenchReport> {
        BenchReport::new(self)
    }
}
