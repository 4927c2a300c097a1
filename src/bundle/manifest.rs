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
    error::{Error, Problems, Result, SchemaProblem},
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
        return Err(Error::FormatVersion {
            origin: origin.to_owned(),
            found: format_version,
            supported: FORMAT_VERSION,
        });
    }
    let manifest: Manifest = json::from_value(&value, origin)?;
    let mut problems = Problems::default();
    problems.prefix = "model.";
    let config = manifest.model.check(&mut problems);
    problems.prefix = "generation.";
    let generation = manifest.generation.check(&mut problems);
    problems.prefix = "";
    manifest.tokenizer.check("tokenizer", &mut problems);
    if let Some(template) = &manifest.chat_template {
        template.check("chat_template", &mut problems);
    }
    check_variants(&manifest.variants, config.kind, &mut problems);
    problems.into_result(origin)?;

    let template = manifest.chat_template.as_ref();
    let variants = manifest.variants.iter();
    Ok(Bundle {
        dir: dir.to_owned(),
        config,
        segmentation: manifest.segmentation,
        generation,
        tokenizer: manifest.tokenizer.find(files)?,
        chat_template: template.map(|entry| entry.find(files)).transpose()?,
        variants: variants
            .map(|entry| entry.find(files))
            .collect::<Result<_>>()?,
        provenance: manifest.provenance,
    })
}

fn check_variants(variants: &[VariantEntry], kind: ModelKind, problems: &mut Problems) {
    check_count("variants", variants.len(), 1, MAX_VARIANTS, problems);
    for (index, variant) in variants.iter().take(MAX_VARIANTS).enumerate() {
        let key = format!("variants[{index}]");
        let before = &variants[..index];
        problems.require(
            before.iter().all(|other| other.name != variant.name),
            format_args!("{key}.name"),
            &variant.name,
            "a name that no other variant has",
        );
        variant.check(&key, kind, problems);
    }
}

impl VariantEntry {
    fn check(&self, key: &str, kind: ModelKind, problems: &mut Problems) {
        require_label(problems, format_args!("{key}.name"), &self.name);
        require_label(problems, format_args!("{key}.precision"), &self.precision);
        let providers = format!("{key}.providers");
        check_count(&providers, self.providers.len(), 1, MAX_PROVIDERS, problems);
        for (index, provider) in self.providers.iter().enumerate() {
            require_label(problems, format_args!("{providers}[{index}]"), provider);
        }
        let required = GraphRole::required(kind);
        for (role, graph) in self.graphs.by_role() {
            let key = format!("{key}.graphs.{role}");
            match (graph, required.contains(&role)) {
                (Some(graph), true) => graph.check(&key, problems),
                (_, true) => problems.require_key(graph, key, "an object with file, sha256"),
                (_, false) => problems.refuse_key(graph, key, kind),
            }
        }
    }

    fn find(&self, files: &Files) -> Result<Variant> {
        let mut graphs = BTreeMap::new();
        for (role, graph) in self.graphs.by_role() {
            if let Some(graph) = graph {
                graphs.insert(role, graph.find(files)?);
            }
        }
        Ok(Variant {
            name: self.name.clone(),
            precision: self.precision.clone(),
            providers: self.providers.clone(),
            graphs,
        })
    }
}

impl GraphEntries {
    fn by_role(&self) -> [(GraphRole, &Option<GraphEntry>); 4] {
        [
            (GraphRole::Encoder, &self.encoder),
            (GraphRole::Backbone, &self.backbone),
            (GraphRole::Decoder, &self.decoder),
            (GraphRole::Opt, &self.opt),
        ]
    }
}

impl GraphEntry {
    fn check(&self, key: &str, problems: &mut Problems) {
        check_file(&self.file, &self.sha256, key, problems);
        let data = format!("{key}.external_data");
        check_count(
            &data,
            self.external_data.len(),
            0,
            MAX_EXTERNAL_FILES,
            problems,
        );
        for (index, file) in self.external_data.iter().enumerate() {
            file.check(&format!("{data}[{index}]"), problems);
        }
    }

    fn find(&self, files: &Files) -> Result<GraphFile> {
        let data = self.external_data.iter();
        Ok(GraphFile {
            file: files.find(&self.file, &self.sha256)?,
            external_data: data.map(|file| file.find(files)).collect::<Result<_>>()?,
        })
    }
}

impl FileEntry {
    fn check(&self, key: &str, problems: &mut Problems) {
        check_file(&self.file, &self.sha256, key, problems);
    }

    fn find(&self, files: &Files) -> Result<BundleFile> {
        files.find(&self.file, &self.sha256)
    }
}

fn check_file(file: &str, sha256: &str, key: &str, problems: &mut Problems) {
    if let Some(problem) = name_problem(file) {
        let allowed = format_args!("{FILE_NAME}: this one {problem}");
        problems.require(false, format_args!("{key}.file"), file, allowed);
    }
    let digits = sha256.len() == SHA256_DIGITS && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    problems.require(digits, format_args!("{key}.sha256"), sha256, SHA256);
}

fn file_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_string(StringVisitor(FILE_NAME))
}

fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_string(StringVisitor(SHA256))
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
