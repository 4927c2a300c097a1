//! Assignment of graph nodes to execution providers.

use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char},
    ptr, slice,
};

use ort::{AsPointer as _, session::Session};

use super::{Provider, status::check};

/// The session option by which ONNX Runtime keeps what [`nodes_by_provider`] reads.
pub(super) const RECORD: &str = "session.record_ep_graph_assignment_info";

/// How many of a model's nodes run on each execution provider, over all of its graphs.
///
/// Nodes are counted when ONNX Runtime assigns them: after its optimisations for all providers,
/// before those of each provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProviderAssignment {
    /// Nodes of each provider, by ONNX Runtime's name for it.
    pub nodes: BTreeMap<String, usize>,
}

impl ProviderAssignment {
    /// Number of nodes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.nodes.values().sum()
    }

    /// Number of nodes that `provider` runs.
    #[must_use]
    pub fn of(&self, provider: Provider) -> usize {
        let nodes = self.nodes.get(provider.runtime_name());
        nodes.copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (name, nodes) in &other.nodes {
            *self.nodes.entry(name.clone()).or_default() += nodes;
        }
    }
}

/// Where the nodes of a session are, which was made with [`RECORD`].
pub(super) fn provider_assignment(session: &Session) -> ort::Result<ProviderAssignment> {
    let api = ort::api();
    let mut subgraphs = ptr::null();
    let mut count = 0;
    // SAFETY: the session is alive, and both places are valid for writing.
    unsafe {
        check((api.Session_GetEpGraphAssignmentInfo)(
            session.ptr(),
            &mut subgraphs,
            &mut count,
        ))?;
    }
    let mut assignment = ProviderAssignment::default();
    // SAFETY: on success it is an array of `count` pointers, which the session owns.
    for &subgraph in unsafe { array(subgraphs, count) } {
        let mut name: *const c_char = ptr::null();
        // SAFETY: `subgraph` belongs to the session, which is alive.
        unsafe { check((api.EpAssignedSubgraph_GetEpName)(subgraph, &mut name))? };
        let mut nodes = ptr::null();
        let mut count = 0;
        // SAFETY: as above.
        unsafe {
            check((api.EpAssignedSubgraph_GetNodes)(
                subgraph, &mut nodes, &mut count,
            ))?;
        }
        if name.is_null() {
            return Err(ort::Error::new("an execution provider has no name"));
        }
        // SAFETY: it is not null, ends with 0, and belongs to the session.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        *assignment.nodes.entry(name.into_owned()).or_default() += count;
    }
    Ok(assignment)
}

/// # Safety
/// `start` must point to `count` values that live as long as the result, unless `count` is 0.
unsafe fn array<'a, T>(start: *const T, count: usize) -> &'a [T] {
    if start.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise; it is not null.
    unsafe { slice::from_raw_parts(start, count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing;

    #[test]
    fn graphs_are_added() {
        let of = |nodes: &[(&str, usize)]| ProviderAssignment {
            nodes: nodes.iter().map(|&(name, n)| (name.into(), n)).collect(),
        };
        let mut all = of(&[("CUDAExecutionProvider", 30), ("CPUExecutionProvider", 2)]);
        all.add(&of(&[("CUDAExecutionProvider", 5)]));
        let counts = [Provider::Cuda, Provider::Cpu, Provider::TensorRt].map(|p| all.of(p));
        assert_eq!(counts, [35, 2, 0]);
        assert_eq!(all.total(), 37);
    }

    #[test]
    fn every_node_of_a_graph_is_on_the_processor() {
        let graph = testing::graph("tests/golden/bundle/cpu-int8/backbone.onnx");
        let assignment = graph.provider_assignment();
        assert!(assignment.total() > 10, "{assignment:?}");
        assert_eq!(assignment.of(Provider::Cpu), assignment.total());
    }
}
