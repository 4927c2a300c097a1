//! The work of a round.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng, rngs::StdRng};

use super::{BenchOptions, memory};
use crate::{
    config::{ModelConfig, ModelKind, SpecialTokens},
    context::{Context, ContextSentence, at_once},
    error::{Error, Result},
    generate::GenerateOptions,
    graphs::DecodeBuffers,
    logits::Logits,
    model::{Autoencoder, Model, Network},
    sampling::SamplingOptions,
    session::Session,
};

/// The slope of memory is taken over as many contexts as have caches of this size together,
const SLOPE_BYTES: usize = 256 << 20;
/// within this range,
const SLOPE_CONTEXTS: Range<usize> = 4..64;
/// each of which grows by so many sentences at a time.
const SLOPE_STEP: usize = 12;

/// Most tokens of a prompt, and of a continuation.
const MAX_TOKENS: usize = 1 << 24;
/// Most continuations that are generated together.
const MAX_BATCH: usize = 4096;

/// A prompt and a length of its continuation, which fit the model.
#[derive(Debug)]
pub struct Workload {
    pub prompt_tokens: usize,
    pub sentence_tokens: usize,
    pub sentences: usize,
    pub batch: usize,
    kind: ModelKind,
    tokens: SpecialTokens,
    /// The sentences of the prompt, without bos and eos.
    prompt: Vec<Vec<u32>>,
}

/// How long the parts of a round took.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Encoding the prompt and running the backbone over it.
    pub prefill: Duration,
    /// Generating the first sentence.
    pub first_sentence: Duration,
    /// Generating all sentences.
    pub generation: Duration,
}

impl Workload {
    pub fn new(config: &ModelConfig, options: &BenchOptions) -> Result<Self> {
        let length = options.sentence_tokens;
        let longest = config.longest_sentence()? - 1;
        check("sentence-tokens", length, longest)?;
        check("prompt-tokens", options.prompt_tokens, MAX_TOKENS)?;
        check("sentences", options.sentences, MAX_TOKENS / length)?;
        let together = match config.kind {
            ModelKind::Svae => 1,
            _ => MAX_BATCH,
        };
        check("batch", options.batch, together)?;
        let prompt_sentences = options.prompt_tokens.div_ceil(length);
        match config.kind {
            ModelKind::Sllm => {
                let most = config.require_max_sentences()?;
                check("prompt-tokens", prompt_sentences, most - 1).map_err(|_| {
                    too_much("prompt-tokens", options.prompt_tokens, (most - 1) * length)
                })?;
                check("sentences", options.sentences, most - prompt_sentences)?;
            }
            ModelKind::Opt => {
                let most = longest.saturating_sub(length);
                check("prompt-tokens", options.prompt_tokens, most)?;
                let left = (longest - options.prompt_tokens) / length;
                check("sentences", options.sentences, left)?;
            }
            ModelKind::Svae => {}
        }
        let mut random = StdRng::seed_from_u64(options.seed);
        let special = [config.tokens.bos, config.tokens.eos, config.tokens.pad];
        let ids: Vec<u32> = (0..options.prompt_tokens)
            .map(|_| {
                let id = random.random_range(0..config.vocab_size as u32);
                // In a vocabulary of special tokens alone there is no other choice.
                if special.contains(&id) {
                    config.tokens.pad
                } else {
                    id
                }
            })
            .collect();
        Ok(Self {
            prompt_tokens: options.prompt_tokens,
            sentence_tokens: length,
            sentences: options.sentences,
            batch: options.batch,
            kind: config.kind,
            tokens: config.tokens,
            prompt: ids.chunks(length).map(<[u32]>::to_vec).collect(),
        })
    }

    /// Tokens of each continuation, ends of sentences included.
    pub fn new_tokens(&self) -> usize {
        self.sentences * self.sentence_tokens
    }

    pub fn round(&self, model: &Model) -> Result<Round> {
        match model.network() {
            Network::Autoencoder(autoencoder) => self.reconstruction_round(autoencoder),
            _ if self.batch > 1 => self.batch_round(model),
            _ => self.single_round(model),
        }
    }

    /// Bytes that each token of a context adds to the memory of the process: the slope of its memory
    /// while contexts as long as those of a round are made one after another, and stay.
    pub fn memory_slope(&self, model: &Model) -> Result<Option<f64>> {
        if self.kind == ModelKind::Svae {
            return Ok(None);
        }
        let sentences = (self.prompt_tokens + self.new_tokens()) / self.sentence_tokens;
        let mut held = Vec::new();
        let mut points = Vec::new();
        let mut cache_bytes = 0;
        while held.len() < SLOPE_CONTEXTS.start
            || cache_bytes < SLOPE_BYTES && held.len() < SLOPE_CONTEXTS.end
        {
            let session = self.grown_session(model, sentences)?;
            cache_bytes += session.memory_bytes();
            held.push(session);
            let tokens = (held.len() * sentences * self.sentence_tokens) as f64;
            points.extend(memory::anonymous().map(|bytes| (tokens, bytes as f64)));
        }
        // The first ones find room in memory that was given back before.
        Ok(memory::slope(&points[points.len() / 2..]))
    }

    /// A context of so many sentences, taken in a few at a time.
    fn grown_session(&self, model: &Model, sentences: usize) -> Result<Session> {
        let ids = vec![self.tokens.pad; self.sentence_tokens];
        let mut session = model.session()?;
        let mut remaining = sentences;
        while remaining > 0 {
            let few = remaining.min(SLOPE_STEP);
            self.append(&mut session, &vec![ids.clone(); few])?;
            remaining -= few;
        }
        Ok(session)
    }

    /// Append sentences of these tokens.
    fn append(&self, session: &mut Session, sentences: &[Vec<u32>]) -> Result<()> {
        match session.context_mut() {
            Context::Sentences(context) => {
                let sentence = |ids: &Vec<u32>| ContextSentence {
                    text: String::new(),
                    ids: ids.clone(),
                };
                let sentences = sentences.iter().map(sentence).collect();
                context.append_sentences(sentences, &mut at_once)
            }
            Context::Tokens(context) => {
                let bos = Some(self.tokens.bos).filter(|_| context.ids().is_empty());
                let ids = bos.into_iter().chain(sentences.concat());
                context.append_sentence_ids(&ids.collect::<Vec<_>>())
            }
        }
    }

    /// Greedy, in sentences of the wanted length.
    fn options(&self) -> GenerateOptions {
        GenerateOptions::default()
            .with_max_sentences(self.sentences)
            .with_ignore_eos(true)
            .with_sampling(SamplingOptions::default())
            .with_fixed_sentence_tokens(self.sentence_tokens)
    }

    fn single_round(&self, model: &Model) -> Result<Round> {
        let mut session = model.session()?;
        let started = Instant::now();
        self.append(&mut session, &self.prompt)?;
        let prefill = started.elapsed();
        let started = Instant::now();
        let mut generation = session.generate(self.options());
        for sentence in generation.by_ref() {
            sentence?;
        }
        Ok(Round {
            prefill,
            first_sentence: generation.time_to_first_sentence().unwrap_or_default(),
            generation: started.elapsed(),
        })
    }

    /// The same work for several contexts together.
    fn batch_round(&self, model: &Model) -> Result<Round> {
        let started = Instant::now();
        let mut sessions = Vec::with_capacity(self.batch);
        for _ in 0..self.batch {
            let mut session = model.session()?;
            self.append(&mut session, &self.prompt)?;
            sessions.push(session);
        }
        let prefill = started.elapsed();
        let started = Instant::now();
        let (mut first_sentence, mut waiting) = (Duration::ZERO, self.batch);
        let batch = sessions.iter_mut().map(|session| (session, self.options()));
        Session::generate_batch(batch, |_, sentence| {
            // Until each context has its first sentence.
            if sentence.index == 0 {
                waiting -= 1;
                if waiting == 0 {
                    first_sentence = started.elapsed();
                }
            }
        })?;
        Ok(Round {
            prefill,
            first_sentence,
            generation: started.elapsed(),
        })
    }

    /// Encoding the prompt, and decoding as many sentences of it as shall be generated.
    fn reconstruction_round(&self, autoencoder: &Autoencoder) -> Result<Round> {
        let prompt_ids = |ids: &Vec<u32>| autoencoder.shared.prompt_ids(ids.clone());
        let prompt: Vec<_> = self.prompt.iter().map(prompt_ids).collect();
        let started = Instant::now();
        let vectors = autoencoder.encoder.encode(&prompt)?;
        let prefill = started.elapsed();
        let mut buffers = DecodeBuffers::default();
        let mut first_sentence = Duration::ZERO;
        let started = Instant::now();
        for number in 0..self.sentences {
            let vector = vectors.row(number % vectors.nrows()).to_vec();
            let (mut tokens, mut failed) = (0, Ok(()));
            let next = |_, logits: Result<&mut Logits>| match logits {
                Ok(logits) => {
                    logits.mask(self.tokens.eos);
                    tokens += 1;
                    Some(logits.best_token().0).filter(|_| tokens < self.sentence_tokens)
                }
                Err(error) => {
                    failed = Err(error);
                    None
                }
            };
            let decoder = &autoencoder.decoder;
            let conditions = decoder.conditions(&vector);
            decoder.decode(&mut buffers, self.tokens.bos, &conditions, next)?;
            failed?;
            if number == 0 {
                first_sentence = started.elapsed();
            }
        }
        Ok(Round {
            prefill,
            first_sentence,
            generation: started.elapsed(),
        })
    }
}

fn check(option: &'static str, value: usize, most: usize) -> Result<()> {
    if value > most {
        return Err(too_much(option, value, most));
    }
    Ok(())
}

fn too_much(option: &'static str, value: usize, most: usize) -> Error {
    Error::InvalidOption {
        option,
        value: value.to_string(),
        allowed: format!("at most {most} with this model and these settings"),
    }
}
