//! The graphs of a loaded model.

use crate::{
    backbone::Backbone,
    bundle::{GraphRole, Variant},
    config::{ModelConfig, ModelKind},
    decoder::Decoder,
    encoder::Encoder,
    error::{Error, Result},
    opt::Opt,
    runtime::{EngineSettings, Graph, GraphSettings, Placement},
};

/// The graphs of a model of any kind.
#[derive(Debug)]
pub(super) enum Graphs {
    Sentences(Box<SentenceGraphs>),
    Tokens(Box<Opt>),
}

/// The graphs of a sentence-level model.
#[derive(Debug)]
pub(crate) struct SentenceGraphs {
    pub encoder: Encoder,
    /// Absent in kind `svae`.
    pub backbone: Option<Backbone>,
    pub decoder: Decoder,
}

impl Graphs {
    /// The graphs of a variant, and where the nodes of all of them run.
    pub fn load(
        config: &ModelConfig,
        variant: &Variant,
        settings: &GraphSettings,
    ) -> Result<(Self, Placement)> {
        let mut placement = Placement::default();
        let mut load = |role| {
            let graph = load(config, variant, role, settings)?;
            placement.add(graph.placement());
            Ok::<_, Error>(graph)
        };
        if config.kind == ModelKind::Opt {
            let opt = Opt::new(load(GraphRole::Opt)?, config)?;
            return Ok((Self::Tokens(Box::new(opt)), placement));
        }
        let encoder = Encoder::new(load(GraphRole::Encoder)?, config)?;
        let backbone = match config.kind {
            ModelKind::Sllm => Some(Backbone::new(load(GraphRole::Backbone)?, config)?),
            _ => None,
        };
        let decoder = Decoder::new(load(GraphRole::Decoder)?, config)?;
        let graphs = SentenceGraphs {
            encoder,
            backbone,
            decoder,
        };
        Ok((Self::Sentences(Box::new(graphs)), placement))
    }
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
                .map(|shapes| shapes.of_graph(role, config))
                .transpose()?,
        },
        ..settings.clone()
    };
    let bytes = file.read_verified()?;
    file.verify_external_data(&bytes)?;
    let bytes = file.external_data.is_empty().then_some(bytes.as_slice());
    Graph::load(&file.file.path, bytes, &settings)
}
