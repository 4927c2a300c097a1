//! One ONNX graph: loading and running.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ort::{
    environment::Environment,
    session::{Session, SessionInputValue, SessionOutputs, builder::SessionBuilder},
    value::{PrimitiveTensorElementType, TensorElementType},
};
use tracing::debug_span;

use super::{
    EngineSettings, MatMulKernel, Provider, ProviderOptions,
    kernels::{self, DataSource, Plan, Replaced},
    provider_assignment::{ProviderAssignment, RECORD, provider_assignment},
    provider_start::start_error,
};
use crate::error::{Error, Result};

/// The session option for the folder of external data, where a graph is not read from its file.
const EXTERNAL_DATA: &str = "session.model_external_initializers_file_folder_path";

thread_local! {
    /// The threads that use graphs, numbered: each few that follow each other use different sessions.
    static THREAD: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed)
    };
}

/// Held while a session with operators of ours is made: ONNX Runtime has one list of domains for all
/// sessions, which two threads must not extend at once.
static REGISTERING: Mutex<()> = Mutex::new(());

/// How the graphs of a model are run.
#[derive(Clone, Debug)]
pub(crate) struct GraphSettings {
    pub environment: Environment,
    pub provider: Provider,
    pub options: ProviderOptions,
    /// Of this graph.
    pub engine: EngineSettings,
    pub threads: usize,
    /// Runs that are possible at the same time, at least 1.
    pub parallel_runs: usize,
    /// How long a thread without work looks for some before it sleeps.
    pub spinning: Duration,
    /// On the processor.
    pub matmul_kernel: MatMulKernel,
}

/// The content of a graph.
pub(crate) struct GraphBytes<'a> {
    pub bytes: &'a [u8],
    pub external_data: ExternalData,
}

/// Where the external data of a graph is.
pub(crate) enum ExternalData {
    /// Beside the graph's file.
    Files,
    /// In memory, by its path relative to the graph; empty if the graph has none.
    Memory(Vec<(String, Arc<[u8]>)>),
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
    /// Make a session of the graph in `path`.
    ///
    /// `file` is what it is verified to hold.
    pub fn load(path: &Path, file: &GraphBytes<'_>, settings: &GraphSettings) -> Result<Self> {
        let _span = debug_span!(
            "load_graph",
            file = %path.display(),
            provider = settings.provider.name(),
        )
        .entered();
        let failed = |source: ort::Error| Error::GraphLoad {
            path: path.to_owned(),
            provider: settings.provider.name(),
            source: source.into(),
        };
        let products = Products::of(path, file, settings);
        let in_memory: &[_] = match &file.external_data {
            ExternalData::Files => &[],
            ExternalData::Memory(files) => files,
        };
        let start = || {
            let mut builder = builder(settings).map_err(failed)?;
            let _registering;
            if let Some(replaced) = &products.replaced {
                _registering = REGISTERING.lock().unwrap_or_else(PoisonError::into_inner);
                builder =
                    with_operators(builder, folder_of(path), replaced, settings).map_err(failed)?;
            }
            if let Some(provider) = settings
                .provider
                .dispatch(&settings.options, &settings.engine)
            {
                builder = builder
                    .with_execution_providers([provider])
                    .map_err(|error| start_error(settings.provider, error.into()))?;
            }
            for (name, content) in in_memory {
                builder = builder
                    .with_external_initializer_file_in_memory(name, content.clone())
                    .map_err(|error| failed(error.into()))?;
            }
            match (&products.replaced, &file.external_data) {
                (Some(replaced), _) => builder.commit_from_memory(&replaced.model),
                // ONNX Runtime finds data beside a file that it reads by itself.
                (None, ExternalData::Files) => builder.commit_from_file(path),
                (None, ExternalData::Memory(_)) => builder.commit_from_memory(file.bytes),
            }
            .map_err(failed)
        };
        let session = start()?;
        let inputs = session
            .inputs()
            .iter()
            .map(|input| (input.name().to_owned(), input.dtype().tensor_type()))
            .collect();
        let assignment = provider_assignment(&session).map_err(failed)?;
        let mut sessions = vec![Mutex::new(session)];
        while sessions.len() < settings.parallel_runs {
            sessions.push(Mutex::new(start()?));
        }
        Ok(Self {
            assignment,
            matmul_kernel: products.kernel,
            on_device: settings.provider != Provider::Cpu,
            _external_data: in_memory.iter().map(|(_, data)| data.clone()).collect(),
            sessions,
            path: path.to_owned(),
            inputs,
            #[cfg(test)]
            runs_before_failure: (-1).into(),
        })
    }

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
        Error::NotFinite {
            path: self.path.clone(),
            output,
        }
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
        Error::GraphSignature {
            path: self.path.clone(),
            problems: vec![problem],
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn failed(&self, source: ort::Error) -> Error {
        Error::GraphRun {
            path: self.path.clone(),
            source: source.into(),
        }
    }
}

/// What multiplies with the weights of a graph.
struct Products {
    /// The graph with operators of ours, if they do it.
    replaced: Option<Replaced>,
    /// `None` if the graph has no product that a kernel is for.
    kernel: Option<MatMulKernel>,
}

impl Products {
    fn of(path: &Path, file: &GraphBytes<'_>, settings: &GraphSettings) -> Self {
        let nodes = |kernel| Self {
            replaced: None,
            kernel,
        };
        let plan = match settings.provider {
            Provider::Cpu => Plan::of(file.bytes),
            _ => None,
        };
        let Some(plan) = plan else {
            return nodes(None);
        };
        let data = match &file.external_data {
            ExternalData::Memory(files) => Some(DataSource::Memory(files)),
            // A changed graph finds external data only in a folder whose name is UTF-8.
            ExternalData::Files => {
                folder_of(path).map(|folder| DataSource::Folder(folder.as_ref()))
            }
        };
        let replaced = match settings.matmul_kernel {
            MatMulKernel::OnnxRuntime => None,
            kernel => data.and_then(|data| plan.replace(data, kernel.lanes())),
        };
        match replaced {
            None => nodes(Some(MatMulKernel::OnnxRuntime)),
            replaced => Self {
                replaced,
                kernel: Some(settings.matmul_kernel),
            },
        }
    }
}

/// The folder of a graph's external data, if a session option can name it.
fn folder_of(path: &Path) -> Option<&str> {
    path.parent().and_then(Path::to_str)
}

/// A builder for a graph that has operators of ours, and its external data in `folder`.
fn with_operators(
    builder: SessionBuilder,
    folder: Option<&str>,
    replaced: &Replaced,
    settings: &GraphSettings,
) -> ort::Result<SessionBuilder> {
    let domain = kernels::domain(settings.matmul_kernel, replaced, settings.threads)?;
    let builder = builder.with_operators(domain)?;
    Ok(match folder {
        Some(folder) => builder.with_config_entry(EXTERNAL_DATA, folder)?,
        None => builder,
    })
}

fn builder(settings: &GraphSettings) -> ort::Result<SessionBuilder> {
    let spins = !settings.spinning.is_zero();
    let mut builder = Session::builder(&settings.environment)?
        .with_intra_threads(settings.threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(spins)?
        .with_config_entry(RECORD, "1")?;
    if spins {
        // Each graph has its own threads: those of one must not take the processors from the next.
        let micros = settings.spinning.as_micros().to_string();
        builder = builder
            .with_config_entry("session.force_spinning_stop", "1")?
            .with_config_entry("session.intra_op.spin_duration_us", micros)?;
    }
    Ok(builder)
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
        assert!(matches!(error, Error::GraphRun { .. }), "{error:?}");
        assert!(error.to_string().contains("encoder.onnx"), "{error}");
    }

    /// Its external data could not be named to ONNX Runtime.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_graph_in_a_folder_that_is_not_utf8_keeps_its_nodes() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join(OsStr::from_bytes(b"\xff"));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("decoder.onnx");
        let bytes = std::fs::read("tests/golden/bundle-fast/cpu-int8/decoder.onnx").unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let mut settings = testing::settings();
        settings.matmul_kernel = MatMulKernel::Plain;
        for (external_data, expected) in [
            (ExternalData::Files, MatMulKernel::OnnxRuntime),
            (ExternalData::Memory(Vec::new()), MatMulKernel::Plain),
        ] {
            let file = GraphBytes {
                bytes: &bytes,
                external_data,
            };
            let graph = Graph::load(&path, &file, &settings).unwrap();
            assert_eq!(graph.matmul_kernel(), Some(expected));
        }
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let graph = encoder();
        assert!(graph.check_finite("logits", &[0.0, -1e30]).is_ok());
        for value in [f32::NAN, f32::INFINITY] {
            let refused = graph.check_finite("logits", &[0.0, value]);
            assert!(matches!(
                refused,
                Err(Error::NotFinite {
                    output: "logits",
                    ..
                })
            ));
        }
    }
}
