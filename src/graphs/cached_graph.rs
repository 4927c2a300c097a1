//! A graph with a KV cache.

use std::sync::Arc;

use crate::{
    error::Result,
    runtime::{
        CacheLayout, CacheRow, CacheShape, Graph, GraphSignature, KvCache, TensorSpec, cache_specs,
    },
};

/// A graph and the layout of its caches.
#[derive(Debug)]
pub(crate) struct CachedGraph {
    graph: Graph,
    layout: Arc<CacheLayout>,
}

impl CachedGraph {
    /// Check the signature of a graph: these inputs and outputs, and those of its cache.
    pub fn new(
        graph: Graph,
        shape: CacheShape,
        role: &'static str,
        mut inputs: Vec<TensorSpec>,
        mut outputs: Vec<TensorSpec>,
    ) -> Result<Self> {
        let (cache_inputs, cache_outputs) = cache_specs(&graph, &shape);
        inputs.extend(cache_inputs);
        outputs.extend(cache_outputs);
        graph.check(&GraphSignature {
            graph: role,
            inputs,
            outputs,
        })?;
        let layout = Arc::new(CacheLayout::of(&graph, shape)?);
        Ok(Self { graph, layout })
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Most positions that a row of a cache holds.
    pub fn limit(&self) -> usize {
        self.layout.shape().limit
    }

    /// An empty cache of so many rows.
    pub fn cache(&self, rows: usize) -> Result<KvCache> {
        KvCache::new(&self.graph, &self.layout, rows)
    }

    /// Copy rows of caches into one cache.
    pub fn copy_rows(&self, rows: &[CacheRow<'_>]) -> Result<KvCache> {
        KvCache::from_rows(&self.graph, &self.layout, rows)
    }

    /// Forget all but the first positions of a cache.
    pub fn truncate(&self, cache: &mut KvCache, positions: usize) -> Result<()> {
        cache.truncate(&self.graph, positions)
    }

    /// Keys and values of a cache with one row, as bytes.
    pub fn cache_bytes(&self, cache: &KvCache) -> Result<Vec<Vec<u8>>> {
        cache.row_bytes(&self.graph, 0)
    }

    /// A cache of one row with these keys and values; `None` if they are not of its sizes.
    pub fn cache_from_bytes(&self, positions: usize, tensors: &[&[u8]]) -> Result<Option<KvCache>> {
        KvCache::from_row_bytes(&self.graph, &self.layout, positions, tensors)
    }

    /// The number of tensors of a cache: keys and values of each layer.
    pub fn cache_tensors(&self) -> usize {
        self.layout.shape().tensors()
    }

    /// The shape of a tensor of a cache of one row, without its batch axis:
    /// `[heads, positions, head_size]`.
    pub fn cache_shape(&self, positions: usize) -> [usize; 3] {
        let shape = self.layout.shape();
        [shape.heads, positions, shape.head_size]
    }

    /// Bytes of a number in a cache.
    pub fn number_bytes(&self) -> usize {
        self.layout.number_bytes()
    }
}
