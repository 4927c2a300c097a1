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
    /// The execution provider; [`ProviderChoice::Auto`] where not set.
    #[must_use]
    pub fn with_provider(mut self, provider: ProviderChoice) -> Self {
        self.provider = provider;
        self
    }

    /// What the execution provider is told; nothing where not set.
    #[must_use]
    pub fn with_provider_options(mut self, options: ProviderOptions) -> Self {
        self.provider_options = options;
        self
    }

    /// The variant of the bundle by name; the first one made for the provider where not set.
    #[must_use]
    pub fn with_variant(mut self, variant: impl Into<String>) -> Self {
        self.variant = Some(variant.into());
        self
    }

    /// Threads that work on one graph, 1 to 1024; where not set one for a model narrower than 512,
    /// else all processors up to 4.
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

    /// Most runs of a graph at the same time, 1 to 64, for threads that share the model; 1 where not
    /// set. There are no more than the processors allow, with [`LoadOptions::with_threads`] for each.
    ///
    /// Each holds the weights once more. A thread keeps to one of them, so that two threads can get
    /// the same one.
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

    /// How long a thread that has no work looks for some before it sleeps, in a run of a graph; 0
    /// to 1 second, in whole microseconds; 200 microseconds where not set.
    ///
    /// Looking is faster than being woken, and takes processor time from others. No thread looks
    /// for work between two runs.
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

    /// What multiplies with weights of 4 and 8 bits on the processor; where not set
    /// [`MatMulKernel::fastest`].
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

    /// The ONNX Runtime library to load, in place of searching one. The first model of a process
    /// decides for all.
    #[must_use]
    pub fn with_onnxruntime(mut self, path: impl Into<PathBuf>) -> Self {
        self.onnxruntime = Some(path.into());
        self
    }
}
