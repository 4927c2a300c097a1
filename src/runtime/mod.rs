//! ONNX Runtime: finding and loading it, execution providers, graphs and their signatures, KV caches.

mod cache;
mod external_data;
mod graph;
mod input;
mod kernels;
mod library;
mod memory;
mod provider;
mod provider_assignment;
mod provider_options;
mod provider_start;
mod shape_profiles;
mod signature;
mod status;

pub(crate) use cache::{
    CacheLayout, CacheRow, CacheShape, KvCache, cache_specs, is_in_place, past_name,
};
pub(crate) use external_data::ExternalData;
pub(crate) use graph::{Graph, GraphBytes, GraphSettings};
pub(crate) use input::Input;
pub use kernels::MatMulKernel;
pub(crate) use library::environment;
pub use library::{LibraryInfo, data_folder, library_info, load_library};
pub(crate) use provider::EngineSettings;
pub use provider::{Provider, ProviderChoice};
pub use provider_assignment::ProviderAssignment;
pub use provider_options::ProviderOptions;
pub(crate) use provider_start::missing_part;
pub use shape_profiles::{ShapeProfiles, SizeRange};
pub(crate) use signature::{ANY, GraphSignature, TensorSpec};

#[cfg(test)]
pub(crate) mod testing {
    use std::{path::Path, time::Duration};

    use super::{
        EngineSettings, ExternalData, Graph, GraphBytes, GraphSettings, MatMulKernel, Provider,
        ProviderOptions, environment,
    };

    /// The processor, with one thread.
    pub fn settings() -> GraphSettings {
        GraphSettings {
            environment: environment(None).unwrap(),
            provider: Provider::Cpu,
            options: ProviderOptions::default(),
            engine: EngineSettings::default(),
            threads: 1,
            parallel_runs: 1,
            spinning: Duration::ZERO,
            matmul_kernel: MatMulKernel::OnnxRuntime,
        }
    }

    /// The graph in this file, on the processor.
    pub fn graph(path: impl AsRef<Path>) -> Graph {
        let bytes = std::fs::read(path.as_ref()).unwrap();
        let file = GraphBytes {
            bytes: &bytes,
            external_data: ExternalData::Memory(Vec::new()),
        };
        Graph::load(path.as_ref(), &file, &settings()).unwrap()
    }

    /// Equal up to `tolerance`, relative to the larger of 1 and the expected number.
    pub fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
        assert_eq!(found.len(), expected.len());
        for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
            let allowed = tolerance * expected.abs().max(1.0);
            assert!(
                (found - expected).abs() <= allowed,
                "{place}: {found} for {expected}"
            );
        }
    }
}
