//! How a context is continued.

mod functions;

use std::hash::{BuildHasher, Hasher, RandomState};

use sllm::{CancelHandle, GenerateOptions, SamplingOptions};

use crate::{
    batch::RowOptions,
    pointers::exclusive,
    sampling::Sampling,
    status::{Failure, SllmStatus, run},
};

/// How a context is continued. Options not set have the bundle's values.
///
/// Threads: changed by one thread while no other uses it. Several
/// generations may read it at once.
#[derive(Clone, Default)]
pub struct SllmOptions {
    generate: GenerateOptions,
    sampling: Sampling,
    seed: Option<u64>,
    cancel: CancelHandle,
}

impl SllmOptions {
    /// The options of the rows of a batch of a model.
    pub fn for_model(&self, model: &sllm::Model) -> Result<RowOptions, Failure> {
        let sampling = self.sampling.over(model.sampling().clone())?;
        // As on the command line, another one each time.
        let seed = self
            .seed
            .unwrap_or_else(|| RandomState::new().build_hasher().finish());
        Ok(RowOptions {
            generate: self.generate.clone(),
            sampling,
            cancel: self.cancel.clone(),
            seed,
        })
    }
}

/// Change options; they stay as they are if that fails.
///
/// # Safety
/// As [`exclusive`].
unsafe fn set(
    options: *mut SllmOptions,
    change: impl FnOnce(&mut SllmOptions) -> Result<(), Failure>,
) -> SllmStatus {
    run(|| {
        // SAFETY: the same rule.
        let options = unsafe { exclusive(options, "options") }?;
        let mut changed = options.clone();
        change(&mut changed)?;
        // It refuses values out of range.
        changed.sampling.over(SamplingOptions::default())?;
        *options = changed;
        Ok(())
    })
}

/// Change options of the generation.
///
/// # Safety
/// As [`exclusive`].
unsafe fn set_generate(
    options: *mut SllmOptions,
    change: impl FnOnce(GenerateOptions) -> Result<GenerateOptions, Failure>,
) -> SllmStatus {
    // SAFETY: the same rule.
    unsafe {
        set(options, |options| {
            options.generate = change(std::mem::take(&mut options.generate))?;
            Ok(())
        })
    }
}

/// Change options of the sampling.
///
/// # Safety
/// As [`exclusive`].
unsafe fn set_sampling(
    options: *mut SllmOptions,
    change: impl FnOnce(&mut Sampling),
) -> SllmStatus {
    // SAFETY: the same rule.
    unsafe {
        set(options, |options| {
            change(&mut options.sampling);
            Ok(())
        })
    }
}
