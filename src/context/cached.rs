//! The KV cache of a context.

use crate::{
    error::Result,
    graphs::CachedGraph,
    runtime::{CacheRow, KvCache},
};

/// A context whose KV cache can be lent to a batch.
pub(crate) trait CachedContext {
    /// Make the cache hold the context and no more. Recompute what is missing.
    fn prepare(&mut self) -> Result<()>;

    /// The graph that the cache is of.
    fn graph(&self) -> &CachedGraph;

    /// The cache, with one row; `None` if it is missing.
    fn slot(&self) -> &Option<KvCache>;

    fn slot_mut(&mut self) -> &mut Option<KvCache>;

    fn cache(&self) -> Option<&KvCache> {
        self.slot().as_ref()
    }

    fn cache_mut(&mut self) -> Option<&mut KvCache> {
        self.slot_mut().as_mut()
    }

    fn set_cache(&mut self, cache: Option<KvCache>) {
        *self.slot_mut() = cache;
    }

    /// Copy rows of caches of the same model into one cache.
    fn copy_rows(&self, rows: &[CacheRow<'_>]) -> Result<KvCache> {
        self.graph().copy_rows(rows)
    }

    /// A copy of the cache, if there is one.
    fn copy_cache(&self) -> Result<Option<KvCache>> {
        let copy = |cache: &KvCache| self.copy_rows(&[cache.row(0)]);
        self.cache().map(copy).transpose()
    }

    /// Memory of the cache, in bytes.
    fn memory_bytes(&self) -> usize {
        self.cache().map_or(0, KvCache::memory_bytes)
    }
}
