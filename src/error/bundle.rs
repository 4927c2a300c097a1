//! What is wrong with a bundle, or with a choice among its variants.

use std::{io, path::PathBuf};

use super::BoxedError;

/// What is wrong with a bundle, or with a choice among its variants.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The path given as a bundle does not exist.
    #[error("bundle {} does not exist: give the directory that holds sllm.json", .path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The path given as a bundle is a file.
    #[error("bundle {} is not a directory: give the directory that holds sllm.json", .path.display())]
    NotDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory has no manifest.
    #[error("{} holds no sllm.json and so is not a bundle: give a bundle's directory, or make one with `python -m sllm_export bundle`", .path.display())]
    ManifestMissing {
        /// The directory.
        path: PathBuf,
    },
    /// The manifest is not a regular file.
    #[error("{} is not a regular file, but a folder, a pipe or a device: put the manifest there, or copy or export the bundle again", .path.display())]
    ManifestNotFile {
        /// The path of the manifest.
        path: PathBuf,
    },
    /// The manifest, or a file that it names, is a symbolic link that leads out of the bundle.
    #[error("{} is a symbolic link to {}, outside of the bundle: put the file itself there", .path.display(), .target.display())]
    FileOutside {
        /// The link.
        path: PathBuf,
        /// Where the link leads.
        target: PathBuf,
    },
    /// The manifest is of another format version.
    #[error(
        "{origin}: format_version is {found}, this program reads {supported}: export the bundle again, or use the program's version that made it"
    )]
    FormatVersion {
        /// The manifest.
        origin: String,
        /// The version it states.
        found: u64,
        /// The version that this crate reads.
        supported: u64,
    },
    /// A file of the bundle is absent, or is not a regular file.
    #[error("{}, named in the manifest, is not a regular file: the bundle is incomplete, copy or export it again", .path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said, if it said anything.
        source: Option<io::Error>,
    },
    /// A Git LFS pointer stands in place of a file.
    #[error("{} is a Git LFS pointer, not the file itself: fetch it with \"git lfs pull\"", .path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// A file's content does not have the hash in the manifest.
    #[error("{}: sha256 is {found}, expected {expected}: the file was cut short or changed, copy or export the bundle again", .path.display())]
    HashMismatch {
        /// The file.
        path: PathBuf,
        /// The hash in the manifest, in hexadecimal.
        expected: String,
        /// The hash of the content.
        found: String,
    },
    /// A graph is not an ONNX file.
    #[error("{}: not an ONNX graph ({problem} at byte {offset}): export the bundle again", .path.display())]
    MalformedGraph {
        /// The graph.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
        /// Where, in bytes from the start.
        offset: usize,
    },
    /// A graph refers to a weights file that the manifest does not list for it.
    #[error("{}: reads weights from {location:?}, which the manifest does not list; listed: {listed}: export the bundle again", .path.display())]
    UnlistedExternalData {
        /// The graph.
        path: PathBuf,
        /// The reference in the graph.
        location: String,
        /// The references that are allowed.
        listed: String,
    },
    /// No variant has the name asked for.
    #[error("{origin}: no variant {name:?}, available: {available}")]
    UnknownVariant {
        /// The manifest.
        origin: String,
        /// The name asked for.
        name: String,
        /// Each variant with its providers.
        available: String,
    },
    /// No variant is made for the execution provider.
    #[error(
        "{origin}: no variant for execution provider {provider:?}, available: {available}: choose one of these providers, or name a variant"
    )]
    NoVariantForProvider {
        /// The manifest.
        origin: String,
        /// The execution provider.
        provider: String,
        /// Each variant with its providers.
        available: String,
    },
    /// A variant lacks a graph.
    #[error("variant {variant:?} has no graph {graph:?}, it has {available}")]
    NoGraph {
        /// The variant.
        variant: String,
        /// The graph asked for.
        graph: &'static str,
        /// The graphs that are there.
        available: String,
    },
    /// The tokenizer file could not be understood.
    #[error("{origin}: not a tokenizer.json that can be used: export the bundle again")]
    TokenizerLoad {
        /// The file.
        origin: String,
        /// What the tokenizer library said.
        source: BoxedError,
    },
    /// The tokenizer and the model do not belong together.
    #[error(
        "{origin}: {problem}: the tokenizer does not belong to this model, export the bundle again"
    )]
    TokenizerMismatch {
        /// The tokenizer's file.
        origin: String,
        /// What does not match, with both values.
        problem: String,
    },
}
