//! A loaded model: immutable, shared between threads.

mod graphs;
mod load_options;
mod network;
mod providers;
mod shapes;

use std::{path::Path, sync::Arc, thread, time::Duration};

use sha2::{Digest, Sha256};
use tracing::{Span, debug, field, info_span, warn};

use crate::{
    bundle::Bundle,
    config::{KvBytes, ModelConfig, SpecialTokens},
    error::{BundleError, Error, Result},
    graphs::CachedGraph,
    hash::hexadecimal,
    runtime::{
        EngineSettings, GraphSettings, MatMulKernel, Provider, ProviderAssignment, environment,
    },
    sampling::{GenerationDefaults, SamplingOptions},
    text::TextPipeline,
};

use graphs::{Graphs, GraphsInfo};
pub use load_options::LoadOptions;
pub(crate) use network::{Autoencoder, Network, SentenceModel, TokenModel};
use providers::{candidates, may_fall_back};

/// Most threads that are used where none are asked for: more have not been measured to help.
const DEFAULT_THREADS: usize = 4;
/// Below this width one thread is used where none are asked for: handing work over costs more than
/// it saves (256 wide on two processors: 4,500 tokens/s with one thread, 3,300 with two).
const NARROW_MODEL: usize = 512;
/// Most of what spinning gains is had by then; a longer time takes more from a machine that is busy
/// (see docs/speed.md).
const DEFAULT_SPINNING: Duration = Duration::from_micros(200);

/// A model: sentence-level, or a token-level OPT.
///
/// A clone is the same model. It can be used from several threads at once; runs of one graph are
/// serialized.
#[derive(Clone, Debug)]
pub struct Model {
    shared: Arc<Shared>,
    network: Network,
}

/// What models of all kinds have.
#[derive(Debug)]
pub(crate) struct Shared {
    pub bundle: Bundle,
    pub pipeline: TextPipeline,
    /// The longest sentence in tokens, bos included; in kind `opt` the longest context.
    pub longest_sentence: usize,
    variant: String,
    provider: Provider,
    graphs: GraphsInfo,
    threads: usize,
    parallel_runs: usize,
    spinning: Duration,
    warnings: Vec<String>,
}

impl Model {
    /// Load the bundle in the directory `dir`.
    ///
    /// # Errors
    /// Those of [`Bundle::open`], [`Bundle::select_variant`] and [`Bundle::load_tokenizer`];
    /// [`Error::Graph`] for a graph that is not what it should be; [`Error::Runtime`] without ONNX
    /// Runtime, or if a provider that was named does not start; [`Error::InvalidOption`] for an
    /// option that the provider does not take.
    pub fn load(dir: impl AsRef<Path>, options: LoadOptions) -> Result<Self> {
        let dir = dir.as_ref();
        let span = load_span(dir).entered();
        Self::start(Bundle::open(dir)?, options, &span)
    }

    /// Load a bundle, such as one in memory ([`Bundle::from_memory`]).
    ///
    /// # Errors
    /// Those of [`load`](Self::load), except those of [`Bundle::open`].
    pub fn from_bundle(bundle: Bundle, options: LoadOptions) -> Result<Self> {
        let span = load_span(&bundle.dir).entered();
        Self::start(bundle, options, &span)
    }

    fn start(bundle: Bundle, options: LoadOptions, span: &Span) -> Result<Self> {
        span.record("model", &*bundle.config.name);
        let longest_sentence = bundle.config.longest_sentence()?;
        let tokenizer = bundle.load_tokenizer()?;
        let pipeline = TextPipeline::new(tokenizer, bundle.segmentation, longest_sentence)?;
        let environment = environment(options.onnxruntime.as_deref())?;
        let available = thread::available_parallelism().map_or(1, usize::from);
        let most = match bundle.config.hidden_size {
            ..NARROW_MODEL => 1,
            _ => DEFAULT_THREADS,
        };
        let threads = options.threads.unwrap_or(available.min(most));
        let parallel_runs = options.parallel_runs.unwrap_or(1);
        let parallel_runs = parallel_runs.min((available / threads).max(1));
        let spinning = options.spinning.unwrap_or(DEFAULT_SPINNING);
        let matmul_kernel = options.matmul_kernel.unwrap_or_else(MatMulKernel::fastest);
        let mut warnings = Vec::new();
        for provider in candidates(&bundle, &options)? {
            let variant = bundle.select_variant(provider.name(), options.variant.as_deref())?;
            let settings = GraphSettings {
                environment: environment.clone(),
                provider,
                options: options.provider_options.clone(),
                engine: EngineSettings::default(),
                threads,
                parallel_runs,
                spinning,
                matmul_kernel,
            };
            match Graphs::load(&bundle.config, variant, &settings) {
                Ok((graphs, info)) => {
                    warnings.extend(options.provider_options.warnings(provider));
                    let variant = variant.name.clone();
                    if let (Some(kernel), None) = (options.matmul_kernel, info.matmul_kernel) {
                        warnings.push(format!(
                            "matmul-kernel {kernel} has no effect: the variant {variant} has no \
                             weights of 4 or 8 bits for it"
                        ));
                    }
                    span.record("variant", &*variant);
                    span.record("provider", provider.name());
                    debug!(threads, spin_micros = spinning.as_micros() as u64, "loaded");
                    let shared = Arc::new(Shared {
                        bundle,
                        pipeline,
                        longest_sentence,
                        variant,
                        provider,
                        graphs: info,
                        threads,
                        parallel_runs,
                        spinning,
                        warnings,
                    });
                    let network = Network::new(&shared, graphs)?;
                    return Ok(Self { shared, network });
                }
                Err(error) if may_fall_back(&options, provider) => {
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                    let cause = cause.unwrap_or_default();
                    let warning = format!("{provider} is not used: {error}{cause}");
                    warn!("{warning}");
                    warnings.push(warning);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Bundle(BundleError::NoVariantForProvider {
            origin: bundle.dir.display().to_string(),
            provider: "auto".into(),
            available: bundle
                .variants
                .iter()
                .map(|v| v.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        }))
    }

    /// The model's configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.shared.bundle.config
    }

    /// The bundle that the model was loaded from.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.shared.bundle
    }

    /// The pipeline that turns text into sentences of tokens.
    #[must_use]
    pub fn text_pipeline(&self) -> &TextPipeline {
        &self.shared.pipeline
    }

    /// The name of the variant in use.
    #[must_use]
    pub fn variant(&self) -> &str {
        &self.shared.variant
    }

    /// The execution provider in use.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.shared.provider
    }

    /// Which execution providers run the nodes of the graphs. ONNX Runtime assigns nodes that
    /// [`provider`](Self::provider) does not support to the CPU.
    #[must_use]
    pub fn provider_assignment(&self) -> &ProviderAssignment {
        &self.shared.graphs.assignment
    }

    /// Threads that work on one graph.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.shared.threads
    }

    /// Maximum number of runs of a graph at the same time; see [`LoadOptions::with_parallel_runs`].
    #[must_use]
    pub fn parallel_runs(&self) -> usize {
        self.shared.parallel_runs
    }

    /// How long an idle thread spins before it sleeps; see [`LoadOptions::with_spinning`].
    #[must_use]
    pub fn spinning(&self) -> Duration {
        self.shared.spinning
    }

    /// The kernel for 4-bit and 8-bit weights; `None` if no kernel supports the model's weights, or
    /// the model does not run on the CPU.
    #[must_use]
    pub fn matmul_kernel(&self) -> Option<MatMulKernel> {
        self.shared.graphs.matmul_kernel
    }

    /// Warnings from loading, one line each: providers that failed to start, with the cause, and
    /// options that have no effect.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.shared.warnings
    }

    /// The sampling options where [`GenerateOptions`](crate::GenerateOptions) set none: those of the
    /// bundle's manifest, or greedy.
    ///
    /// Clone them to change some.
    #[must_use]
    pub fn sampling(&self) -> &SamplingOptions {
        &self.generation_defaults().sampling
    }

    /// Bytes of the KV caches in the precision of the variant; see
    /// [`ModelConfig::kv_bytes`].
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a number of tokens that no sentence has.
    pub fn kv_bytes(&self, sentence_tokens: Option<usize>) -> Result<KvBytes> {
        let bytes = self.token_graph().number_bytes();
        self.config().kv_bytes_of(sentence_tokens, bytes)
    }

    /// The generation defaults of the bundle's manifest.
    #[must_use]
    pub fn generation_defaults(&self) -> &GenerationDefaults {
        &self.shared.bundle.generation
    }

    /// A hash of all that the model's output depends on, except the variant in use: configuration,
    /// segmentation, tokenizer, graphs and their external data.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let bundle = &self.shared.bundle;
        let mut hasher = Sha256::new();
        hasher.update(self.fingerprint_of_0_1());
        hasher.update(format!("{:?}", bundle.segmentation));
        for graph in bundle
            .variants
            .iter()
            .flat_map(|variant| variant.graphs.values())
        {
            for file in &graph.external_data {
                hasher.update(&file.sha256);
            }
        }
        hexadecimal(&hasher.finalize())
    }

    /// What version 0.1 took for the fingerprint, which stands in session files of that time.
    pub(crate) fn fingerprint_of_0_1(&self) -> String {
        let bundle = &self.shared.bundle;
        let mut hasher = Sha256::new();
        let config = serde_json::to_vec(&bundle.config).unwrap_or_default();
        hasher.update(config);
        hasher.update(&bundle.tokenizer.sha256);
        for variant in &bundle.variants {
            for graph in variant.graphs.values() {
                hasher.update(&graph.file.sha256);
            }
        }
        hexadecimal(&hasher.finalize())
    }

    /// The graph that gives logits.
    fn token_graph(&self) -> &CachedGraph {
        match &self.network {
            Network::Autoencoder(model) => model.decoder.cached(),
            Network::Sentences(model) => model.autoencoder.decoder.cached(),
            Network::Tokens(model) => model.graph.cached(),
        }
    }

    /// Whether both are the same loaded model.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }
}

fn load_span(dir: &Path) -> Span {
    info_span!(
        "load",
        bundle = %dir.display(),
        model = field::Empty,
        variant = field::Empty,
        provider = field::Empty,
    )
}

impl Shared {
    pub fn special_tokens(&self) -> SpecialTokens {
        self.bundle.config.tokens
    }

    /// What the encoder sees of a sentence of a text, or a token-level model of a whole text.
    pub fn prompt_ids(&self, mut ids: Vec<u32>) -> Vec<u32> {
        ids.insert(0, self.special_tokens().bos);
        ids
    }
}
