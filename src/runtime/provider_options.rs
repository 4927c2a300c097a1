//! Options that only some execution providers take.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{Provider, ShapeProfiles};
use crate::error::{Error, Result};

/// The largest device number: more devices are in no machine.
const LAST_DEVICE: u32 = 1023;
/// Less memory holds no graph at all.
const LEAST_MEMORY: usize = 1 << 20;

/// Options of execution providers; see
/// [`LoadOptions::with_provider_options`](crate::LoadOptions::with_provider_options).
///
/// If a provider was named, an option that it does not take is an error. If
/// [`ProviderChoice::Auto`](crate::ProviderChoice::Auto) chose the provider, the option has no
/// effect and leaves a warning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProviderOptions {
    pub(crate) device: Option<u32>,
    pub(crate) memory_limit: Option<usize>,
    pub(crate) engine_cache: Option<PathBuf>,
    pub(crate) shapes: Option<ShapeProfiles>,
}

/// An option that was given, as errors and warnings show it.
struct Given {
    option: &'static str,
    value: String,
    takers: &'static [Provider],
}

impl ProviderOptions {
    /// The number of the GPU in the driver's order, 0 to 1023; by default the first one. For CUDA
    /// and TensorRT.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_device(mut self, device: u32) -> Result<Self> {
        if device > LAST_DEVICE {
            return Err(Error::InvalidOption {
                option: "device",
                value: device.to_string(),
                allowed: format!("0 to {LAST_DEVICE}"),
            });
        }
        self.device = Some(device);
        Ok(self)
    }

    /// Limit of GPU memory for the weights and values of one graph, in bytes, at least 1 MiB.
    ///
    /// No limit by default. Memory of the provider's own libraries is not counted. For CUDA.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_memory_limit(mut self, bytes: usize) -> Result<Self> {
        if bytes < LEAST_MEMORY {
            return Err(Error::InvalidOption {
                option: "gpu-memory",
                value: bytes.to_string(),
                allowed: format!("{LEAST_MEMORY} bytes or more"),
            });
        }
        self.memory_limit = Some(bytes);
        Ok(self)
    }

    /// The directory that caches engines between starts; it is made if missing.
    ///
    /// By default, engines are built anew at each start. For TensorRT.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a path that is not UTF-8, or that is not a directory.
    pub fn with_engine_cache(mut self, directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let is_file = directory.exists() && !directory.is_dir();
        let text = directory.to_str().unwrap_or_default();
        if text.is_empty() || text.contains('\0') || is_file {
            return Err(Error::InvalidOption {
                option: "engine-cache",
                value: directory.display().to_string(),
                allowed: "a directory with a name in UTF-8".into(),
            });
        }
        self.engine_cache = Some(directory.to_owned());
        Ok(self)
    }

    /// The sizes that engines are built for. By default, TensorRT builds an engine for each new
    /// size. For TensorRT.
    #[must_use]
    pub fn with_shape_profiles(mut self, shapes: ShapeProfiles) -> Self {
        self.shapes = Some(shapes);
        self
    }

    /// The options that were given and that `provider` does not take.
    fn not_taken(&self, provider: Provider) -> impl Iterator<Item = Given> {
        use Provider::{Cuda, TensorRt};
        let given = |option, value: Option<String>, takers| {
            value.map(|value| Given {
                option,
                value,
                takers,
            })
        };
        let directory = self.engine_cache.as_ref();
        let all: [_; 4] = [
            given(
                "device",
                self.device.map(|device| device.to_string()),
                &[Cuda, TensorRt][..],
            ),
            given(
                "gpu-memory",
                self.memory_limit.map(|bytes| bytes.to_string()),
                &[Cuda],
            ),
            given(
                "engine-cache",
                directory.map(|path| path.display().to_string()),
                &[TensorRt],
            ),
            given(
                "engine-sizes",
                self.shapes.map(|shapes| shapes.to_string()),
                &[TensorRt],
            ),
        ];
        let unknown = move |given: &Given| !given.takers.contains(&provider);
        all.into_iter().flatten().filter(unknown)
    }

    /// # Errors
    /// [`Error::InvalidOption`] for the first option that `provider`, which was named, does not take.
    pub(crate) fn check(&self, provider: Provider) -> Result<()> {
        match self.not_taken(provider).next() {
            None => Ok(()),
            Some(given) => Err(Error::InvalidOption {
                option: given.option,
                allowed: format!("only with provider {}, not {provider}", given.takers()),
                value: given.value,
            }),
        }
    }

    /// A line for each option that `provider`, which `auto` has chosen, does not take.
    pub(crate) fn warnings(&self, provider: Provider) -> Vec<String> {
        let line = |given: Given| {
            let (option, value, takers) = (given.option, &given.value, given.takers());
            format!(
                "{option} {value} has no effect: {provider} is used, and only {takers} takes it"
            )
        };
        self.not_taken(provider).map(line).collect()
    }
}

impl Given {
    fn takers(&self) -> String {
        let names: BTreeSet<_> = self.takers.iter().map(|taker| taker.name()).collect();
        names.into_iter().collect::<Vec<_>>().join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::SizeRange;

    fn all() -> ProviderOptions {
        let range = SizeRange::new(1, 2, 8).unwrap();
        ProviderOptions::default()
            .with_device(1)
            .and_then(|options| options.with_memory_limit(1 << 30))
            .and_then(|options| options.with_engine_cache("engines"))
            .unwrap()
            .with_shape_profiles(ShapeProfiles::new(range, range, range))
    }

    #[test]
    fn what_a_provider_does_not_take_is_said() {
        let rows: [(_, &[&str]); 4] = [
            (Provider::Cuda, &["engine-cache", "engine-sizes"]),
            (Provider::TensorRt, &["gpu-memory"]),
            (
                Provider::Cpu,
                &["device", "gpu-memory", "engine-cache", "engine-sizes"],
            ),
            (
                Provider::DirectMl,
                &["device", "gpu-memory", "engine-cache", "engine-sizes"],
            ),
        ];
        for (provider, expected) in rows {
            let warnings = all().warnings(provider);
            assert_eq!(warnings.len(), expected.len(), "{provider}: {warnings:?}");
            for (warning, option) in warnings.iter().zip(expected) {
                assert!(warning.starts_with(option), "{provider}: {warning}");
            }
            let error = all().check(provider).unwrap_err().to_string();
            assert!(error.starts_with(expected[0]), "{provider}: {error}");
            assert!(ProviderOptions::default().check(provider).is_ok());
        }
        let warnings = all().warnings(Provider::Cpu);
        insta::assert_snapshot!(warnings.join("\n"), @"
        device 1 has no effect: cpu is used, and only cuda or tensorrt takes it
        gpu-memory 1073741824 has no effect: cpu is used, and only cuda takes it
        engine-cache engines has no effect: cpu is used, and only tensorrt takes it
        engine-sizes batch 1:2:8, sentences 1:2:8, tokens 1:2:8 has no effect: cpu is used, and only tensorrt takes it
        ");
        let error = all().check(Provider::Cpu).unwrap_err();
        insta::assert_snapshot!(error.to_string(), @"device is 1, allowed is only with provider cuda or tensorrt, not cpu");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let options = ProviderOptions::default;
        for (refused, option) in [
            (options().with_device(1024), "device"),
            (options().with_memory_limit(LEAST_MEMORY - 1), "gpu-memory"),
            (options().with_engine_cache(""), "engine-cache"),
            (options().with_engine_cache("Cargo.toml"), "engine-cache"),
        ] {
            let Err(Error::InvalidOption { option: found, .. }) = refused else {
                panic!("{option} was taken");
            };
            assert_eq!(found, option);
        }
        assert!(options().with_device(LAST_DEVICE).is_ok());
        assert!(options().with_memory_limit(LEAST_MEMORY).is_ok());
        assert!(options().with_engine_cache("src").is_ok());
    }
}
