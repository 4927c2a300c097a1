//! Bundles: a directory, or files in memory, that hold one model, described by `sllm.json`.

mod external;
mod files;
mod generation;
mod manifest;
mod memory;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use crate::config::{ModelConfig, ModelKind};
use crate::error::{BundleError, Error, Result, TextError, list};
use crate::sampling::GenerationDefaults;
use crate::text::{Segmentation, SentenceTokenizer};

pub use files::BundleFile;
use files::Files;
use memory::{FileBytes, MEMORY};

/// Name of the manifest in a bundle's directory.
pub const MANIFEST_NAME: &str = "sllm.json";
/// The manifest's `format_version` that this crate reads.
pub const FORMAT_VERSION: u64 = 1;
/// Largest manifest, in bytes; parsed it may take a hundred times as much memory.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Largest tokenizer file, in bytes.
pub const MAX_TOKENIZER_BYTES: u64 = 256 << 20;
/// Largest chat template, in bytes.
pub const MAX_CHAT_TEMPLATE_BYTES: u64 = 1 << 20;
/// Largest graph, in bytes: a protobuf message is shorter than 2 GiB; larger weights are external
/// data.
pub const MAX_GRAPH_BYTES: u64 = (1 << 31) - 1;
/// Most variants of a bundle.
pub const MAX_VARIANTS: usize = 64;
/// Most execution providers of a variant.
pub const MAX_PROVIDERS: usize = 32;
/// Most external data files of a graph.
pub const MAX_EXTERNAL_FILES: usize = 256;

/// What a graph computes. Its inputs and outputs are fixed by this role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GraphRole {
    /// Tokens of a sentence to its vector.
    Encoder,
    /// Sentence vectors to the next sentence's vector.
    Backbone,
    /// A sentence vector to the sentence's tokens.
    Decoder,
    /// Tokens to the next token: the whole of a model of kind `opt`.
    Opt,
}

impl GraphRole {
    /// The key of the graph in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Backbone => "backbone",
            Self::Decoder => "decoder",
            Self::Opt => "opt",
        }
    }

    /// The graphs that every variant of a model of this kind has.
    pub fn required(kind: ModelKind) -> &'static [GraphRole] {
        match kind {
            ModelKind::Svae => &[Self::Encoder, Self::Decoder],
            ModelKind::Sllm => &[Self::Encoder, Self::Backbone, Self::Decoder],
            ModelKind::Opt => &[Self::Opt],
        }
    }
}

impl fmt::Display for GraphRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A graph with the files that hold its weights.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GraphFile {
    /// The ONNX file.
    pub file: BundleFile,
    /// Files of ONNX external data. The graph may refer to these and to no others.
    pub external_data: Vec<BundleFile>,
}

impl GraphFile {
    /// Reads the ONNX file and checks its hash; external data is left to
    /// [`verify_external_data`](Self::verify_external_data).
    ///
    /// # Errors
    /// [`BundleError::HashMismatch`] if the file was cut short or changed, [`Error::FileTooLarge`],
    /// [`Error::Read`].
    pub fn read_verified(&self) -> Result<Vec<u8>> {
        self.file.read_verified(MAX_GRAPH_BYTES)
    }

    /// The external data, each file by its path relative to the graph's directory. Empty if the graph
    /// has none, `None` if it is not in memory.
    pub(crate) fn external_data_in_memory(&self) -> Option<Vec<(String, Arc<[u8]>)>> {
        let dir = external::dir_of(&self.file.name);
        let data = self.external_data.iter().map(|file| {
            let name = file.name.strip_prefix(dir).unwrap_or(&file.name);
            Some((name.to_owned(), file.content()?.shared()))
        });
        data.collect()
    }

    /// Checks that `graph`, the content of this file, refers only to listed external data, and
    /// checks the hashes of all listed files. ONNX resolves such references relative to the graph's
    /// directory.
    ///
    /// # Errors
    /// [`BundleError::MalformedGraph`], [`BundleError::UnlistedExternalData`],
    /// [`BundleError::HashMismatch`], [`Error::Read`].
    pub fn verify_external_data(&self, graph: &[u8]) -> Result<()> {
        external::check_references(self, graph)?;
        self.external_data.iter().try_for_each(BundleFile::verify)
    }
}

/// One set of graphs, made for some execution providers and one precision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variant {
    /// Name, such as `cpu-int8`; no two variants of a bundle share one.
    pub name: String,
    /// Precision of the weights, such as `int8`; for people to read.
    pub precision: String,
    /// Execution providers that the graphs are made for, such as `cpu`.
    pub providers: Vec<String>,
    /// The graphs: those that the kind of model requires.
    pub graphs: BTreeMap<GraphRole, GraphFile>,
}

impl Variant {
    /// The graph of a role.
    ///
    /// # Errors
    /// [`BundleError::NoGraph`] if models of this kind have none.
    pub fn graph(&self, role: GraphRole) -> Result<&GraphFile> {
        self.graphs.get(&role).ok_or_else(|| {
            Error::Bundle(BundleError::NoGraph {
                variant: self.name.clone(),
                graph: role.as_str(),
                available: list(self.graphs.keys()),
            })
        })
    }
}

/// A model that is not loaded. Its manifest was read, and every file that the manifest names
/// exists. File contents are checked when they are read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Bundle {
    /// The directory, as it was given; `<memory>` for a bundle in memory.
    pub dir: PathBuf,
    /// The model's configuration.
    pub config: ModelConfig,
    /// How text is cut for this model.
    pub segmentation: Segmentation,
    /// Generation options where a caller sets none; greedy if the manifest has none.
    pub generation: GenerationDefaults,
    /// The tokenizer's file.
    pub tokenizer: BundleFile,
    /// The chat template, if the model has one: a Jinja file that turns chat messages into a
    /// prompt, like Hugging Face's `chat_template.jinja`. Only the server uses it.
    pub chat_template: Option<BundleFile>,
    /// The variants, at least one, in order of preference.
    pub variants: Vec<Variant>,
    /// Where the model came from, as its exporter wrote it; may be empty.
    pub provenance: Map<String, Value>,
}

impl Bundle {
    /// Reads and checks the manifest of the bundle in `dir`.
    ///
    /// # Errors
    /// [`BundleError::NotFound`], [`BundleError::NotDirectory`], [`BundleError::ManifestMissing`]
    /// if there is no bundle; [`BundleError::FileOutside`], [`BundleError::ManifestNotFile`],
    /// [`BundleError::LfsPointer`], [`Error::Read`], [`TextError::NotUtf8`],
    /// [`Error::FileTooLarge`], [`Error::Json`], [`BundleError::FormatVersion`], [`Error::Schema`]
    /// if its manifest is invalid; [`BundleError::FileOutside`], [`BundleError::MissingFile`] for a
    /// file that the manifest names.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let path = || dir.to_owned();
        match dir.metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Bundle(BundleError::NotFound { path: path() }));
            }
            Err(source) => {
                return Err(Error::Read {
                    path: path(),
                    source,
                });
            }
            Ok(meta) if !meta.is_dir() => {
                return Err(Error::Bundle(BundleError::NotDirectory { path: path() }));
            }
            Ok(_) => {}
        }
        let text = match files::read_manifest(dir, &dir.join(MANIFEST_NAME)) {
            Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Bundle(BundleError::ManifestMissing { path: path() }));
            }
            other => other?,
        };
        Self::from_manifest(dir, &text)
    }

    /// Checks `text` as the manifest of the bundle in `dir`, whose own manifest is not read.
    ///
    /// # Errors
    /// Those of [`Bundle::open`] for an invalid manifest.
    pub fn from_manifest(dir: impl AsRef<Path>, text: &str) -> Result<Self> {
        let dir = dir.as_ref();
        Self::read(dir, &Files::directory(dir)?, text)
    }

    /// Reads and checks the manifest of a bundle in memory; `files` are names and contents.
    ///
    /// Names are those in the manifest, relative and with `/`. Files that the manifest does not name
    /// are ignored. [`Model::from_bundle`](crate::Model::from_bundle) loads the model and checks the
    /// hashes, as for a bundle in a directory. The bundle and the model keep the contents in memory;
    /// static content is copied only if it is external data.
    ///
    /// # Errors
    /// [`BundleError::ManifestMissing`], and those of [`Bundle::open`] for an invalid manifest or a
    /// missing file. They name the directory `<memory>`.
    ///
    /// # Example
    /// ```
    /// use sllm_ort::{LoadOptions, Model, bundle::Bundle};
    ///
    /// macro_rules! file {
    ///     ($name:literal) => {
    ///         ($name, include_bytes!(concat!("../tests/golden/bundle-svae/", $name)).as_slice())
    ///     };
    /// }
    /// let bundle = Bundle::from_memory([
    ///     file!("sllm.json"),
    ///     file!("tokenizer.json"),
    ///     file!("cpu-int8/encoder.onnx"),
    ///     file!("cpu-int8/decoder.onnx"),
    ///     file!("portable/encoder.onnx"),
    ///     file!("portable/decoder.onnx"),
    /// ])?;
    /// let model = Model::from_bundle(bundle, LoadOptions::default())?;
    /// let vectors = model.encode(&["the cat sat. "])?;
    /// assert_eq!(vectors.nrows(), 1);
    /// # Ok::<(), sllm_ort::Error>(())
    /// ```
    pub fn from_memory<N, B>(files: impl IntoIterator<Item = (N, B)>) -> Result<Self>
    where
        N: Into<String>,
        B: Into<Cow<'static, [u8]>>,
    {
        let files = files.into_iter();
        let files: BTreeMap<String, FileBytes> = files
            .map(|(name, content)| (name.into(), content.into().into()))
            .collect();
        let dir = Path::new(MEMORY);
        let Some(manifest) = files.get(MANIFEST_NAME).cloned() else {
            return Err(Error::Bundle(BundleError::ManifestMissing {
                path: dir.to_owned(),
            }));
        };
        let text = std::str::from_utf8(&manifest).map_err(|error| {
            Error::Text(TextError::NotUtf8 {
                path: dir.join(MANIFEST_NAME),
                byte: error.valid_up_to() as u64,
                line: None,
            })
        })?;
        Self::read(dir, &Files::Memory(files), text)
    }

    fn read(dir: &Path, files: &Files, text: &str) -> Result<Self> {
        let origin = dir.join(MANIFEST_NAME).display().to_string();
        if text.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(Error::FileTooLarge {
                path: dir.join(MANIFEST_NAME),
                bytes: text.len() as u64,
                limit: MAX_MANIFEST_BYTES,
            });
        }
        manifest::read(dir, files, text, &origin)
    }

    /// All files that the manifest names.
    fn files_mut(&mut self) -> impl Iterator<Item = &mut BundleFile> {
        let variants = self.variants.iter_mut();
        let graphs = variants.flat_map(|variant| variant.graphs.values_mut());
        let graph_files = graphs.flat_map(|graph| {
            let data = graph.external_data.iter_mut();
            std::iter::once(&mut graph.file).chain(data)
        });
        let others = std::iter::once(&mut self.tokenizer).chain(&mut self.chat_template);
        others.chain(graph_files)
    }

    /// The variant named `variant`, or else the first one made for the execution provider.
    ///
    /// A named variant is returned even if it was made for other providers, since the caller asked
    /// for it.
    ///
    /// # Errors
    /// [`BundleError::UnknownVariant`] or [`BundleError::NoVariantForProvider`], which list the
    /// available variants.
    pub fn select_variant(&self, provider: &str, variant: Option<&str>) -> Result<&Variant> {
        let origin = || self.dir.join(MANIFEST_NAME).display().to_string();
        let available = || {
            list(
                self.variants
                    .iter()
                    .map(|v| format!("{} ({})", v.name, list(&v.providers))),
            )
        };
        match variant {
            Some(name) => self
                .variants
                .iter()
                .find(|v| v.name == name)
                .ok_or_else(|| {
                    Error::Bundle(BundleError::UnknownVariant {
                        origin: origin(),
                        name: name.to_owned(),
                        available: available(),
                    })
                }),
            None => self
                .variants
                .iter()
                .find(|v| v.providers.iter().any(|p| p == provider))
                .ok_or_else(|| {
                    Error::Bundle(BundleError::NoVariantForProvider {
                        origin: origin(),
                        provider: provider.to_owned(),
                        available: available(),
                    })
                }),
        }
    }

    /// Reads and verifies the chat template; `None` if the model has none.
    ///
    /// # Errors
    /// Those of [`BundleFile::read_verified`], [`TextError::NotUtf8`].
    pub fn read_chat_template(&self) -> Result<Option<String>> {
        let Some(file) = &self.chat_template else {
            return Ok(None);
        };
        let bytes = file.read_verified(MAX_CHAT_TEMPLATE_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            Error::Text(TextError::NotUtf8 {
                path: file.path.clone(),
                byte: error.utf8_error().valid_up_to() as u64,
                line: None,
            })
        })?;
        Ok(Some(text))
    }

    /// Reads, verifies and loads the tokenizer.
    ///
    /// # Errors
    /// Those of [`BundleFile::read_verified`] and [`SentenceTokenizer::from_bytes`].
    pub fn load_tokenizer(&self) -> Result<SentenceTokenizer> {
        let bytes = self.tokenizer.read_verified(MAX_TOKENIZER_BYTES)?;
        SentenceTokenizer::from_bytes(
            &bytes,
            &self.config,
            &self.tokenizer.path.display().to_string(),
        )
    }
}
