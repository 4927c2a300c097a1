//! The work that is measured.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng, rngs::StdRng};

use super::{BenchOptions, memory};
use crate::{
    candidates::Candidates,
    config::{ModelConfig, ModelKind, SpecialTokens},
    error::{Error, Result},
    generation::{SentenceModel, TokenModel},
    model::Model,
    sampling::{Sampler, SamplingOptions},
    session::{Context, ContextSentence, SentenceBatch, SentenceContext, TokenContext},
    text::Detokenizer,
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
    /// Decoding the first sentence.
    pub first_sentence: Duration,
    /// Decoding all sentences, and taking each into the context.
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
            ModelKind::Sllm => MAX_BATCH,
            _ => 1,
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
        match self.kind {
            ModelKind::Sllm if self.batch > 1 => self.batch_round(model),
            ModelKind::Sllm => self.sentence_round(model),
            ModelKind::Opt => self.token_round(model),
            ModelKind::Svae => self.reconstruction_round(model),
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
            let context = self.grown_context(model, sentences)?;
            cache_bytes += context.memory_bytes();
            held.push(context);
            let tokens = (held.len() * sentences * self.sentence_tokens) as f64;
            points.extend(memory::anonymous().map(|bytes| (tokens, bytes as f64)));
        }
        // The first ones find room in memory that was given back before.
        Ok(memory::slope(&points[points.len() / 2..]))
    }

    /// A context of so many sentences, taken in a few at a time.
    fn grown_context(&self, model: &Model, sentences: usize) -> Result<Context> {
        let ids = vec![self.tokens.pad; self.sentence_tokens];
        let mut context = Context::new(model.clone())?;
        let mut left = sentences;
        while left > 0 {
            let few = left.min(SLOPE_STEP);
            match &mut context {
                Context::Sentences(context) => {
                    context.append_run(vec![self.context_sentence(&ids); few])?;
                }
                Context::Tokens(context) => context.append_ids(&ids.repeat(few), "")?,
            }
            left -= few;
        }
        Ok(context)
    }

    fn context_sentence(&self, ids: &[u32]) -> ContextSentence {
        ContextSentence {
            text: String::new(),
            ids: [&[self.tokens.bos], ids].concat(),
        }
    }

    fn prompt_sentences(&self) -> Vec<ContextSentence> {
        let sentences = self.prompt.iter();
        sentences.map(|ids| self.context_sentence(ids)).collect()
    }

    fn sentence_round(&self, model: &Model) -> Result<Round> {
        let prompt = self.prompt_sentences();
        let mut context = SentenceContext::new(model.clone())?;
        let started = Instant::now();
        context.append_run(prompt)?;
        let prefill = started.elapsed();
        let mut greedy = self.greedy(context.detokenizer());
        let mut first_sentence = Duration::ZERO;
        let started = Instant::now();
        for number in 0..self.sentences {
            context.begin_sentence()?;
            let mut next = Some(self.tokens.bos);
            while let Some(id) = next {
                next = greedy.take(context.candidates_after(id)?)?;
            }
            let ids = greedy.take_sentence();
            if number == 0 {
                first_sentence = started.elapsed();
            }
            // Not all models encode what they have said; their work shall be the same.
            context.append_run(vec![self.context_sentence(&ids)])?;
        }
        Ok(Round {
            prefill,
            first_sentence,
            generation: started.elapsed(),
        })
    }

    /// The same work for many contexts, which go on together.
    fn batch_round(&self, model: &Model) -> Result<Round> {
        let prompt = self.prompt_sentences();
        let started = Instant::now();
        let mut contexts = Vec::with_capacity(self.batch);
        for _ in 0..self.batch {
            let mut context = SentenceContext::new(model.clone())?;
            context.append_run(prompt.clone())?;
            contexts.push(context);
        }
        let prefill = started.elapsed();
        let greedy = || self.greedy(contexts[0].detokenizer());
        let mut greedy: Vec<_> = (0..self.batch).map(|_| greedy()).collect();
        let mut first_sentence = Duration::ZERO;
        let started = Instant::now();
        let rows: Vec<usize> = (0..self.batch).collect();
        let mut batch = SentenceBatch::join(&contexts.iter_mut().collect::<Vec<_>>())?;
        for number in 0..self.sentences {
            batch.decode(&rows, |row, candidates| greedy[row].take(candidates))?;
            if number == 0 {
                first_sentence = started.elapsed();
            }
            let said = greedy.iter_mut().map(Greedy::take_sentence);
            batch.append(said.map(|ids| self.context_sentence(&ids)).collect())?;
        }
        for (row, context) in contexts.iter_mut().enumerate() {
            batch.give_back(row, context)?;
        }
        Ok(Round {
            prefill,
            first_sentence,
            generation: started.elapsed(),
        })
    }

    fn token_round(&self, model: &Model) -> Result<Round> {
        let prompt = [vec![self.tokens.bos], self.prompt.concat()].concat();
        let mut context = TokenContext::new(model.clone())?;
        let started = Instant::now();
        context.append_ids(&prompt, "")?;
        let prefill = started.elapsed();
        let mut greedy = self.greedy(context.detokenizer());
        let mut first_sentence = Duration::ZERO;
        let started = Instant::now();
        let mut candidates = Candidates::default();
        for number in 0..self.new_tokens() {
            candidates.copy_from(context.candidates().ok_or(Error::EmptyContext)?);
            let id = greedy.choose(&mut candidates)?;
            if number + 1 == self.sentence_tokens {
                first_sentence = started.elapsed();
            }
            context.append_token(id)?;
        }
        Ok(Round {
            prefill,
            first_sentence,
            generation: started.elapsed(),
        })
    }

    /// Encoding the prompt, and decoding as many sentences of it as shall be generated.
    fn reconstruction_round(&self, model: &Model) -> Result<Round> {
        let graphs = model.parts().sentence_graphs()?;
        let prompt: Vec<_> = self
            .prompt
            .iter()
            .map(|ids| [&[self.tokens.bos], ids.as_slice()].concat())
            .collect();
        let started = Instant::now();
        let vectors = graphs.encoder.encode(&prompt)?;
        let prefill = started.elapsed();
        let mut greedy = self.greedy(model.text_pipeline().detokenizer());
        let mut first_sentence = Duration::ZERO;
        let started = Instant::now();
        for number in 0..self.sentences {
            let vector = vectors.row(number % vectors.nrows()).to_vec();
            let (decoder, bos) = (&graphs.decoder, self.tokens.bos);
            decoder.decode_together(bos, vector, |_, candidates| greedy.take(candidates))?;
            greedy.take_sentence();
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

    fn greedy(&self, detokenizer: Detokenizer) -> Greedy {
        Greedy {
            sampler: Sampler::new(SamplingOptions::default(), self.tokens.eos),
            detokenizer,
            eos: self.tokens.eos,
            ids: Vec::with_capacity(self.sentence_tokens),
            length: self.sentence_tokens,
        }
    }
}

/// Chooses tokens as generation does, but ends each sentence at the wanted length.
struct Greedy {
    sampler: Sampler,
    detokenizer: Detokenizer,
    eos: u32,
    ids: Vec<u32>,
    length: usize,
}

impl Greedy {
    /// The next token of a sentence, `None` if it is over.
    fn take(&mut self, candidates: &mut Candidates) -> Result<Option<u32>> {
        let id = self.choose(candidates)?;
        self.ids.push(id);
        Ok((self.ids.len() < self.length).then_some(id))
    }

    /// The tokens of the sentence but the last, in whose place its end is thought.
    fn take_sentence(&mut self) -> Vec<u32> {
        self.ids.pop();
        std::mem::take(&mut self.ids)
    }

    fn choose(&mut self, candidates: &mut Candidates) -> Result<u32> {
        if let Some(eos) = candidates.logit_mut(self.eos) {
            *eos = f32::NEG_INFINITY;
        }
        let id = self.sampler.choose(candidates);
        self.detokenizer.push(id)?;
        Ok(id)
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
