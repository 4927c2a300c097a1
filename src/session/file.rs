//! The session file: the sentences of a context as JSON; caches are computed again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Context, Session, sentences::ContextSentence};
use crate::{
    config::{ModelKind, read_text},
    error::{Error, Result, one_line},
    model::Model,
    whole_file::write_whole,
};

const FORMAT_VERSION: u32 = 1;
/// Largest session file, in bytes; the longest context has a few thousand sentences.
const MAX_SESSION_BYTES: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSentence {
    text: String,
    /// What the encoder (for kind `opt` the model) sees of it.
    ids: Vec<u32>,
}

pub(super) fn save(session: &Session, path: &Path) -> Result<()> {
    let (runs, sentences) = match &session.context {
        Context::Sentences(context) => {
            let stored = |sentence: &ContextSentence| StoredSentence {
                text: sentence.text.clone(),
                ids: sentence.ids.clone(),
            };
            (
                context.runs.clone(),
                context.sentences.iter().map(stored).collect(),
            )
        }
        Context::Tokens(context) if context.ids.is_empty() => (Vec::new(), Vec::new()),
        Context::Tokens(context) => {
            let (text, ids) = (context.text.clone(), context.ids.clone());
            (vec![1], vec![StoredSentence { text, ids }])
        }
    };
    let file = SessionFile {
        format_version: FORMAT_VERSION,
        model: session.model().fingerprint(),
        runs,
        sentences,
    };
    write_whole(path, |file_on_disk| {
        serde_json::to_writer(&mut *file_on_disk, &file)?;
        file_on_disk.write_all(b"\n")
    })
}

pub(super) fn load(model: &Model, path: &Path) -> Result<Session> {
    let refused = |problem: String| Error::SessionFile {
        path: path.to_owned(),
        problem,
    };
    let text = read_text(path, MAX_SESSION_BYTES)?;
    let file: SessionFile =
        serde_json::from_str(&text).map_err(|error| refused(one_line(&error)))?;
    if file.format_version != FORMAT_VERSION {
        return Err(refused(format!(
            "format_version is {}, this program reads {FORMAT_VERSION}",
            file.format_version
        )));
    }
    if ![model.fingerprint(), model.fingerprint_of_0_1()].contains(&file.model) {
        return Err(Error::SessionModel {
            path: path.to_owned(),
            model: model.config().name.clone(),
        });
    }
    check(model, &file).map_err(refused)?;
    let mut session = Session::new(model.clone())?;
    match &mut session.context {
        Context::Sentences(context) => {
            let mut sentences = file.sentences.into_iter().map(|stored| ContextSentence {
                text: stored.text,
                ids: stored.ids,
            });
            if context.is_causal()? {
                context.append_run(sentences.collect())?;
            } else {
                for count in file.runs {
                    context.append_run(sentences.by_ref().take(count).collect())?;
                }
            }
        }
        Context::Tokens(context) => {
            for stored in file.sentences {
                context.append_ids(&stored.ids, &stored.text)?;
            }
        }
    }
    Ok(session)
}

fn check(model: &Model, file: &SessionFile) -> std::result::Result<(), String> {
    let total = file
        .runs
        .iter()
        .try_fold(0usize, |sum, &count| sum.checked_add(count));
    if total != Some(file.sentences.len()) || file.runs.contains(&0) {
        return Err(format!(
            "its runs do not add up to its {} sentences",
            file.sentences.len()
        ));
    }
    let (config, longest) = (model.config(), model.parts().longest_sentence);
    // In kind `opt` the whole context is one entry, which is at most `longest` long.
    let most = config
        .max_sentences
        .filter(|_| config.kind != ModelKind::Opt);
    let most = most.unwrap_or(1);
    if file.sentences.len() > most {
        let found = file.sentences.len();
        return Err(format!(
            "it has {found} sentences, at most {most} are allowed"
        ));
    }
    for (number, sentence) in file.sentences.iter().enumerate() {
        let least = usize::from(config.kind == ModelKind::Opt || config.reencode_mask);
        if !(least..=longest).contains(&sentence.ids.len()) {
            let found = sentence.ids.len();
            return Err(format!(
                "sentence {number} has {found} ids, allowed are {least} to {longest}"
            ));
        }
        if let Some(id) = sentence
            .ids
            .iter()
            .find(|&&id| id as usize >= config.vocab_size)
        {
            let size = config.vocab_size;
            return Err(format!(
                "sentence {number} has the id {id}, the vocabulary {size}"
            ));
        }
    }
    Ok(())
}
