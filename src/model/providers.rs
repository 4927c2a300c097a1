//! Which execution providers a model is tried on.

use std::time::Duration;

use super::{LoadOptions, Model, graphs};
use crate::{
    bundle::{Bundle, GraphFile, Variant},
    error::{Error, Result, RuntimeError},
    runtime::{
        EngineSettings, GraphSettings, MatMulKernel, Provider, ProviderChoice, environment,
        missing_part,
    },
};

impl Model {
    /// Check that an execution provider starts with the smallest graph of `bundle`.
    ///
    /// Returns the name of the graph's variant; nothing stays loaded. The provider in `options` is
    /// ignored.
    ///
    /// # Errors
    /// Those of [`Model::load`].
    pub fn try_provider<'b>(
        bundle: &'b Bundle,
        provider: Provider,
        options: &LoadOptions,
    ) -> Result<&'b str> {
        let environment = environment(options.onnxruntime.as_deref())?;
        check_built_in(provider)?;
        let variant = bundle.select_variant(provider.name(), options.variant.as_deref())?;
        let settings = GraphSettings {
            environment,
            provider,
            options: options.provider_options.clone(),
            engine: EngineSettings::default(),
            threads: 1,
            parallel_runs: 1,
            spinning: Duration::ZERO,
            matmul_kernel: MatMulKernel::OnnxRuntime,
        };
        let size = |file: &GraphFile| -> u64 {
            let files = file.external_data.iter().chain([&file.file]);
            let sizes = files.map(|file| file.size().unwrap_or(0));
            sizes.sum()
        };
        let smallest = variant.graphs.iter().min_by_key(|(_, file)| size(file));
        if let Some((&role, _)) = smallest {
            graphs::load(&bundle.config, variant, role, &settings)?;
        }
        Ok(&variant.name)
    }
}

fn check_built_in(provider: Provider) -> Result<()> {
    if provider.is_built_in() {
        return Ok(());
    }
    Err(Error::Runtime(RuntimeError::ProviderMissing {
        provider: provider.name(),
        missing: missing_part(provider),
    }))
}

/// The providers to try in turn: all that could work for `auto`, or the one that was named.
pub(super) fn candidates(bundle: &Bundle, options: &LoadOptions) -> Result<Vec<Provider>> {
    match options.provider {
        ProviderChoice::Only(provider) => {
            options.provider_options.check(provider)?;
            check_built_in(provider)?;
            Ok(vec![provider])
        }
        ProviderChoice::Auto => {
            let wanted = options.variant.as_deref();
            // An unknown variant is said to be so, not found to be made for no provider.
            if wanted.is_some() {
                bundle.select_variant(Provider::Cpu.name(), wanted)?;
            }
            let fits = |provider: &Provider| {
                let made_for = |variant: &Variant| {
                    wanted.is_none_or(|name| name == variant.name)
                        && variant.providers.iter().any(|name| name == provider.name())
                };
                provider.is_built_in() && bundle.variants.iter().any(made_for)
            };
            Ok(Provider::ALL.into_iter().filter(fits).collect())
        }
    }
}

/// Only `auto` may go on to another provider, and the processor is the last one.
pub(super) fn may_fall_back(options: &LoadOptions, provider: Provider) -> bool {
    options.provider == ProviderChoice::Auto && provider != Provider::Cpu
}
