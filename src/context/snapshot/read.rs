//! Reading a snapshot. Nothing in the file is trusted.

use std::{path::Path, sync::Arc};

use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    FORMAT_VERSION, METADATA, Metadata, SentenceText, StoredSentence, TokenText, cache_name,
    checksum,
};
use crate::{
    context::{
        CachedContext as _, Context, ContextSentence, SentenceContext, TokenContext, legacy,
        limits::Limits,
        sentences::SentenceParts,
        tokens::{SentenceEnd, TokenParts},
    },
    error::{Error, Result, StateError, one_line},
    fs::read_bytes,
    graphs::{CachedGraph, Prediction},
    logits::Logits,
    model::{Model, Network, SentenceModel, TokenModel},
    runtime::KvCache,
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Room for the text of a context and the header, in bytes.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// What a file is called in errors about bytes that come from elsewhere.
const BYTES: &str = "the bytes";

pub(crate) fn load(model: &Model, path: &Path) -> Result<Context> {
    let bytes = read_bytes(path, limit(model)?)?;
    restore(model, &bytes, path)
}

pub(crate) fn from_bytes(model: &Model, bytes: &[u8]) -> Result<Context> {
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

/// A snapshot that is being read.
struct Snapshot<'b> {
    path: &'b Path,
    tensors: SafeTensors<'b>,
    /// Whether it was saved with the variant in use, so that its numbers hold.
    same_variant: bool,
}

fn restore(model: &Model, bytes: &[u8], path: &Path) -> Result<Context> {
    let refused = |problem: String| {
        Error::State(StateError::Session {
            path: path.to_owned(),
            problem,
        })
    };
    let damaged = |error: &dyn std::fmt::Display| {
        refused(format!("it is damaged or cut short ({})", one_line(&error)))
    };
    // The header of safetensors follows its length of 8 bytes.
    match bytes.get(8) {
        _ if bytes.is_empty() => return Err(refused("it is empty".into())),
        Some(b'{') => {}
        _ if bytes.trim_ascii_start().starts_with(b"{") || bytes.starts_with(BYTE_ORDER_MARK) => {
            return legacy::restore(model, bytes, path);
        }
        _ => return Err(refused("it is neither a snapshot nor JSON".into())),
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(&error))?;
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
        return Err(Error::State(StateError::SessionModel {
            path: path.to_owned(),
            model: model.config().name.clone(),
        }));
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(&error))?;
    if checksum(tensors.iter().map(|(name, tensor)| (name, tensor.data()))) != metadata.sha256 {
        return Err(refused(
            "its tensors are damaged: their checksum differs".into(),
        ));
    }
    let snapshot = Snapshot {
        path,
        tensors,
        same_variant: metadata.variant == model.variant(),
    };
    let context = match model.network() {
        Network::Sentences(network) => {
            let text: SentenceText = snapshot.text(metadata.context)?;
            let context = snapshot.sentences(text, network, model)?;
            Context::Sentences(Box::new(context))
        }
        Network::Tokens(network) => {
            let text: TokenText = snapshot.text(metadata.context)?;
            let context = snapshot.tokens(text, network, model)?;
            Context::Tokens(Box::new(context))
        }
        Network::Autoencoder(_) => return Err(model.wrong_kind("backbone", "sllm or opt")),
    };
    Ok(context)
}

impl Snapshot<'_> {
    fn refused(&self, problem: impl Into<String>) -> Error {
        Error::State(StateError::Session {
            path: self.path.to_owned(),
            problem: problem.into(),
        })
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

    /// The cache of `graph`; `None` if it was not saved, or saved with another variant.
    fn cache(&self, graph: &CachedGraph, positions: usize) -> Result<Option<KvCache>> {
        let first = self.tensors.tensor(&cache_name(0)).ok();
        let Some(first) = first.filter(|_| self.same_variant) else {
            return Ok(None);
        };
        let (dtype, shape) = (first.dtype(), graph.cache_shape(positions));
        let names = (0..graph.cache_tensors()).map(cache_name);
        let tensors = names.map(|name| self.tensor(&name, dtype, &shape));
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        let finite = |bytes: &&[u8]| match dtype {
            Dtype::F16 => all_finite(bytes, |v| half::f16::from_le_bytes(v).is_finite()),
            _ => all_finite(bytes, |v| f32::from_le_bytes(v).is_finite()),
        };
        if !tensors.iter().all(finite) {
            return Err(self.refused("its cache is not finite"));
        }
        let cache = graph.cache_from_bytes(positions, &tensors)?;
        let cache = cache.ok_or_else(|| self.refused("its cache does not fit the model"))?;
        Ok(Some(cache))
    }

    fn sentences(
        &self,
        text: SentenceText,
        network: &Arc<SentenceModel>,
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
            return Ok(SentenceContext::new(network.clone()));
        }
        let hidden = model.config().hidden_size;
        let vectors = self.floats("vectors", &[count, hidden])?;
        let stop_logits = self.floats("stop_logits", &[2])?;
        let prediction = Prediction {
            hidden: self.floats("hidden", &[hidden])?,
            stop_logits: [stop_logits[0], stop_logits[1]],
        };
        let sentence = |stored: StoredSentence| ContextSentence {
            text: stored.text,
            ids: stored.ids,
        };
        let parts = SentenceParts {
            sentences: text.sentences.into_iter().map(sentence).collect(),
            vectors,
            runs: text.runs,
            dropped: text.dropped,
            cache: self.cache(network.backbone.cached(), count)?,
            prediction: Some(prediction),
        };
        let mut context = SentenceContext::from_parts(network.clone(), parts);
        context.prepare()?;
        Ok(context)
    }

    fn tokens(
        &self,
        text: TokenText,
        network: &Arc<TokenModel>,
        model: &Model,
    ) -> Result<TokenContext> {
        if text.ids.is_empty() {
            return Ok(TokenContext::new(network.clone()));
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
        let cache = self.cache(network.graph.cached(), text.ids.len())?;
        let logits = match &cache {
            Some(_) => self.logits(model)?,
            None => Logits::default(),
        };
        let end = |(bytes, tokens)| SentenceEnd { bytes, tokens };
        let parts = TokenParts {
            text: text.text,
            ids: text.ids,
            ends: text.ends.into_iter().map(end).collect(),
            cache,
            logits,
        };
        let mut context = TokenContext::from_parts(network.clone(), parts);
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

/// Whether all numbers of `BYTES` bytes are finite.
fn all_finite<const BYTES: usize>(bytes: &[u8], finite: impl Fn([u8; BYTES]) -> bool) -> bool {
    bytes.as_chunks().0.iter().all(|&value| finite(value))
}
