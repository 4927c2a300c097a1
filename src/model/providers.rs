//! Which execution providers a model is tried on.

use super::LoadOptions;
use crate::{
    bundle::{Bundle, Variant},
    error::{Error, Result},
    runtime::{Provider, ProviderChoice, missing_part},
};

/// The providers to try in turn: all that could work for `auto`, or the one that was named.
pub(super) fn candidates(bundle: &Bundle, options: &LoadOptions) -> Result<Vec<Provider>> {
    match options.provider {
        ProviderChoice::Only(provider) => {
            options.provider_options.check(provider)?;
            if !provider.is_built_in() {
                return Err(Error::ProviderMissing {
                    provider: provider.name(),
                    missing: missing_part(provider),
                });
            }
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
