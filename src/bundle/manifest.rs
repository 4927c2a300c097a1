//! Parsing of `sllm.json`.

mod generation;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    Bundle, BundleFile, FORMAT_VERSION, GraphFile, GraphRole, MAX_EXTERNAL_FILES, MAX_PROVIDERS,
    MAX_VARIANTS, Variant,
};
use crate::config::fields::{At, Fields, parse};
use crate::config::{MAX_NAME_BYTES, ModelConfig, ModelKind};
use crate::error::{Error, Result};
use crate::sampling::GenerationDefaults;
use crate::text::{LongSentence, Rule, Segmentation, Tail, WhiteSpace};

/// Bytes of a hash in hexadecimal.
const SHA256_HEX: usize = 64;
/// Room for any file name; its own limit is checked where it is located.
const MAX_FILE_FIELD_BYTES: usize = 1 << 16;

const RULE: [(&str, Rule); 2] = [("original", Rule::Original), ("clauses", Rule::Clauses)];
const WHITE_SPACE: [(&str, WhiteSpace); 2] = [
    ("kept", WhiteSpace::Kept),
    ("canonical", WhiteSpace::Canonical),
];
const TAIL: [(&str, Tail); 2] = [("keep", Tail::Keep), ("drop", Tail::Drop)];
const LONG: [(&str, LongSentence); 2] = [
    ("split", LongSentence::Split),
    ("truncate", LongSentence::Truncate),
];

pub(super) fn read(dir: &Path, text: &str, origin: &str) -> Result<Bundle> {
    let at = At { origin, key: "" };
    let mut f = Fields::new(parse(text, origin)?, at)?;
    // The version comes first: another version may have other keys.
    let found = f.integer::<u64>("format_version")?;
    if found != FORMAT_VERSION {
        return Err(Error::FormatVersion {
            origin: origin.to_owned(),
            found,
            supported: FORMAT_VERSION,
        });
    }
    f.deny_unknown(&[
        "format_version",
        "model",
        "segmentation",
        "generation",
        "tokenizer",
        "chat_template",
        "variants",
        "provenance",
    ])?;
    let root = dir.canonicalize().map_err(|source| Error::Read {
        path: dir.to_owned(),
        source,
    })?;
    let reader = Reader { origin, root };
    let config =
        ModelConfig::from_value(f.required("model", "an object")?, At { key: "model", ..at })?;
    let segmentation =
        reader.segmentation(f.required("segmentation", "an object with tail, long_sentence")?)?;
    let generation = match f.optional("generation") {
        Some(value) => generation::read(value, reader.at("generation"))?,
        None => GenerationDefaults::default(),
    };
    let tokenizer = reader.file(
        f.required("tokenizer", "an object with file, sha256")?,
        "tokenizer",
    )?;
    let chat_template = match f.optional("chat_template") {
        Some(value) => Some(reader.file(value, "chat_template")?),
        None => None,
    };
    let variants = f.required("variants", "a list of variants")?;
    let variants = reader.variants(variants, config.kind)?;
    let provenance = match f.optional("provenance") {
        None => Map::new(),
        Some(Value::Object(map)) => map,
        Some(other) => {
            return Err(At {
                key: "provenance",
                ..at
            }
            .invalid(&other, "an object"));
        }
    };
    Ok(Bundle {
        dir: dir.to_owned(),
        config,
        segmentation,
        generation,
        tokenizer,
        chat_template,
        variants,
        provenance,
    })
}

struct Reader<'a> {
    origin: &'a str,
    /// The bundle's directory without symbolic links.
    root: PathBuf,
}

impl Reader<'_> {
    fn at<'k>(&'k self, key: &'k str) -> At<'k> {
        At {
            origin: self.origin,
            key,
        }
    }

    fn segmentation(&self, value: Value) -> Result<Segmentation> {
        let mut f = Fields::new(value, self.at("segmentation"))?;
        f.deny_unknown(&["rule", "white_space", "tail", "long_sentence"])?;
        Ok(Segmentation {
            rule: match f.contains("rule") {
                true => f.choice("rule", &RULE)?,
                false => Rule::default(),
            },
            white_space: match f.contains("white_space") {
                true => f.choice("white_space", &WHITE_SPACE)?,
                false => WhiteSpace::default(),
            },
            tail: f.choice("tail", &TAIL)?,
            long_sentence: f.choice("long_sentence", &LONG)?,
        })
    }

    fn variants(&self, value: Value, kind: ModelKind) -> Result<Vec<Variant>> {
        let mut variants: Vec<Variant> = Vec::new();
        for (index, value) in self
            .at("variants")
            .array(value, 1, MAX_VARIANTS)?
            .into_iter()
            .enumerate()
        {
            let variant = self.variant(value, &format!("variants[{index}]"), kind)?;
            if variants.iter().any(|other| other.name == variant.name) {
                return Err(Error::DuplicateVariant {
                    origin: self.origin.to_owned(),
                    name: variant.name,
                });
            }
            variants.push(variant);
        }
        Ok(variants)
    }

    fn variant(&self, value: Value, key: &str, kind: ModelKind) -> Result<Variant> {
        let mut f = Fields::new(value, self.at(key))?;
        f.deny_unknown(&["name", "precision", "providers", "graphs"])?;
        let name = f.string("name", MAX_NAME_BYTES)?;
        let precision = f.string("precision", MAX_NAME_BYTES)?;
        let providers_key = f.child("providers");
        let providers = f.required("providers", "a list of execution providers")?;
        let providers = self
            .at(&providers_key)
            .array(providers, 1, MAX_PROVIDERS)?
            .into_iter()
            .enumerate()
            .map(|(i, value)| {
                self.at(&format!("{providers_key}[{i}]"))
                    .string(value, MAX_NAME_BYTES)
            })
            .collect::<Result<_>>()?;
        let graphs_key = f.child("graphs");
        let graphs = f.required("graphs", "an object with the model's graphs")?;
        let graphs = self.graphs(graphs, &graphs_key, kind)?;
        Ok(Variant {
            name,
            precision,
            providers,
            graphs,
        })
    }

    fn graphs(
        &self,
        value: Value,
        key: &str,
        kind: ModelKind,
    ) -> Result<BTreeMap<GraphRole, GraphFile>> {
        let roles = GraphRole::required(kind);
        let mut f = Fields::new(value, self.at(key))?;
        f.deny_unknown(&roles.iter().map(|role| role.as_str()).collect::<Vec<_>>())?;
        roles
            .iter()
            .map(|role| {
                let value = f.required(
                    role.as_str(),
                    "an object with file, sha256; models of this kind need this graph",
                )?;
                Ok((*role, self.graph(value, &f.child(role.as_str()))?))
            })
            .collect()
    }

    fn graph(&self, value: Value, key: &str) -> Result<GraphFile> {
        let mut f = Fields::new(value, self.at(key))?;
        f.deny_unknown(&["file", "sha256", "external_data"])?;
        let external_data = match f.optional("external_data") {
            None => Vec::new(),
            Some(value) => {
                let key = f.child("external_data");
                let entries = self
                    .at(&key)
                    .array(value, 0, MAX_EXTERNAL_FILES)?
                    .into_iter()
                    .enumerate();
                entries
                    .map(|(i, value)| self.file(value, &format!("{key}[{i}]")))
                    .collect::<Result<_>>()?
            }
        };
        Ok(GraphFile {
            file: self.file_fields(f)?,
            external_data,
        })
    }

    fn file(&self, value: Value, key: &str) -> Result<BundleFile> {
        let f = Fields::new(value, self.at(key))?;
        f.deny_unknown(&["file", "sha256"])?;
        self.file_fields(f)
    }

    fn file_fields(&self, mut f: Fields<'_>) -> Result<BundleFile> {
        let hash_key = f.child("sha256");
        let allowed = "64 hexadecimal digits";
        let hash = f.required("sha256", allowed)?;
        let sha256 = match &hash {
            Value::String(s)
                if s.len() == SHA256_HEX && s.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                s.to_ascii_lowercase()
            }
            other => return Err(self.at(&hash_key).invalid(other, allowed)),
        };
        let file_key = f.child("file");
        let name = match f.required("file", "a file name inside the bundle")? {
            Value::String(s) if s.len() <= MAX_FILE_FIELD_BYTES => s,
            other => {
                return Err(self
                    .at(&file_key)
                    .invalid(&other, "a file name inside the bundle"));
            }
        };
        BundleFile::locate(&self.root, name, sha256, self.at(&file_key))
    }
}
