//! A loaded model: immutable, shared between threads.

mod graphs;
mod load_options;
mod providers;

use std::{path::Path, sync::Arc, thread, time::Duration};

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use sha2::{Digest, Sha256};
use tracing::{debug, field, info_span, warn};

use crate::{
    backbone::Backbone,
    bundle::Bundle,
    config::{ModelConfig, SpecialTokens},
    error::{Error, Result},
    generation::{Continuation, Emitted, GenerateOptions, GenerationDefaults},
    hash::hexadecimal,
    opt::Opt,
    runtime::{EngineSettings, GraphSettings, Placement, Provider, environment},
    sampling::SamplingOptions,
    session::Session,
    text::{TextPipeline, TextSentence},
};

use graphs::Graphs;
pub(crate) use graphs::SentenceGraphs;
pub use load_options::LoadOptions;
use providers::{candidates, may_fall_back};

/// Most threads that are used where none are asked for: more have not been measured to help.
const DEFAULT_THREADS: usize = 4;
/// Below this width one thread is used where none are asked for: handing work over costs more than
/// it saves (256 wide on two processors: 4,500 tokens/s with one thread, 3,300 with two).
const NARROW_MODEL: usize = 512;
/// Most of what spinning gains is had by then; a longer time takes more from a machine that is busy
/// (see docs/speed.md).
const DEFAULT_SPINNING: Duration = Duration::from_micros(200);

/// Most sentences that are decoded together where all are there at once: more are no faster.
const DECODED_TOGETHER: usize = 32;

/// Most places of [`Model::interpolate`].
const MAX_STEPS: usize = 1024;

/// A model: sentence-level, or a token-level OPT. Cloning it shares it; it may be used from several threads, and runs of
/// one graph then wait for each other.
#[derive(Clone, Debug)]
pub struct Model {
    parts: Arc<Parts>,
}

#[derive(Debug)]
pub(crate) struct Parts {
    pub bundle: Bundle,
    pub pipeline: TextPipeline,
    /// The longest sentence in tokens, bos included; in kind `opt` the longest context.
    pub longest_sentence: usize,
    graphs: Graphs,
    variant: String,
    provider: Provider,
    placement: Placement,
    threads: usize,
    spinning: Duration,
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
    /// [`Error::ProviderMissing`] if a named provider is not in the library,
    /// [`Error::ProviderStart`] if it is and does not start, [`Error::InvalidOption`] if it was given
    /// an option that it does not take.
    pub fn load(dir: impl AsRef<Path>, options: LoadOptions) -> Result<Self> {
        let dir = dir.as_ref();
        let span = info_span!(
            "load",
            bundle = %dir.display(),
            model = field::Empty,
            variant = field::Empty,
            provider = field::Empty,
        )
        .entered();
        let bundle = Bundle::open(dir)?;
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
        let spinning = options.spinning.unwrap_or(DEFAULT_SPINNING);
        let mut warnings = Vec::new();
        for provider in candidates(&bundle, &options)? {
            let variant = bundle.select_variant(provider.name(), options.variant.as_deref())?;
            let settings = GraphSettings {
                environment: environment.clone(),
                provider,
                options: options.provider_options.clone(),
                engine: EngineSettings::default(),
                threads,
                spinning,
            };
            match Graphs::load(&bundle.config, variant, &settings) {
                Ok((graphs, placement)) => {
                    warnings.extend(options.provider_options.warnings(provider));
                    let variant = variant.name.clone();
                    span.record("variant", &*variant);
                    span.record("provider", provider.name());
                    debug!(threads, spin_micros = spinning.as_micros() as u64, "loaded");
                    let parts = Parts {
                        bundle,
                        pipeline,
                        longest_sentence,
                        graphs,
                        variant,
                        provider,
                        placement,
                        threads,
                        spinning,
                        warnings,
                    };
                    return Ok(Self {
                        parts: Arc::new(parts),
                    });
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

    /// On which execution providers the nodes of the graphs run: ONNX Runtime gives those that
    /// [`provider`](Self::provider) does not take to the processor.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.parts.placement
    }

    /// Threads that work on one graph.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.parts.threads
    }

    /// How long a thread without work looks for some before it sleeps; see
    /// [`LoadOptions::with_spinning`].
    #[must_use]
    pub fn spinning(&self) -> Duration {
        self.parts.spinning
    }

    /// What did not work as hoped while loading: providers that should start and did not, with the
    /// cause, and options that have no effect, one line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.parts.warnings
    }

    /// How tokens are chosen where [`GenerateOptions`] do not say, to change parts of it: what the
    /// bundle's manifest says, greedy if that says nothing.
    #[must_use]
    pub fn sampling(&self) -> &SamplingOptions {
        &self.generation_defaults().sampling
    }

    /// What the bundle's manifest says of generation.
    #[must_use]
    pub fn generation_defaults(&self) -> &GenerationDefaults {
        &self.parts.bundle.generation
    }

    /// An empty context.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `svae`, [`Error::GraphRun`].
    pub fn session(&self) -> Result<Session> {
        Session::new(self.clone())
    }

    /// Sentence vectors `[texts, hidden]`; each text is taken as one sentence.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `opt`, [`Error::SentenceTooLong`] for a text that the
    /// model cannot take as one sentence, those of [`TextPipeline::one_sentence`],
    /// [`Error::GraphRun`].
    pub fn encode<T: AsRef<str>>(&self, texts: &[T]) -> Result<Array2<f32>> {
        let encoder = &self.parts.sentence_graphs()?.encoder;
        let one = |text: &T| {
            let text = text.as_ref();
            let mut pieces = self.parts.pipeline.one_sentence(text)?;
            let first = pieces.next().transpose()?;
            if pieces.next().is_some() {
                return Err(Error::SentenceTooLong {
                    bytes: text.len(),
                    limit: self.parts.longest_sentence - 1,
                });
            }
            Ok(self
                .parts
                .prompt_ids(first.map(|sentence| sentence.ids).unwrap_or_default()))
        };
        encoder.encode(&texts.iter().map(one).collect::<Result<Vec<_>>>()?)
    }

    /// Sentence vectors `[sentences, hidden]` of sentences from [`text_pipeline`](Self::text_pipeline).
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `opt`, [`Error::GraphRun`].
    pub fn encode_sentences(&self, sentences: &[TextSentence<'_>]) -> Result<Array2<f32>> {
        let ids: Vec<_> = sentences
            .iter()
            .map(|s| self.parts.prompt_ids(s.ids.clone()))
            .collect();
        self.parts.sentence_graphs()?.encoder.encode(&ids)
    }

    /// The sentence that a vector `[hidden]` stands for, decoded greedily: its text, and what the
    /// decoder emitted (without bos, with eos if it was emitted).
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `opt`, [`Error::VectorSize`], [`Error::GraphRun`],
    /// [`Error::NotFinite`].
    pub fn decode(&self, vector: ArrayView1<'_, f32>) -> Result<(String, Vec<u32>)> {
        let expected = self.config().hidden_size;
        if vector.len() != expected {
            return Err(Error::VectorSize {
                found: vector.len(),
                expected,
            });
        }
        let rows = vector.insert_axis(Axis(0));
        let ids = self.parts.decode_greedily(rows)?.swap_remove(0);
        Ok((self.parts.pipeline.decode(&ids)?, ids))
    }

    /// Cosine of the angle between the vectors of two texts, each taken as one sentence: -1 to 1.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode).
    pub fn similarity(&self, one: &str, other: &str) -> Result<f32> {
        let vectors = self.encode(&[one, other])?;
        let (one, other) = (vectors.row(0), vectors.row(1));
        let length = |vector: ArrayView1<'_, f32>| vector.dot(&vector).sqrt();
        let lengths = length(one) * length(other);
        Ok(if lengths > 0.0 {
            (one.dot(&other) / lengths).clamp(-1.0, 1.0)
        } else {
            0.0
        })
    }

    /// The sentences that lie on the way from one text's vector to another's, each text taken as one
    /// sentence: decoded at `steps` places, 2 to 1024, with the same distance between them, both ends
    /// included.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for another number of steps; those of [`encode`](Self::encode) and
    /// [`decode`](Self::decode).
    pub fn interpolate(&self, from: &str, to: &str, steps: usize) -> Result<Vec<String>> {
        if !(2..=MAX_STEPS).contains(&steps) {
            return Err(Error::InvalidOption {
                option: "steps",
                value: steps.to_string(),
                allowed: format!("2 to {MAX_STEPS}"),
            });
        }
        let ends = self.encode(&[from, to])?;
        let part = |step: usize| step as f32 / (steps - 1) as f32;
        let vectors = Array2::from_shape_fn((steps, ends.ncols()), |(step, channel)| {
            let [from, to] = [ends[[0, channel]], ends[[1, channel]]];
            from * (1.0 - part(step)) + to * part(step)
        });
        let decoded = self.parts.decode_greedily(vectors.view())?;
        let pipeline = &self.parts.pipeline;
        decoded.iter().map(|ids| pipeline.decode(ids)).collect()
    }

    /// Encode sentences, all in few runs, and decode each again, all together.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `opt`, [`Error::GraphRun`], [`Error::NotFinite`].
    pub fn reconstruct(&self, sentences: &[TextSentence<'_>]) -> Result<Vec<Reconstruction>> {
        let vectors = self.encode_sentences(sentences)?;
        let eos = self.parts.special_tokens().eos;
        let one = |(sentence, output_ids): (&TextSentence<'_>, Vec<u32>)| {
            let exact = output_ids.split_last() == Some((&eos, &sentence.ids));
            Ok(Reconstruction {
                input: sentence.text.to_owned(),
                input_ids: sentence.ids.clone(),
                output: self
                    .parts
                    .pipeline
                    .decode_like(&output_ids, sentence.text)?,
                output_ids,
                exact,
            })
        };
        let decoded = self.parts.decode_greedily(vectors.view())?;
        sentences.iter().zip(decoded).map(one).collect()
    }

    /// Continue each of the prompts, all together; see [`Session::generate_batch`]. Where tokens are
    /// drawn, the first prompt has the seed of `options` and each later one the next number, so that
    /// the same prompt twice gives two texts.
    ///
    /// # Errors
    /// Those of [`Session::append`] for a prompt, and of [`Session::generate_batch`].
    pub fn generate_batch<T: AsRef<str>>(
        &self,
        prompts: &[T],
        options: &GenerateOptions,
    ) -> Result<Vec<Continuation>> {
        let session = |prompt: &T| {
            let mut session = self.session()?;
            session.append(prompt.as_ref()).map(|_| session)
        };
        let mut sessions = prompts.iter().map(session).collect::<Result<Vec<_>>>()?;
        let batch = sessions.iter_mut().zip(0..).map(|(session, row)| {
            let options = options
                .clone()
                .resolved(self.generation_defaults(), self.config().kind);
            (session, options.with_seed_of_row(row))
        });
        let mut sentences = vec![Vec::new(); prompts.len()];
        let reasons =
            Session::generate_batch(batch, |prompt, sentence| sentences[prompt].push(sentence))?;
        let continuation = |(sentences, finish_reason)| Continuation {
            sentences,
            finish_reason,
        };
        Ok(sentences
            .into_iter()
            .zip(reasons)
            .map(continuation)
            .collect())
    }

    /// A hash of all that the model's output depends on but the variant: configuration, segmentation,
    /// tokenizer, graphs and their external data.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let bundle = &self.parts.bundle;
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
        hexadecimal(&hasher.finalize())
    }

    /// Whether both are the same loaded model.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts)
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }
}

impl Parts {
    pub fn special_tokens(&self) -> SpecialTokens {
        self.bundle.config.tokens
    }

    /// What the encoder sees of a sentence of a text, or a model of kind `opt` of a whole text.
    pub fn prompt_ids(&self, mut ids: Vec<u32>) -> Vec<u32> {
        ids.insert(0, self.special_tokens().bos);
        ids
    }

    pub fn sentence_graphs(&self) -> Result<&SentenceGraphs> {
        match &self.graphs {
            Graphs::Sentences(graphs) => Ok(graphs),
            Graphs::Tokens(_) => Err(self
                .bundle
                .config
                .wrong_kind("sentence encoder and decoder", "svae or sllm")),
        }
    }

    pub fn backbone(&self) -> Result<&Backbone> {
        let backbone = self.sentence_graphs()?.backbone.as_ref();
        backbone.ok_or_else(|| self.bundle.config.wrong_kind("backbone", "sllm or opt"))
    }

    pub fn opt(&self) -> Result<&Opt> {
        match &self.graphs {
            Graphs::Tokens(opt) => Ok(opt),
            Graphs::Sentences(_) => Err(self.bundle.config.wrong_kind("token-level graph", "opt")),
        }
    }

    /// What the decoder emits for each of these vectors `[sentences, hidden]`, greedily.
    fn decode_greedily(&self, vectors: ArrayView2<'_, f32>) -> Result<Vec<Vec<u32>>> {
        let tokens = self.special_tokens();
        let nothing = Emitted::new(tokens, self.longest_sentence);
        let mut emitted = vec![nothing; vectors.nrows()];
        let decoder = &self.sentence_graphs()?.decoder;
        let few = vectors.axis_chunks_iter(Axis(0), DECODED_TOGETHER);
        for (vectors, emitted) in few.zip(emitted.chunks_mut(DECODED_TOGETHER)) {
            decoder.decode_together(
                tokens.bos,
                vectors.iter().copied().collect(),
                |sentence, candidates| Ok(emitted[sentence].take(candidates.best_token().0)),
            )?;
        }
        Ok(emitted.into_iter().map(Emitted::into_ids).collect())
    }
}
