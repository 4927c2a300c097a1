//! Loading a graph: a session for each run that is possible at the same time.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ort::{
    environment::Environment,
    session::{Session, builder::SessionBuilder},
};
use tracing::debug_span;

use super::Graph;
use crate::{
    error::{Error, GraphError, Result},
    runtime::{
        EngineSettings, ExternalData, MatMulKernel, Provider, ProviderOptions,
        kernels::{self, Plan, Replaced},
        provider_assignment::{RECORD, provider_assignment},
        provider_start::start_error,
    },
};

/// The session option for the folder of external data, where a graph is not read from its file.
const EXTERNAL_DATA: &str = "session.model_external_initializers_file_folder_path";

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

impl Graph {
    /// Make sessions of the graph in `path`.
    ///
    /// `file` is what it is verified to hold.
    pub fn load(path: &Path, file: &GraphBytes<'_>, settings: &GraphSettings) -> Result<Self> {
        let _span = debug_span!(
            "load_graph",
            file = %path.display(),
            provider = settings.provider.name(),
        )
        .entered();
        let loader = Loader {
            path,
            file,
            settings,
            products: Products::of(file, settings),
        };
        let session = loader.session()?;
        let inputs = session
            .inputs()
            .iter()
            .map(|input| (input.name().to_owned(), input.dtype().tensor_type()))
            .collect();
        let assignment = provider_assignment(&session).map_err(|error| loader.failed(error))?;
        let mut sessions = vec![Mutex::new(session)];
        while sessions.len() < settings.parallel_runs {
            sessions.push(Mutex::new(loader.session()?));
        }
        let external_data = file.external_data.in_memory().iter();
        Ok(Self {
            assignment,
            matmul_kernel: loader.products.kernel,
            on_device: settings.provider != Provider::Cpu,
            _external_data: external_data.map(|(_, data)| data.clone()).collect(),
            sessions,
            path: path.to_owned(),
            inputs,
            #[cfg(test)]
            runs_before_failure: (-1).into(),
        })
    }
}

struct Loader<'a> {
    path: &'a Path,
    file: &'a GraphBytes<'a>,
    settings: &'a GraphSettings,
    products: Products,
}

impl Loader<'_> {
    fn session(&self) -> Result<Session> {
        let Self { file, settings, .. } = self;
        let mut builder = builder(settings).map_err(|error| self.failed(error))?;
        let _registering;
        if let Some(replaced) = &self.products.replaced {
            _registering = REGISTERING.lock().unwrap_or_else(PoisonError::into_inner);
            builder = with_operators(builder, replaced, &file.external_data, settings)
                .map_err(|error| self.failed(error))?;
        }
        if let Some(provider) = settings
            .provider
            .dispatch(&settings.options, &settings.engine)
        {
            builder = builder
                .with_execution_providers([provider])
                .map_err(|error| start_error(settings.provider, error.into()))?;
        }
        for (name, content) in file.external_data.in_memory() {
            builder = builder
                .with_external_initializer_file_in_memory(name, Arc::clone(content))
                .map_err(|error| self.failed(error.into()))?;
        }
        match (&self.products.replaced, &file.external_data) {
            (Some(replaced), _) => builder.commit_from_memory(&replaced.model),
            // ONNX Runtime finds data beside a file that it reads by itself.
            (None, ExternalData::Folder(_)) => builder.commit_from_file(self.path),
            (None, ExternalData::Memory(_)) => builder.commit_from_memory(file.bytes),
        }
        .map_err(|error| self.failed(error))
    }

    fn failed(&self, source: ort::Error) -> Error {
        Error::Graph(GraphError::Load {
            path: self.path.to_owned(),
            provider: self.settings.provider.name(),
            source: source.into(),
        })
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
    fn of(file: &GraphBytes<'_>, settings: &GraphSettings) -> Self {
        let plan = match settings.provider {
            Provider::Cpu => Plan::of(file.bytes),
            _ => None,
        };
        let Some(plan) = plan else {
            return Self {
                replaced: None,
                kernel: None,
            };
        };
        let replaced = match settings.matmul_kernel {
            MatMulKernel::OnnxRuntime => None,
            _ if !can_be_named(&file.external_data) => None,
            kernel => plan.replace(&file.external_data, kernel.lanes()),
        };
        let kernel = match replaced {
            None => MatMulKernel::OnnxRuntime,
            Some(_) => settings.matmul_kernel,
        };
        Self {
            replaced,
            kernel: Some(kernel),
        }
    }
}

/// Whether a session option, which is UTF-8, can say where the data is.
fn can_be_named(external_data: &ExternalData) -> bool {
    match external_data {
        ExternalData::Folder(folder) => folder.to_str().is_some(),
        ExternalData::Memory(_) => true,
    }
}

/// A builder for a graph that has operators of ours.
fn with_operators(
    builder: SessionBuilder,
    replaced: &Replaced,
    external_data: &ExternalData,
    settings: &GraphSettings,
) -> ort::Result<SessionBuilder> {
    let domain = kernels::domain(settings.matmul_kernel, replaced, settings.threads)?;
    let builder = builder.with_operators(domain)?;
    Ok(match external_data {
        ExternalData::Folder(folder) => {
            builder.with_config_entry(EXTERNAL_DATA, folder.to_string_lossy())?
        }
        ExternalData::Memory(_) => builder,
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
    use super::*;
    use crate::runtime::testing;

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
            (ExternalData::Folder(folder), MatMulKernel::OnnxRuntime),
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
}
