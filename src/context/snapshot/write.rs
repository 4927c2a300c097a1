//! Writing a snapshot.

use std::{borrow::Cow, collections::HashMap, path::Path};

use safetensors::{Dtype, View};
use serde::Serialize;
use serde_json::Value;

use super::{
    FORMAT_VERSION, METADATA, Metadata, SentenceText, StoredSentence, TokenText, cache_name,
    checksum,
};
use crate::{
    context::{
        CachedContext as _, Context, ContextSentence, SentenceContext, TokenContext,
        tokens::SentenceEnd,
    },
    error::{Error, Result, StateError, one_line},
    fs::write_whole,
    graphs::CachedGraph,
    model::Model,
    runtime::KvCache,
};

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

pub(crate) fn save(model: &Model, context: &Context, path: &Path) -> Result<()> {
    let bytes = to_bytes(model, context)?;
    write_whole(path, |file| file.write_all(&bytes))
}

pub(crate) fn to_bytes(model: &Model, context: &Context) -> Result<Vec<u8>> {
    let (context, tensors) = match context {
        Context::Sentences(context) => sentence_tensors(context)?,
        Context::Tokens(context) => token_tensors(context)?,
    };
    let metadata = Metadata {
        format_version: FORMAT_VERSION,
        model: model.fingerprint(),
        variant: model.variant().to_owned(),
        sha256: checksum(tensors.iter().map(|(name, t)| (name.as_str(), &*t.bytes))),
        context,
    };
    let metadata = serde_json::to_string(&metadata).map_err(|error| failed(&error))?;
    let metadata = HashMap::from([(METADATA.to_owned(), metadata)]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| failed(&error))
}

fn failed(error: &impl std::fmt::Display) -> Error {
    Error::State(StateError::Snapshot {
        problem: one_line(error),
    })
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
        tensors.extend(cache_tensors(context.graph(), cache)?);
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
        tensors.extend(cache_tensors(context.graph(), cache)?);
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

fn cache_tensors(graph: &CachedGraph, cache: &KvCache) -> Result<Tensors> {
    let dtype = match cache.is_half() {
        true => Dtype::F16,
        false => Dtype::F32,
    };
    let shape = graph.cache_shape(cache.len());
    let stored = |(number, bytes): (usize, Vec<u8>)| {
        let stored = Stored {
            dtype,
            shape: shape.to_vec(),
            bytes,
        };
        (cache_name(number), stored)
    };
    let tensors = graph.cache_bytes(cache)?.into_iter().enumerate();
    Ok(tensors.map(stored).collect())
}
