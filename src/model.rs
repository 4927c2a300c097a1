//! A loaded model: immutable, shared between threads.

mod load_options;

use std::{path::Path, sync::Arc, thread};

use ndarray::{Array2, ArrayView1};
use sha2::{Digest, Sha256};

use crate::{
    backbone::Backbone,
    bundle::{Bundle, GraphRole, Variant},
    config::{ModelConfig, ModelKind, SpecialTokens},
    decoder::Decoder,
    encoder::Encoder,
    error::{Error, Result},
    generation::decode_tokens,
    runtime::{Graph, GraphSettings, KvCache, Provider, ProviderChoice, environment},
    sampling::argmax,
    session::Session,
    text::{TextPipeline, TextSentence},
};

pub use load_options::LoadOptions;

/// Most threads that are used where none are asked for: more have not been measured to help.
const DEFAULT_THREADS: usize = 4;
/// Below this width one thread is used where none are asked for: handing work over costs more than
/// it saves (256 wide on two processors: 4,500 tokens/s with one thread, 3,300 with two).
const NARROW_MODEL: usize = 512;

/// A sentence-level model. Cloning it shares it; it may be used from several threads, and runs of
/// one graph then wait for each other.
#[derive(Clone, Debug)]
pub struct Model {
    parts: Arc<Parts>,
}

#[derive(Debug)]
pub(crate) struct Parts {
    pub bundle: Bundle,
    pub pipeline: TextPipeline,
    pub encoder: Encoder,
    pub backbone: Option<Backbone>,
    pub decoder: Decoder,
    pub max_sentence_tokens: usize,
    variant: String,
    provider: Provider,
    threads: usize,
    warnings: Vec<String>,
}

/// What became of a sentence that was encoded and decoded again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconstruction {
    /// The sentence.
    pub input: String,
    /// Its tokens, without bos and eos.
    pub input_ids: Vec<u32>,
    /// The decoded text.
    pub output: String,
    /// What the decoder emitted: without bos, with eos if it was emitted.
    pub output_ids: Vec<u32>,
    /// Whether the tokens came back, and then eos.
    pub exact: bool,
}

impl Model {
    /// Load the bundle in the directory `dir`.
    ///
    /// # Errors
    /// Those of [`Bundle::open`], [`Bundle::select_variant`] and [`Bundle::load_tokenizer`];
    /// [`Error::RuntimeNotFound`], [`Error::RuntimeConflict`]; [`Error::HashMismatch`],
    /// [`Error::GraphLoad`] and [`Error::Contract`] for a graph that is not what it should be;
    /// [`Error::ProviderMissing`] if a named provider is not in the library.
    pub fn load(dir: impl AsRef<Path>, options: LoadOptions) -> Result<Self> {
        let bundle = Bundle::open(dir)?;
        if bundle.config.kind == ModelKind::Opt {
            return Err(Error::UnsupportedKind {
                model: bundle.config.name,
                kind: ModelKind::Opt,
            });
        }
        let max_sentence_tokens = bundle.config.require_max_sentence_tokens()?;
        let tokenizer = bundle.load_tokenizer()?;
        let pipeline = TextPipeline::new(tokenizer, bundle.segmentation, max_sentence_tokens)?;
        let environment = environment(options.onnxruntime.as_deref())?;
        let available = thread::available_parallelism().map_or(1, usize::from);
        let most = match bundle.config.hidden_size {
            ..NARROW_MODEL => 1,
            _ => DEFAULT_THREADS,
        };
        let threads = options.threads.unwrap_or(available.min(most));
        let mut warnings = Vec::new();
        for provider in candidates(&bundle, &options)? {
            let variant = bundle.select_variant(provider.name(), options.variant.as_deref())?;
            let settings = GraphSettings {
                environment: environment.clone(),
                provider,
                threads,
            };
            match load_graphs(&bundle.config, variant, &settings) {
                Ok((encoder, backbone, decoder)) => {
                    let variant = variant.name.clone();
                    let parts = Parts {
                        bundle,
                        pipeline,
                        encoder,
                        backbone,
                        decoder,
                        max_sentence_tokens,
                        variant,
                        provider,
                        threads,
                        warnings,
                    };
                    return Ok(Self {
                        parts: Arc::new(parts),
                    });
                }
                Err(error) if may_fall_back(&options, provider) => {
                    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                    let cause = cause.unwrap_or_default();
                    warnings.push(format!("{provider} is not used: {error}{cause}"));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::NoVariantForProvider {
            origin: bundle.dir.display().to_string(),
            provider: "auto".into(),
            available: bundle
                .variants
                .iter()
                .map(|v| v.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// The model's configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.parts.bundle.config
    }

    /// The bundle that it was loaded from.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.parts.bundle
    }

    /// How it turns text into sentences of tokens.
    #[must_use]
    pub fn text_pipeline(&self) -> &TextPipeline {
        &self.parts.pipeline
    }

    /// The name of the variant in use.
    #[must_use]
    pub fn variant(&self) -> &str {
        &self.parts.variant
    }

    /// The execution provider in use.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.parts.provider
    }

    /// Threads that work on one graph.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.parts.threads
    }

    /// What did not work as hoped while loading: providers that should start and did not, with the
    /// cause, one line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.parts.warnings
    }

    /// An empty context.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model without a backbone, [`Error::GraphRun`].
    pub fn session(&self) -> Result<Session> {
        Session::new(self.clone())
    }

    /// Sentence vectors `[texts, hidden]`; each text is taken as one sentence.
    ///
    /// # Errors
    /// [`Error::SentenceTooLong`] for a text that the model cannot take as one sentence, those of
    /// [`TextPipeline::one_sentence`], [`Error::GraphRun`].
    pub fn encode<T: AsRef<str>>(&self, texts: &[T]) -> Result<Array2<f32>> {
        let one = |text: &T| {
            let text = text.as_ref();
            let mut pieces = self.parts.pipeline.one_sentence(text)?;
            let first = pieces.next().transpose()?;
            if pieces.next().is_some() {
                return Err(Error::SentenceTooLong {
                    bytes: text.len(),
                    limit: self.parts.max_sentence_tokens - 1,
                });
            }
            Ok(self
                .parts
                .prompt_ids(first.map(|sentence| sentence.ids).unwrap_or_default()))
        };
        self.parts
            .encoder
            .encode(&texts.iter().map(one).collect::<Result<Vec<_>>>()?)
    }

    /// Sentence vectors `[sentences, hidden]` of sentences from [`text_pipeline`](Self::text_pipeline).
    ///
    /// # Errors
    /// [`Error::GraphRun`].
    pub fn encode_sentences(&self, sentences: &[TextSentence<'_>]) -> Result<Array2<f32>> {
        let ids: Vec<_> = sentences
            .iter()
            .map(|s| self.parts.prompt_ids(s.ids.clone()))
            .collect();
        self.parts.encoder.encode(&ids)
    }

    /// The sentence that a vector `[hidden]` stands for, decoded greedily: its text, and what the
    /// decoder emitted (without bos, with eos if it was emitted).
    ///
    /// # Errors
    /// [`Error::VectorSize`], [`Error::GraphRun`], [`Error::NotFinite`].
    pub fn decode(&self, vector: ArrayView1<'_, f32>) -> Result<(String, Vec<u32>)> {
        let expected = self.config().hidden_size;
        if vector.len() != expected {
            return Err(Error::VectorSize {
                found: vector.len(),
                expected,
            });
        }
        let mut cache = self.parts.decoder.cache()?;
        let ids = self.parts.decode_greedily(&mut cache, &vector.to_vec())?;
        Ok((self.parts.pipeline.tokenizer().decode(&ids)?, ids))
    }

    /// Encode sentences, all in few runs, and decode each again.
    ///
    /// # Errors
    /// [`Error::GraphRun`], [`Error::NotFinite`].
    pub fn reconstruct(&self, sentences: &[TextSentence<'_>]) -> Result<Vec<Reconstruction>> {
        let vectors = self.encode_sentences(sentences)?;
        let mut cache = self.parts.decoder.cache()?;
        let eos = self.parts.special_tokens().eos;
        let one = |(sentence, vector): (&TextSentence<'_>, ArrayView1<'_, f32>)| {
            self.parts.decoder.clear(&mut cache)?;
            let output_ids = self.parts.decode_greedily(&mut cache, &vector.to_vec())?;
            let exact = output_ids.split_last() == Some((&eos, &sentence.ids));
            Ok(Reconstruction {
                input: sentence.text.to_owned(),
                input_ids: sentence.ids.clone(),
                output: self.parts.pipeline.tokenizer().decode(&output_ids)?,
                output_ids,
                exact,
            })
        };
        sentences
            .iter()
            .zip(vectors.outer_iter())
            .map(one)
            .collect()
    }

    /// A hash of all that the model's output depends on but the variant: the same for two bundles
    /// exactly if their manifests name the same files.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let bundle = &self.parts.bundle;
        let mut hasher = Sha256::new();
        let config = serde_json::to_vec(&bundle.config).unwrap_or_default();
        hasher.update(config);
        hasher.update(&bundle.tokenizer.sha256);
        for variant in &bundle.variants {
            for graph in variant.graphs.values() {
                hasher.update(&graph.file.sha256);
            }
        }
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }
}

impl Parts {
    pub fn special_tokens(&self) -> SpecialTokens {
        self.bundle.config.tokens
    }

    /// What the encoder sees of a sentence of a text.
    pub fn prompt_ids(&self, mut ids: Vec<u32>) -> Vec<u32> {
        ids.insert(0, self.special_tokens().bos);
        ids
    }

    fn decode_greedily(&self, cache: &mut KvCache, vector: &[f32]) -> Result<Vec<u32>> {
        decode_tokens(
            self.special_tokens(),
            self.max_sentence_tokens,
            |id| self.decoder.append(cache, vector, &[id]),
            |logits| argmax(logits),
            |_| Ok(std::ops::ControlFlow::Continue(())),
        )
    }
}

/// The providers to try in turn: all that could work for `auto`, or the one that was named.
fn candidates(bundle: &Bundle, options: &LoadOptions) -> Result<Vec<Provider>> {
    match options.provider {
        ProviderChoice::Only(provider) if provider.is_built_in() => Ok(vec![provider]),
        ProviderChoice::Only(provider) => Err(Error::ProviderMissing {
            provider: provider.name(),
        }),
        ProviderChoice::Auto => {
            let wanted = options.variant.as_deref();
            // An unknown variant is said to be so, not found to be made for no provider.
            if wanted.is_some() {
                bundle.select_variant(Provider::Cpu.name(), wanted)?;
            }
            let fits = |provider: &Provider| {
                let made_for = |variant: &Variant| {
                    wanted.is_none_or(|name| name == variant.name)
                        && variant.providers.iter().any(|name| name == provider.name())
                };
                provider.is_built_in() && bundle.variants.iter().any(made_for)
            };
            Ok(Provider::ALL.into_iter().filter(fits).collect())
        }
    }
}

/// Only `auto` may go on to another provider, and the processor is the last one.
fn may_fall_back(options: &LoadOptions, provider: Provider) -> bool {
    options.provider == ProviderChoice::Auto && provider != Provider::Cpu
}

fn load_graphs(
    config: &ModelConfig,
    variant: &Variant,
    settings: &GraphSettings,
) -> Result<(Encoder, Option<Backbone>, Decoder)> {
    let load = |role| {
        let file = variant.graph(role)?;
        let bytes = file.read_verified()?;
        file.verify_external_data(&bytes)?;
        let bytes = file.external_data.is_empty().then_some(bytes.as_slice());
        Graph::load(&file.file.path, bytes, settings)
    };
    let encoder = Encoder::new(load(GraphRole::Encoder)?, config)?;
    let backbone = match config.kind {
        ModelKind::Sllm => Some(Backbone::new(load(GraphRole::Backbone)?, config)?),
        _ => None,
    };
    let decoder = Decoder::new(load(GraphRole::Decoder)?, config)?;
    Ok((encoder, backbone, decoder))
}
