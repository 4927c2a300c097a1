//! The KV cache of a context.

use crate::{
    error::Result,
    runtime::{CacheRow, KvCache},
};

/// A context whose KV cache can be lent to a batch.
pub(crate) trait CachedContext {
    /// Make the cache hold the context and no more. Recompute what is missing.
    fn prepare(&mut self) -> Result<()>;
    /// The cache, with one row; `None` if it is missing.
    fn cache(&self) -> Option<&KvCache>;
    fn cache_mut(&mut self) -> Option<&mut KvCache>;
    fn set_cache(&mut self, cache: Option<KvCache>);
    /// Copy rows of caches of the same model into one cache.
    fn copy_rows(&self, rows: &[CacheRow<'_>]) -> Result<KvCache>;
}
