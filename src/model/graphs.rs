//! Loading the graphs of a model.

use std::path::{Path, PathBuf};

use super::shapes::shapes_of_graph;
use crate::{
    bundle::{GraphRole, MAX_GRAPH_BYTES, Variant},
    config::{ModelConfig, ModelKind},
    error::{Error, Result},
    graphs::{Backbone, Decoder, Encoder, TokenLm},
    runtime::{
        EngineSettings, ExternalData, Graph, GraphBytes, GraphSettings, MatMulKernel,
        ProviderAssignment,
    },
};

/// The graphs of a model of any kind.
pub(super) enum Graphs {
    Autoencoder {
        encoder: Encoder,
        decoder: Decoder,
    },
    Sentences {
        encoder: Encoder,
        backbone: Backbone,
        decoder: Decoder,
    },
    Tokens(TokenLm),
}

/// How the graphs of a model run.
#[derive(Debug, Default)]
pub(super) struct GraphsInfo {
    /// Where the nodes of all of them run.
    pub assignment: ProviderAssignment,
    /// `None` if no graph has a product that a kernel is for.
    pub matmul_kernel: Option<MatMulKernel>,
}

impl Graphs {
    /// The graphs of a variant.
    pub fn load(
        config: &ModelConfig,
        variant: &Variant,
        settings: &GraphSettings,
    ) -> Result<(Self, GraphsInfo)> {
        let mut info = GraphsInfo::default();
        let mut load = |role| {
            let graph = load(config, variant, role, settings)?;
            info.assignment.add(graph.provider_assignment());
            info.matmul_kernel = info.matmul_kernel.or(graph.matmul_kernel());
            Ok::<_, Error>(graph)
        };
        let graphs = match config.kind {
            ModelKind::Opt => Self::Tokens(TokenLm::new(load(GraphRole::Opt)?, config)?),
            ModelKind::Svae => Self::Autoencoder {
                encoder: Encoder::new(load(GraphRole::Encoder)?, config)?,
                decoder: Decoder::new(load(GraphRole::Decoder)?, config)?,
            },
            ModelKind::Sllm => Self::Sentences {
                encoder: Encoder::new(load(GraphRole::Encoder)?, config)?,
                backbone: Backbone::new(load(GraphRole::Backbone)?, config)?,
                decoder: Decoder::new(load(GraphRole::Decoder)?, config)?,
            },
        };
        Ok((graphs, info))
    }
}

/// The folder of a graph.
fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// The graph of a role, its files checked.
pub(super) fn load(
    config: &ModelConfig,
    variant: &Variant,
    role: GraphRole,
    settings: &GraphSettings,
) -> Result<Graph> {
    let file = variant.graph(role)?;
    let shapes = settings.options.shapes;
    let settings = GraphSettings {
        engine: EngineSettings {
            prefix: format!("{role}-{}", file.file.sha256),
            shapes: shapes
                .map(|shapes| shapes_of_graph(&shapes, role, config))
                .transpose()?,
        },
        ..settings.clone()
    };
    let bytes = file.file.verified(MAX_GRAPH_BYTES)?;
    file.verify_external_data(&bytes)?;
    let external_data = match file.external_data_in_memory() {
        None => ExternalData::Folder(folder_of(&file.file.path)),
        Some(files) => ExternalData::Memory(files),
    };
    let graph = GraphBytes {
        bytes: &bytes,
        external_data,
    };
    Graph::load(&file.file.path, &graph, &settings)
}
