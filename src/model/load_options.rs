//! How a model is loaded.

use std::{path::PathBuf, time::Duration};

use crate::{
    error::{Error, Result, list},
    runtime::{MatMulKernel, ProviderChoice, ProviderOptions},
};

const MOST_PARALLEL_RUNS: usize = 64;

/// Longer times are no shorter than the runs of a graph.
const LONGEST_SPINNING: Duration = Duration::from_secs(1);

/// How a model is loaded.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    pub(super) provider: ProviderChoice,
    pub(super) provider_options: ProviderOptions,
    pub(super) variant: Option<String>,
    pub(super) threads: Option<usize>,
    pub(super) parallel_runs: Option<usize>,
    pub(super) spinning: Option<Duration>,
    pub(super) matmul_kernel: Option<MatMulKernel>,
    pub(super) onnxruntime: Option<PathBuf>,
}

impl LoadOptions {
    /// The execution provider; by default [`ProviderChoice::Auto`].
    #[must_use]
    pub fn with_provider(mut self, provider: ProviderChoice) -> Self {
        self.provider = provider;
        self
    }

    /// Options of the execution provider; none by default.
    #[must_use]
    pub fn with_provider_options(mut self, options: ProviderOptions) -> Self {
        self.provider_options = options;
        self
    }

    /// The name of the bundle's variant; by default the first one made for the provider.
    #[must_use]
    pub fn with_variant(mut self, variant: impl Into<String>) -> Self {
        self.variant = Some(variant.into());
        self
    }

    /// Threads that work on one graph, 1 to 1024.
    ///
    /// The default is 1 for a model narrower than 512, else all processors up to 4.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_threads(mut self, threads: usize) -> Result<Self> {
        if !(1..=1024).contains(&threads) {
            return Err(Error::InvalidOption {
                option: "threads",
                value: threads.to_string(),
                allowed: "1 to 1024".into(),
            });
        }
        self.threads = Some(threads);
        Ok(self)
    }

    /// Maximum number of runs of a graph at the same time, 1 to 64; by default 1.
    ///
    /// For threads that share the model. The number is capped so that each run has
    /// [`LoadOptions::with_threads`] processors.
    ///
    /// There is one ONNX Runtime session per run. Sessions share the weights that the project's own
    /// matmul kernels multiply with; each has its own copy of the others. A thread always uses the
    /// same session, and two threads may share one.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_parallel_runs(mut self, runs: usize) -> Result<Self> {
        if !(1..=MOST_PARALLEL_RUNS).contains(&runs) {
            return Err(Error::InvalidOption {
                option: "parallel_runs",
                value: runs.to_string(),
                allowed: format!("1 to {MOST_PARALLEL_RUNS}"),
            });
        }
        self.parallel_runs = Some(runs);
        Ok(self)
    }

    /// How long an idle thread spins before it sleeps during a graph run.
    ///
    /// 0 to 1 second, in whole microseconds; by default 200 microseconds.
    ///
    /// A spinning thread starts work sooner than a sleeping one, but takes processor time from
    /// others. No thread spins between two runs.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_spinning(mut self, spinning: Duration) -> Result<Self> {
        if spinning > LONGEST_SPINNING {
            return Err(Error::InvalidOption {
                option: "spin",
                value: spinning.as_micros().to_string(),
                allowed: "0 to 1000000 microseconds".into(),
            });
        }
        self.spinning = Some(spinning);
        Ok(self)
    }

    /// The kernel for 4-bit and 8-bit weights on the CPU; by default [`MatMulKernel::fastest`].
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if this processor does not have the instructions.
    pub fn with_matmul_kernel(mut self, kernel: MatMulKernel) -> Result<Self> {
        if !kernel.is_available() {
            let available = MatMulKernel::ALL
                .into_iter()
                .filter(|kernel| kernel.is_available());
            return Err(Error::InvalidOption {
                option: "matmul_kernel",
                value: kernel.to_string(),
                allowed: format!("on this processor {}", list(available)),
            });
        }
        self.matmul_kernel = Some(kernel);
        Ok(self)
    }

    /// The ONNX Runtime library to load, instead of searching for one. The first model of a process
    /// decides for all.
    #[must_use]
    pub fn with_onnxruntime(mut self, path: impl Into<PathBuf>) -> Self {
        self.onnxruntime = Some(path.into());
        self
    }
}
