//! Parsing of `sllm.json`.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{
    Bundle, BundleFile, FORMAT_VERSION, Files, GraphFile, GraphRole, MAX_EXTERNAL_FILES,
    MAX_PROVIDERS, MAX_VARIANTS, Variant, files::name_problem, generation::GenerationSection,
};
use crate::{
    config::{ConfigFile, ModelKind, label, require_label},
    error::{BundleError, Error, Problems, Result, SchemaProblem},
    json::{self, StringVisitor},
    text::Segmentation,
};

/// Digits of a hash in hexadecimal.
const SHA256_DIGITS: usize = 64;
/// What a hash may be.
const SHA256: &str = "64 hexadecimal digits";
/// What the name of a file may be.
const FILE_NAME: &str = "a relative name, with `/`, that stays inside the bundle's directory";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(rename = "format_version")]
    _format_version: u64,
    model: ConfigFile,
    segmentation: Segmentation,
    #[serde(default)]
    generation: GenerationSection,
    tokenizer: FileEntry,
    chat_template: Option<FileEntry>,
    variants: Vec<VariantEntry>,
    #[serde(default)]
    provenance: Map<String, Value>,
}

/// The key that manifests of every version have.
#[derive(Deserialize)]
struct Version {
    format_version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantEntry {
    #[serde(deserialize_with = "label")]
    name: String,
    #[serde(deserialize_with = "label")]
    precision: String,
    providers: Vec<String>,
    graphs: GraphEntries,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphEntries {
    encoder: Option<GraphEntry>,
    backbone: Option<GraphEntry>,
    decoder: Option<GraphEntry>,
    opt: Option<GraphEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphEntry {
    #[serde(deserialize_with = "file_name")]
    file: String,
    #[serde(deserialize_with = "sha256")]
    sha256: String,
    #[serde(default)]
    external_data: Vec<FileEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    #[serde(deserialize_with = "file_name")]
    file: String,
    #[serde(deserialize_with = "sha256")]
    sha256: String,
}

/// Reads the manifest `text` of the bundle in `dir`, whose files are in `files`.
pub(super) fn read(dir: &Path, files: &Files, text: &str, origin: &str) -> Result<Bundle> {
    let value = json::parse(text, origin)?;
    // The version comes first: another version may have other keys.
    let Version { format_version } = json::from_value(&value, origin)?;
    if format_version != FORMAT_VERSION {
        return Err(Error::Bundle(BundleError::FormatVersion {
            origin: origin.to_owned(),
            found: format_version,
            supported: FORMAT_VERSION,
        }));
    }
    let Manifest {
        model,
        segmentation,
        generation,
        tokenizer,
        chat_template,
        variants,
        provenance,
        ..
    } = json::from_value(&value, origin)?;
    let mut problems = Problems::default();
    problems.set_prefix("model.");
    let config = model.check(&mut problems);
    problems.set_prefix("generation.");
    let generation = generation.check(&mut problems);
    problems.set_prefix("");
    let mut bundle = Bundle {
        dir: dir.to_owned(),
        segmentation,
        generation,
        tokenizer: tokenizer.check("tokenizer", &mut problems),
        chat_template: chat_template.map(|file| file.check("chat_template", &mut problems)),
        variants: check_variants(variants, config.kind, &mut problems),
        config,
        provenance,
    };
    problems.into_result(origin)?;
    bundle.files_mut().try_for_each(|file| files.find(file))?;
    Ok(bundle)
}

fn check_variants(
    entries: Vec<VariantEntry>,
    kind: ModelKind,
    problems: &mut Problems,
) -> Vec<Variant> {
    check_count("variants", entries.len(), 1, MAX_VARIANTS, problems);
    let mut variants: Vec<Variant> = Vec::new();
    for (index, entry) in entries.into_iter().take(MAX_VARIANTS).enumerate() {
        let key = format!("variants[{index}]");
        problems.require(
            variants.iter().all(|other| other.name != entry.name),
            format_args!("{key}.name"),
            &entry.name,
            "a name that no other variant has",
        );
        variants.push(entry.check(&key, kind, problems));
    }
    variants
}

impl VariantEntry {
    fn check(self, key: &str, kind: ModelKind, problems: &mut Problems) -> Variant {
        require_label(problems, format_args!("{key}.name"), &self.name);
        require_label(problems, format_args!("{key}.precision"), &self.precision);
        let providers = format!("{key}.providers");
        check_count(&providers, self.providers.len(), 1, MAX_PROVIDERS, problems);
        for (index, provider) in self.providers.iter().enumerate() {
            require_label(problems, format_args!("{providers}[{index}]"), provider);
        }
        let mut graphs = BTreeMap::new();
        for (role, graph) in [
            (GraphRole::Encoder, self.graphs.encoder),
            (GraphRole::Backbone, self.graphs.backbone),
            (GraphRole::Decoder, self.graphs.decoder),
            (GraphRole::Opt, self.graphs.opt),
        ] {
            let key = format!("{key}.graphs.{role}");
            if GraphRole::required(kind).contains(&role) {
                let allowed = format!("an object with file, sha256: models of kind {kind} need it");
                problems.require_key(&graph, &key, &allowed);
            } else {
                problems.refuse_key(&graph, &key, kind);
            }
            graphs.extend(graph.map(|graph| (role, graph.check(&key, problems))));
        }
        Variant {
            name: self.name,
            precision: self.precision,
            providers: self.providers,
            graphs,
        }
    }
}

impl GraphEntry {
    fn check(self, key: &str, problems: &mut Problems) -> GraphFile {
        let (file, sha256) = (self.file, self.sha256);
        let data = format!("{key}.external_data");
        check_count(
            &data,
            self.external_data.len(),
            0,
            MAX_EXTERNAL_FILES,
            problems,
        );
        let external_data = self.external_data.into_iter().enumerate();
        GraphFile {
            file: FileEntry { file, sha256 }.check(key, problems),
            external_data: external_data
                .map(|(index, file)| file.check(&format!("{data}[{index}]"), problems))
                .collect(),
        }
    }
}

impl FileEntry {
    /// The file, which is not looked for yet.
    fn check(self, key: &str, problems: &mut Problems) -> BundleFile {
        if let Some(problem) = name_problem(&self.file) {
            let allowed = format_args!("{FILE_NAME}: this one {problem}");
            problems.require(false, format_args!("{key}.file"), &self.file, allowed);
        }
        let digits = self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fits = digits && self.sha256.len() == SHA256_DIGITS;
        problems.require(fits, format_args!("{key}.sha256"), &self.sha256, SHA256);
        BundleFile::new(self.file, self.sha256.to_ascii_lowercase())
    }
}

fn check_count(key: &str, count: usize, min: usize, max: usize, problems: &mut Problems) {
    if !(min..=max).contains(&count) {
        problems.push(SchemaProblem::InvalidValue {
            key: key.to_owned(),
            value: format!("a list of {count} entries"),
            allowed: format!("{min} to {max} entries"),
        });
    }
}

fn file_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_string(StringVisitor(FILE_NAME))
}

fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_string(StringVisitor(SHA256))
}
