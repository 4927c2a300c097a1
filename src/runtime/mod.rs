//! ONNX Runtime: finding and loading it, execution providers, graphs and their contracts, KV caches.

mod cache;
mod graph;
mod input;
mod library;
mod provider;
mod scores;

pub(crate) use cache::{CacheShape, KvCache, cache_ports, is_in_place};
pub(crate) use graph::{ANY, Contract, Graph, GraphSettings, Port};
pub(crate) use input::Input;
pub(crate) use library::environment;
pub use library::{LibraryInfo, library_info};
pub use provider::{Provider, ProviderChoice};
pub(crate) use scores::Scores;

#[cfg(test)]
pub(crate) mod testing {
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
