//! Session files of version 0.1: sentences as JSON. Caches are computed again.

use std::path::Path;

use serde::Deserialize;

use super::{Context, ContextSentence, SentenceContext, TokenContext, at_once, limits::Limits};
use crate::{
    error::{Error, Result, StateError, TextError, one_line},
    model::{Model, Network},
};

const FORMAT_VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionFile {
    format_version: u32,
    /// Fingerprint of the model.
    model: String,
    /// How many sentences each run of the backbone appended.
    runs: Vec<usize>,
    /// For kind `opt` one, which is the whole context.
    sentences: Vec<StoredSentence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSentence {
    text: String,
    /// What the encoder (for kind `opt` the model) sees of it.
    ids: Vec<u32>,
}

/// Restore a session from a file of version 0.1.
pub(super) fn restore(model: &Model, bytes: &[u8], path: &Path) -> Result<Context> {
    let refused = |problem: String| {
        Error::State(StateError::Session {
            path: path.to_owned(),
            problem,
        })
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::Text(TextError::NotUtf8 {
            path: path.to_owned(),
            byte: error.valid_up_to() as u64,
            line: None,
        })
    })?;
    let file: SessionFile =
        serde_json::from_str(text).map_err(|error| refused(one_line(&error)))?;
    if file.format_version != FORMAT_VERSION {
        let found = file.format_version;
        return Err(refused(format!(
            "format_version is {found}, this program reads {FORMAT_VERSION} and snapshots"
        )));
    }
    if ![model.fingerprint(), model.fingerprint_of_0_1()].contains(&file.model) {
        return Err(Error::State(StateError::SessionModel {
            path: path.to_owned(),
            model: model.config().name.clone(),
        }));
    }
    let limits = Limits::of(model);
    let context = match model.network() {
        Network::Sentences(network) => {
            let count = file.sentences.len();
            limits.check_runs(&file.runs, count).map_err(refused)?;
            let least = usize::from(model.config().reencode_mask);
            for (number, sentence) in file.sentences.iter().enumerate() {
                limits
                    .check_ids(number, &sentence.ids, least)
                    .map_err(refused)?;
            }
            let mut context = SentenceContext::new(network.clone());
            let tokens = model.shared().special_tokens();
            let spoken = |ids: &[u32]| {
                let ids = ids.strip_prefix(&[tokens.bos]).unwrap_or(ids);
                tokens.without_eos(ids).to_vec()
            };
            let runs = match network.backbone.is_causal() {
                true => vec![count].into_iter().filter(|&count| count > 0).collect(),
                false => file.runs,
            };
            let mut stored = file.sentences.into_iter();
            for run in runs {
                let (mut sentences, mut encoder_ids) = (Vec::new(), Vec::new());
                for sentence in stored.by_ref().take(run) {
                    sentences.push(ContextSentence {
                        text: sentence.text,
                        ids: spoken(&sentence.ids),
                    });
                    encoder_ids.push(sentence.ids);
                }
                context.append_encoded(sentences, encoder_ids, &mut at_once)?;
            }
            Context::Sentences(Box::new(context))
        }
        Network::Tokens(network) => {
            if file.sentences.len() > 1 || file.runs.len() != file.sentences.len() {
                return Err(refused("a context of tokens is one entry".into()));
            }
            let mut context = TokenContext::new(network.clone());
            for stored in file.sentences {
                limits.check_ids(0, &stored.ids, 1).map_err(refused)?;
                context.append_stored(&stored.ids, &stored.text)?;
            }
            Context::Tokens(Box::new(context))
        }
        Network::Autoencoder(_) => return Err(model.wrong_kind("backbone", "sllm or opt")),
    };
    Ok(context)
}
