//! One ONNX graph and its runs.

mod load;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use ort::{
    session::{Session, SessionInputValue, SessionOutputs},
    value::{PrimitiveTensorElementType, TensorElementType},
};

use super::{MatMulKernel, provider_assignment::ProviderAssignment};
use crate::error::{Error, GraphError, Result};
pub(crate) use load::{GraphBytes, GraphSettings};

thread_local! {
    /// The threads that use graphs, numbered: each few that follow each other use different sessions.
    static THREAD: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed)
    };
}

/// A loaded graph. ONNX Runtime's session is for one run at a time, so that there is one for each run
/// that is possible at the same time.
#[derive(Debug)]
pub(crate) struct Graph {
    sessions: Vec<Mutex<Session>>,
    path: PathBuf,
    /// With the type of their elements, if they are tensors.
    inputs: BTreeMap<String, Option<TensorElementType>>,
    assignment: ProviderAssignment,
    matmul_kernel: Option<MatMulKernel>,
    on_device: bool,
    /// ONNX Runtime may use them as long as there are sessions, which are dropped before.
    _external_data: Vec<Arc<[u8]>>,
    /// The runs that succeed before one fails; negative if none is to fail.
    #[cfg(test)]
    runs_before_failure: std::sync::atomic::AtomicIsize,
}

impl Graph {
    /// Let one run fail after so many that succeed.
    #[cfg(test)]
    pub fn fail_after(&self, runs: isize) {
        self.runs_before_failure.store(runs, Ordering::Relaxed);
    }

    /// Fail if a test asks for it.
    pub fn check_failure(&self) -> Result<()> {
        #[cfg(test)]
        if self.runs_before_failure.fetch_sub(1, Ordering::Relaxed) == 0 {
            return Err(self.not_finite("injected"));
        }
        Ok(())
    }

    /// Where its nodes run.
    pub fn provider_assignment(&self) -> &ProviderAssignment {
        &self.assignment
    }

    /// What multiplies with its weights of 4 and 8 bits, if it has such and runs on the processor.
    pub fn matmul_kernel(&self) -> Option<MatMulKernel> {
        self.matmul_kernel
    }

    /// Whether another provider than the processor's runs it. ONNX Runtime may then copy an input when
    /// it is bound, and not see what is written to it later.
    pub fn on_device(&self) -> bool {
        self.on_device
    }

    #[cfg(test)]
    pub fn set_on_device(&mut self) {
        self.on_device = true;
    }

    /// Whether the graph has an input of this name.
    pub fn has_input(&self, name: &str) -> bool {
        self.inputs.contains_key(name)
    }

    /// The type of an input's elements, if it is a tensor.
    pub fn element(&self, input: &str) -> Option<TensorElementType> {
        self.inputs.get(input).copied().flatten()
    }

    /// The number of the session that this thread uses.
    pub fn session_number(&self) -> usize {
        THREAD.with(|&thread| thread % self.sessions.len())
    }

    /// Exclusive use of this thread's session.
    pub fn session(&self) -> MutexGuard<'_, Session> {
        self.numbered_session(self.session_number())
    }

    /// Exclusive use of a session. A panic elsewhere leaves ONNX Runtime's session intact.
    pub fn numbered_session(&self, number: usize) -> MutexGuard<'_, Session> {
        self.sessions[number]
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Run with named inputs; returns the outputs `wanted` as flat `f32` values.
    pub fn run(
        &self,
        inputs: Vec<(&str, SessionInputValue<'_>)>,
        wanted: &'static str,
        shape: &[usize],
    ) -> Result<Vec<f32>> {
        self.check_failure()?;
        let mut session = self.session();
        let outputs = session.run(inputs).map_err(|source| self.failed(source))?;
        Ok(self.floats(&outputs, wanted, shape)?.to_vec())
    }

    /// The values of an output that must have this shape and be finite.
    pub fn floats<'o>(
        &self,
        outputs: &'o SessionOutputs<'_>,
        name: &'static str,
        shape: &[usize],
    ) -> Result<&'o [f32]> {
        let (found, values) = self.output::<f32>(outputs, name)?;
        let found: Vec<usize> = found.iter().map(|&size| size as usize).collect();
        if found != shape || values.len() != shape.iter().product::<usize>() {
            return Err(self.broken(format!(
                "output {name}: expected the shape {shape:?}, found {found:?}"
            )));
        }
        self.check_finite(name, values)?;
        Ok(values)
    }

    /// The error for an output with NaN or infinity.
    pub fn not_finite(&self, output: &'static str) -> Error {
        Error::Graph(GraphError::NotFinite {
            path: self.path.clone(),
            output,
        })
    }

    /// Shape and values of an output.
    pub fn output<'o, T: PrimitiveTensorElementType>(
        &self,
        outputs: &'o SessionOutputs<'_>,
        name: &str,
    ) -> Result<(&'o [i64], &'o [T])> {
        let tensor = outputs[name].try_extract_tensor::<T>();
        let (shape, values) = tensor.map_err(|source| self.failed(source))?;
        Ok((shape, values))
    }

    /// Refuse an output that is not finite: no choice can be made from it.
    pub fn check_finite(&self, output: &'static str, values: &[f32]) -> Result<()> {
        if values.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        Err(self.not_finite(output))
    }

    /// The error for an output that differs from the signature, which only a run can show.
    pub fn broken(&self, problem: String) -> Error {
        Error::Graph(GraphError::Signature {
            path: self.path.clone(),
            problems: vec![problem],
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn failed(&self, source: ort::Error) -> Error {
        Error::Graph(GraphError::Run {
            path: self.path.clone(),
            source: source.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use ort::value::Tensor;

    use super::*;
    use crate::runtime::testing;

    fn encoder() -> Graph {
        testing::graph("tests/golden/bundle/portable/encoder.onnx")
    }

    #[test]
    fn a_failing_run_names_the_graph() {
        let encoder = encoder();
        let input = Tensor::from_array(([1usize], vec![1.0f32])).unwrap();
        let failed = encoder.run(
            vec![("input_ids", input.into())],
            "sentence_embedding",
            &[1, 32],
        );
        let error = failed.unwrap_err();
        assert!(
            matches!(error, Error::Graph(GraphError::Run { .. })),
            "{error:?}"
        );
        assert!(error.to_string().contains("encoder.onnx"), "{error}");
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let graph = encoder();
        assert!(graph.check_finite("logits", &[0.0, -1e30]).is_ok());
        for value in [f32::NAN, f32::INFINITY] {
            let refused = graph.check_finite("logits", &[0.0, value]);
            assert!(matches!(
                refused,
                Err(Error::Graph(GraphError::NotFinite {
                    output: "logits",
                    ..
                }))
            ));
        }
    }
}
