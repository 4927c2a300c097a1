//! Snapshots of contexts, as safetensors: text and settings as metadata, vectors and KV cache as
//! tensors. A snapshot restores a context exactly, without running a graph.

use std::{borrow::Cow, collections::HashMap, path::Path};

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    ContextSentence, SentenceContext, TokenContext, legacy,
    sentences::SentenceParts,
    tokens::{SentenceEnd, TokenParts},
};
use crate::{
    error::{Error, Result, one_line},
    fs::{read_bytes, write_whole},
    generate::CachedContext as _,
    graphs::Prediction,
    logits::Logits,
    model::{Model, Network},
    runtime::KvCache,
    session::{Context, Session},
};

/// The key of the metadata.
const METADATA: &str = "sllm_ort_session";
const FORMAT_VERSION: u32 = 2;
/// Room for the text of a context and the header, in bytes.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// What a file is called in errors about bytes that come from elsewhere.
const BYTES: &str = "the bytes";

/// The metadata, without the context's text `T`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata<T> {
    format_version: u32,
    /// Fingerprint of the model.
    model: String,
    variant: String,
    context: T,
}

/// Text and settings of a sentence-level context.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentenceText {
    sentences: Vec<StoredSentence>,
    runs: Vec<usize>,
    dropped: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSentence {
    text: String,
    ids: Vec<u32>,
}

/// Text and tokens of a token-level context.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenText {
    text: String,
    ids: Vec<u32>,
    /// Bytes at the end of each sentence, and tokens where they are known.
    ends: Vec<(usize, Option<usize>)>,
}

/// A tensor to be written.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

pub(crate) fn save(session: &Session, path: &Path) -> Result<()> {
    let bytes = to_bytes(session)?;
    write_whole(path, |file| file.write_all(&bytes))
}

pub(crate) fn load(model: &Model, path: &Path) -> Result<Session> {
    let bytes = read_bytes(path, limit(model)?)?;
    restore(model, &bytes, path)
}

pub(crate) fn from_bytes(model: &Model, bytes: &[u8]) -> Result<Session> {
    restore(model, bytes, Path::new(BYTES))
}

/// Largest snapshot of a context of this model, in bytes.
fn limit(model: &Model) -> Result<u64> {
    let config = model.config();
    let cache = config.kv_bytes(None)?.kv_bytes_full_context;
    let vectors = config.max_sentences.unwrap_or(0) * config.hidden_size * size_of::<f32>();
    let numbers = cache.saturating_add(vectors);
    Ok(MAX_TEXT_BYTES.saturating_add(numbers as u64))
}

pub(crate) fn to_bytes(session: &Session) -> Result<Vec<u8>> {
    let model = session.model();
    let (context, tensors) = match session.context() {
        Context::Sentences(_, context) => sentence_tensors(context)?,
        Context::Tokens(_, context) => token_tensors(context)?,
    };
    let metadata = Metadata {
        format_version: FORMAT_VERSION,
        model: model.fingerprint(),
        variant: model.variant().to_owned(),
        context,
    };
    let metadata = serde_json::to_string(&metadata).map_err(|error| failed(&error))?;
    let metadata = HashMap::from([(METADATA.to_owned(), metadata)]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| failed(&error))
}

fn failed(error: &impl std::fmt::Display) -> Error {
    Error::Snapshot {
        problem: one_line(error),
    }
}

type Tensors = Vec<(String, Stored)>;

fn sentence_tensors(context: &SentenceContext) -> Result<(Value, Tensors)> {
    let sentence = |sentence: &ContextSentence| StoredSentence {
        text: sentence.text.clone(),
        ids: sentence.ids.clone(),
    };
    let text = SentenceText {
        sentences: context.sentences().iter().map(sentence).collect(),
        runs: context.runs().to_vec(),
        dropped: context.dropped(),
    };
    let mut tensors = Vec::new();
    if let Some(prediction) = context.prediction() {
        let hidden = prediction.hidden.len();
        tensors.push(floats(
            "vectors",
            &[context.len(), hidden],
            context.vectors(),
        ));
        tensors.push(floats("hidden", &[hidden], &prediction.hidden));
        tensors.push(floats("stop_logits", &[2], &prediction.stop_logits));
    }
    if let Some(cache) = context.cache() {
        let backbone = &context.model().backbone;
        let bytes = backbone.cache_bytes(cache)?;
        let shape = backbone.cache_shape(context.len());
        tensors.extend(cache_tensors(cache, &shape, bytes));
    }
    Ok((json(&text)?, tensors))
}

fn token_tensors(context: &TokenContext) -> Result<(Value, Tensors)> {
    let end = |end: &SentenceEnd| (end.bytes, end.tokens);
    let text = TokenText {
        text: context.text().to_owned(),
        ids: context.ids().to_vec(),
        ends: context.ends().iter().map(end).collect(),
    };
    let mut tensors = Vec::new();
    // A cache that holds more or less than the context is recomputed.
    let cache = context
        .cache()
        .filter(|cache| cache.len() == context.ids().len());
    if let Some(cache) = cache {
        let logits = context.logits();
        tensors.push(floats("logits", &[logits.values().len()], logits.values()));
        let ids: Vec<u8> = logits
            .ids()
            .iter()
            .flat_map(|id| id.to_le_bytes())
            .collect();
        tensors.push((
            "logit_ids".to_owned(),
            Stored {
                dtype: Dtype::U32,
                shape: vec![logits.ids().len()],
                bytes: ids,
            },
        ));
        let bytes = context.graph().cache_bytes(cache)?;
        let shape = context.graph().cache_shape(cache.len());
        tensors.extend(cache_tensors(cache, &shape, bytes));
    }
    Ok((json(&text)?, tensors))
}

fn json(text: &impl Serialize) -> Result<Value> {
    serde_json::to_value(text).map_err(|error| failed(&error))
}

fn floats(name: &str, shape: &[usize], values: &[f32]) -> (String, Stored) {
    let stored = Stored {
        dtype: Dtype::F32,
        shape: shape.to_vec(),
        bytes: values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
    };
    (name.to_owned(), stored)
}

fn cache_name(number: usize) -> String {
    format!("{}.{}", ["key", "value"][number % 2], number / 2)
}

fn cache_tensors(cache: &KvCache, shape: &[usize], tensors: Vec<Vec<u8>>) -> Tensors {
    let dtype = if cache.is_half() {
        Dtype::F16
    } else {
        Dtype::F32
    };
    let stored = |(number, bytes): (usize, Vec<u8>)| {
        let shape = shape.to_vec();
        let stored = Stored {
            dtype,
            shape,
            bytes,
        };
        (cache_name(number), stored)
    };
    tensors.into_iter().enumerate().map(stored).collect()
}

/// A snapshot that is being read.
struct Snapshot<'b> {
    path: &'b Path,
    tensors: SafeTensors<'b>,
    /// Whether it was saved with the variant in use, so that its numbers hold.
    same_variant: bool,
}

fn restore(model: &Model, bytes: &[u8], path: &Path) -> Result<Session> {
    // The header of safetensors follows its length of 8 bytes.
    if bytes.get(8) != Some(&b'{') {
        return legacy::restore(model, bytes, path);
    }
    let refused = |problem: String| Error::SessionFile {
        path: path.to_owned(),
        problem,
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| refused(one_line(&e)))?;
    let metadata = header.metadata().as_ref().and_then(|all| all.get(METADATA));
    let metadata = metadata.ok_or_else(|| refused(format!("its metadata has no {METADATA}")))?;
    let metadata: Metadata<Value> =
        serde_json::from_str(metadata).map_err(|error| refused(one_line(&error)))?;
    if metadata.format_version != FORMAT_VERSION {
        let found = metadata.format_version;
        return Err(refused(format!(
            "format_version is {found}, this program reads {FORMAT_VERSION}"
        )));
    }
    if metadata.model != model.fingerprint() {
        return Err(Error::SessionModel {
            path: path.to_owned(),
            model: model.config().name.clone(),
        });
    }
    let snapshot = Snapshot {
        path,
        tensors: SafeTensors::deserialize(bytes).map_err(|e| refused(one_line(&e)))?,
        same_variant: metadata.variant == model.variant(),
    };
    let context = match model.network() {
        Network::Sentences(network) => {
            let text: SentenceText = snapshot.text(metadata.context)?;
            let context = SentenceContext::new(network.clone());
            let context = snapshot.sentences(text, context, model)?;
            Context::Sentences(network.clone(), Box::new(context))
        }
        Network::Tokens(network) => {
            let text: TokenText = snapshot.text(metadata.context)?;
            let context = TokenContext::new(network.clone());
            let context = snapshot.tokens(text, context, model)?;
            Context::Tokens(network.clone(), Box::new(context))
        }
        Network::Autoencoder(_) => return Err(model.wrong_kind("backbone", "sllm or opt")),
    };
    Ok(Session::from_parts(model.clone(), context))
}

impl Snapshot<'_> {
    fn refused(&self, problem: impl Into<String>) -> Error {
        Error::SessionFile {
            path: self.path.to_owned(),
            problem: problem.into(),
        }
    }

    fn text<T: DeserializeOwned>(&self, json: Value) -> Result<T> {
        serde_json::from_value(json).map_err(|error| self.refused(one_line(&error)))
    }

    /// The bytes of a tensor of this type and shape.
    fn tensor(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&[u8]> {
        let tensor = self
            .tensors
            .tensor(name)
            .map_err(|_| self.refused(format!("it has no tensor {name}")))?;
        if (tensor.dtype(), tensor.shape()) != (dtype, shape) {
            let problem = format!(
                "tensor {name} is {:?} {:?}, expected {dtype:?} {shape:?}",
                tensor.dtype(),
                tensor.shape()
            );
            return Err(self.refused(problem));
        }
        Ok(tensor.data())
    }

    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let bytes = self.tensor(name, Dtype::F32, shape)?;
        let (values, _) = bytes.as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|&v| f32::from_le_bytes(v)).collect();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(self.refused(format!("tensor {name} is not finite"))),
        }
    }

    /// The tensors of the cache, none if it was not saved.
    fn cache(&self, layers: usize, shape: [usize; 3]) -> Result<Vec<&[u8]>> {
        let Ok(first) = self.tensors.tensor(&cache_name(0)) else {
            return Ok(Vec::new());
        };
        let dtype = first.dtype();
        let names = (0..2 * layers).map(cache_name);
        let tensors = names.map(|name| self.tensor(&name, dtype, &shape));
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        for bytes in &tensors {
            let finite = match dtype {
                Dtype::F16 => bytes
                    .as_chunks()
                    .0
                    .iter()
                    .all(|&v| half::f16::from_le_bytes(v).is_finite()),
                _ => bytes
                    .as_chunks()
                    .0
                    .iter()
                    .all(|&v| f32::from_le_bytes(v).is_finite()),
            };
            if !finite {
                return Err(self.refused("its cache is not finite"));
            }
        }
        Ok(tensors)
    }

    fn sentences(
        &self,
        text: SentenceText,
        empty: SentenceContext,
        model: &Model,
    ) -> Result<SentenceContext> {
        let count = text.sentences.len();
        let limits = Limits::of(model);
        limits
            .check_runs(&text.runs, count)
            .map_err(|p| self.refused(p))?;
        for (number, sentence) in text.sentences.iter().enumerate() {
            let checked = limits.check_ids(number, &sentence.ids, 0);
            checked.map_err(|problem| self.refused(problem))?;
        }
        if text.dropped > u32::MAX as usize {
            return Err(self.refused("it has lost more sentences than a context can"));
        }
        if count == 0 {
            return Ok(empty);
        }
        let hidden = model.config().hidden_size;
        let vectors = self.floats("vectors", &[count, hidden])?;
        let stop_logits = self.floats("stop_logits", &[2])?;
        let prediction = Prediction {
            hidden: self.floats("hidden", &[hidden])?,
            stop_logits: [stop_logits[0], stop_logits[1]],
        };
        let network = empty.shared_model().clone();
        let backbone = &network.backbone;
        let layers = model.config().backbone.as_ref().map_or(0, |b| b.layers);
        let mut cache = None;
        if self.same_variant {
            let tensors = self.cache(layers, backbone.cache_shape(count))?;
            if !tensors.is_empty() {
                cache = backbone.cache_from_bytes(count, &tensors)?;
                if cache.is_none() {
                    return Err(self.refused("its cache does not fit the model"));
                }
            }
        }
        let sentence = |stored: StoredSentence| ContextSentence {
            text: stored.text,
            ids: stored.ids,
        };
        let parts = SentenceParts {
            sentences: text.sentences.into_iter().map(sentence).collect(),
            vectors,
            runs: text.runs,
            dropped: text.dropped,
            cache,
            prediction: Some(prediction),
        };
        let mut context = SentenceContext::from_parts(network, parts);
        context.prepare()?;
        Ok(context)
    }

    fn tokens(&self, text: TokenText, empty: TokenContext, model: &Model) -> Result<TokenContext> {
        if text.ids.is_empty() {
            return Ok(empty);
        }
        let checked = Limits::of(model).check_ids(0, &text.ids, 1);
        checked.map_err(|problem| self.refused(problem))?;
        let mut before = (0, 0);
        for &(bytes, tokens) in &text.ends {
            let count = tokens.unwrap_or(before.1);
            let grows = bytes >= before.0 && count >= before.1;
            if !grows || count > text.ids.len() || !text.text.is_char_boundary(bytes) {
                return Err(self.refused("its sentences do not fit its text"));
            }
            before = (bytes, count);
        }
        let last = text.ends.last();
        if last != Some(&(text.text.len(), Some(text.ids.len()))) {
            return Err(self.refused("its sentences do not fit its text"));
        }
        let network = empty.shared_model().clone();
        let layers = model.config().backbone.as_ref().map_or(0, |b| b.layers);
        let count = text.ids.len();
        let (mut cache, mut logits) = (None, Logits::default());
        if self.same_variant {
            let tensors = self.cache(layers, network.graph.cache_shape(count))?;
            if !tensors.is_empty() {
                logits = self.logits(model)?;
                cache = network.graph.cache_from_bytes(count, &tensors)?;
                if cache.is_none() {
                    return Err(self.refused("its cache does not fit the model"));
                }
            }
        }
        let end = |(bytes, tokens)| SentenceEnd { bytes, tokens };
        let parts = TokenParts {
            text: text.text,
            ids: text.ids,
            ends: text.ends.into_iter().map(end).collect(),
            cache,
            logits,
        };
        let mut context = TokenContext::from_parts(network, parts);
        context.prepare()?;
        Ok(context)
    }

    fn logits(&self, model: &Model) -> Result<Logits> {
        let shape = |name: &str| {
            let tensor = self.tensors.tensor(name);
            tensor.map_or(0, |tensor| tensor.shape().first().copied().unwrap_or(0))
        };
        let (values, ids) = (shape("logits"), shape("logit_ids"));
        let vocab_size = model.config().vocab_size;
        let fits = values > 0 && (ids == values || (ids == 0 && values == vocab_size));
        if !fits {
            return Err(self.refused("its logits do not fit the model"));
        }
        let values = self.floats("logits", &[values])?;
        let bytes = self.tensor("logit_ids", Dtype::U32, &[ids])?;
        let ids: Vec<u32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|&id| u32::from_le_bytes(id))
            .collect();
        if ids.iter().any(|&id| id as usize >= vocab_size) {
            return Err(self.refused("its logits do not fit the model"));
        }
        let mut logits = Logits::default();
        logits.set_top(ids, &values);
        Ok(logits)
    }
}

/// What a context of a model may hold.
pub(super) struct Limits {
    vocab_size: usize,
    max_sentences: usize,
    max_ids: usize,
}

impl Limits {
    pub fn of(model: &Model) -> Self {
        Self {
            vocab_size: model.config().vocab_size,
            max_sentences: model.config().max_sentences.unwrap_or(1),
            max_ids: model.shared().longest_sentence,
        }
    }

    /// The number of sentences that each run appended adds up to the number of sentences.
    pub fn check_runs(&self, runs: &[usize], sentences: usize) -> std::result::Result<(), String> {
        let total = runs
            .iter()
            .try_fold(0usize, |sum, &count| sum.checked_add(count));
        if total != Some(sentences) || runs.contains(&0) {
            return Err(format!(
                "its runs do not add up to its {sentences} sentences"
            ));
        }
        let max = self.max_sentences;
        if sentences > max {
            return Err(format!(
                "it has {sentences} sentences, at most {max} are allowed"
            ));
        }
        Ok(())
    }

    pub fn check_ids(
        &self,
        number: usize,
        ids: &[u32],
        least: usize,
    ) -> std::result::Result<(), String> {
        let (found, max) = (ids.len(), self.max_ids);
        if !(least..=max).contains(&found) {
            return Err(format!(
                "sentence {number} has {found} ids, allowed are {least} to {max}"
            ));
        }
        let size = self.vocab_size;
        match ids.iter().find(|&&id| id as usize >= size) {
            Some(id) => Err(format!(
                "sentence {number} has the id {id}, the vocabulary {size}"
            )),
            None => Ok(()),
        }
    }
}
