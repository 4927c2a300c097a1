//! The one error type of the library.

mod caught;
mod kind;
mod schema;

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::kind::ModelKind;
pub(crate) use caught::caught;
pub use caught::panic_is_caught;
pub use kind::ErrorKind;
pub use schema::SchemaProblem;
pub(crate) use schema::{Problems, SHOWN_CHARS, shown};

/// Most problems of a graph or a JSON file that a message lists.
const SHOWN_PROBLEMS: usize = 12;
/// Length in bytes from which on further problems are only counted.
const SHOWN_PROBLEMS_BYTES: usize = 1200;
/// Longest message of a parser that is repeated, in characters.
const SHOWN_MESSAGE_CHARS: usize = 300;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of another library, kept as the source of one of ours.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong, with what was expected and what was found.
///
/// The message of a variant is one line that says what failed, where, and what to do. A lower cause
/// is in [`source`](std::error::Error::source) and not repeated in the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("cannot read {}: check that it exists and is readable", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is larger than anything of its sort should be.
    #[error("{} has {bytes} bytes, at most {limit} are allowed: it is not the file it should be, export the bundle again", .path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, or the number of bytes read when reading stopped.
        bytes: u64,
        /// The largest size that is accepted.
        limit: u64,
    },

    /// A text is not JSON.
    #[error(
        "{origin}: line {line}, column {column}: not valid JSON: correct it there, or export the bundle again"
    )]
    Json {
        /// The file that the text came from.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A configuration or manifest does not follow its schema.
    #[error("{origin}: {}", first_of(.problems))]
    Schema {
        /// The file.
        origin: String,
        /// All that is wrong; at least one problem.
        problems: Vec<SchemaProblem>,
    },

    /// An operation needs a part that models of this kind lack.
    #[error("model {model} is of kind {kind} and has no {part}: use a model of kind {usable}")]
    WrongKind {
        /// Name of the model.
        model: String,
        /// Its kind.
        kind: ModelKind,
        /// The part that is missing.
        part: &'static str,
        /// The kinds that have it.
        usable: &'static str,
    },

    /// The path given as a bundle leads nowhere.
    #[error("bundle {} does not exist: give the directory that holds sllm.json", .path.display())]
    BundleNotFound {
        /// The path.
        path: PathBuf,
    },
    /// The path given as a bundle is a file.
    #[error("bundle {} is not a directory: give the directory that holds sllm.json", .path.display())]
    BundleNotDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory has no manifest.
    #[error("{} holds no sllm.json and so is not a bundle: give a bundle's directory, or make one with `python -m sllm_export bundle`", .path.display())]
    ManifestMissing {
        /// The directory.
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
        /// The version that is read here.
        supported: u64,
    },
    /// A file of the bundle is absent, or is not a regular file.
    #[error("{}, named in the manifest, is not a regular file: the bundle is incomplete, copy or export it again", .path.display())]
    BundleFile {
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
    /// A file's content is not what the manifest promises.
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
        /// What does not fit, with both figures.
        problem: String,
    },
    /// The tokenizer failed on a text.
    #[error("cannot tokenize a text of {bytes} bytes")]
    Encode {
        /// Length of the text.
        bytes: usize,
        /// What the tokenizer library said.
        source: BoxedError,
    },
    /// The tokenizer has no token for a character, nor for the bytes of it.
    #[error("the tokenizer of this model does not know {character:?}: remove it from the text")]
    UnknownCharacter {
        /// The character.
        character: char,
    },
    /// The tokenizer failed on token ids.
    #[error("cannot turn {tokens} token ids into text")]
    Decode {
        /// How many there were.
        tokens: usize,
        /// What the tokenizer library said.
        source: BoxedError,
    },
    /// A text is longer than is accepted at once.
    #[error("the text has {bytes} bytes, at most {limit} are allowed: give it in parts")]
    TextTooLarge {
        /// Length of the text.
        bytes: usize,
        /// The longest that is accepted.
        limit: usize,
    },
    /// A limit on sentences that leaves room for nothing.
    #[error(
        "a sentence of at most {found} tokens, bos included, can hold nothing: at least 2 are needed"
    )]
    SentenceLimit {
        /// The limit given.
        found: usize,
    },
    /// One character alone needs more tokens than a sentence may have.
    #[error(
        "character {character:?} needs {tokens} tokens, a sentence of this model has room for {limit}: remove it from the text"
    )]
    CharacterTooLong {
        /// The character.
        character: char,
        /// The tokens it needs, without bos.
        tokens: usize,
        /// The room in a sentence, without bos.
        limit: usize,
    },

    /// ONNX Runtime is not installed where it is looked for.
    #[error("ONNX Runtime cannot be loaded ({}): install it with `python3 -m pip install onnxruntime`, or name the library or its folder (ORT_DYLIB_PATH)", .attempts.join("; "))]
    RuntimeNotFound {
        /// Each place with what was wrong there.
        attempts: Vec<String>,
    },
    /// Another ONNX Runtime than the one that this process runs on is asked for.
    #[error("ONNX Runtime is already loaded from {}, a process cannot also use {}: load all models with the same library", .loaded.display(), .requested.display())]
    RuntimeConflict {
        /// The library in use.
        loaded: PathBuf,
        /// The one asked for.
        requested: PathBuf,
    },
    /// The loaded ONNX Runtime was built without an execution provider.
    #[error(
        "the ONNX Runtime in use has no execution provider {provider:?}{}: use a build of it that has, such as onnxruntime-gpu for cuda, or another provider",
        missing_file(.missing.as_deref())
    )]
    ProviderMissing {
        /// The execution provider.
        provider: &'static str,
        /// The provider's own library, where it should be and is not.
        missing: Option<PathBuf>,
    },
    /// An execution provider that the loaded ONNX Runtime has could not be started.
    #[error(
        "execution provider {provider:?} cannot start: {problem}: install what is missing, or use another provider"
    )]
    ProviderStart {
        /// The execution provider.
        provider: &'static str,
        /// The file that is missing, if it is known that one is.
        problem: String,
        /// What ONNX Runtime said.
        source: BoxedError,
    },
    /// ONNX Runtime refused a graph.
    #[error("{}: cannot be loaded with execution provider {provider:?}", .path.display())]
    GraphLoad {
        /// The graph.
        path: PathBuf,
        /// The execution provider.
        provider: &'static str,
        /// What ONNX Runtime said.
        source: BoxedError,
    },
    /// A graph has other inputs, outputs or metadata than its role asks for.
    #[error("{}: the graph does not have the expected signature: {}: export the bundle again", .path.display(), first_of(.problems))]
    GraphSignature {
        /// The graph.
        path: PathBuf,
        /// All that differs, each as expected and as found.
        problems: Vec<String>,
    },
    /// A graph failed while it ran.
    #[error("{}: the run failed", .path.display())]
    GraphRun {
        /// The graph.
        path: PathBuf,
        /// What ONNX Runtime said.
        source: BoxedError,
    },
    /// A graph's output has NaN or infinity in it.
    #[error("{}: output {output} is not finite: the weights are damaged, or the precision is too low for them, try another variant", .path.display())]
    NotFinite {
        /// The graph.
        path: PathBuf,
        /// The output.
        output: &'static str,
    },
    /// More positions than a cache may hold.
    #[error("a cache for {limit} positions cannot take {positions}")]
    CacheFull {
        /// Positions that it would hold.
        positions: usize,
        /// Positions that it may hold.
        limit: usize,
    },

    /// A text that shall be one sentence is too long to be one.
    #[error(
        "a text of {bytes} bytes has more than the {limit} tokens that a sentence of this model may have: cut it into sentences first"
    )]
    SentenceTooLong {
        /// Length of the text.
        bytes: usize,
        /// Most tokens, without bos.
        limit: usize,
    },
    /// A vector is not a sentence vector of this model.
    #[error(
        "a vector of {found} numbers is no sentence vector of this model, which have {expected}"
    )]
    VectorSize {
        /// Its length.
        found: usize,
        /// The model's hidden size.
        expected: usize,
    },
    /// A vector that was handed in has NaN or infinity in it.
    #[error("vector {row} has a number that is not finite: correct it before it is decoded")]
    VectorNotFinite {
        /// The index of the vector, from 0.
        row: usize,
    },
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A context of a batch could not be continued.
    #[error("context {row} of the batch: {source}")]
    BatchRow {
        /// The index of the context, from 0.
        row: usize,
        /// What went wrong.
        source: Box<Error>,
    },
    /// A run that several contexts had in common failed: each of them has this error.
    #[error(transparent)]
    Shared(Arc<Error>),
    /// A continuation without anything to continue.
    #[error("there is nothing to continue: give a prompt of at least one sentence")]
    EmptyContext,
    /// Contexts of different models were to go on together.
    #[error("the sessions of a batch belong to several models: give those of one")]
    MixedModels,
    /// The text does not fit into the context.
    #[error(
        "the text has more {unit} than fit: the context holds {held} of at most {limit}: shorten the text"
    )]
    ContextFull {
        /// `sentences`, or `tokens` for a model of kind `opt`.
        unit: &'static str,
        /// How many the context holds.
        held: usize,
        /// How many it may hold.
        limit: usize,
    },
    /// An option is out of its range.
    #[error("{option} is {value}, allowed is {allowed}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// The value given.
        value: String,
        /// What it may be.
        allowed: String,
    },

    /// A file could not be written.
    #[error("cannot write {}: check that its folder exists, and that folder and file are writable", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is not a saved session.
    #[error("{}: not a session of this program: {problem}", .path.display())]
    SessionFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A context cannot be written as a snapshot.
    #[error("cannot write the session: {problem}")]
    Snapshot {
        /// What is wrong.
        problem: String,
    },
    /// A saved session belongs to another model.
    #[error("{}: was saved with another model than {model}: load it with the bundle that it was saved with", .path.display())]
    SessionModel {
        /// The file.
        path: PathBuf,
        /// The model in use.
        model: String,
    },

    /// A text file is not UTF-8.
    #[error("{}: not UTF-8 text at byte {byte}{}: convert it to UTF-8 first", .path.display(), on_line(*line))]
    NotText {
        /// The file.
        path: PathBuf,
        /// Bytes in front of what is not UTF-8.
        byte: u64,
        /// Its line, from 1, if the file could be read again to count.
        line: Option<u64>,
    },
    /// A text file has nothing to work on.
    #[error("{}: holds no sentence: give a file with text", .path.display())]
    NoSentences {
        /// The file.
        path: PathBuf,
    },
    /// A part of a text file is nothing for the model.
    #[error("{}: the text at byte {byte} cannot be used", .path.display())]
    UnusableText {
        /// The file.
        path: PathBuf,
        /// Where the sentence begins.
        byte: u64,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// A file is not a saved evaluation.
    #[error("{}: not the state of an evaluation: {problem}: name another file, or remove it to begin anew", .path.display())]
    EvalState {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A saved evaluation is of another model, text or option.
    #[error("{}: is of an evaluation with another {what} ({found}, not {expected}): name another file, or remove it to begin anew", .path.display())]
    EvalStateMismatch {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the file has.
        found: String,
        /// What this evaluation has.
        expected: String,
    },
}

/// Which file is not there, for a message.
fn missing_file(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| {
        format!(" ({} is missing)", path.display())
    })
}

/// Where in a text, for a message.
fn on_line(line: Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(" (line {line})"))
}

/// The first problems for a message; a signature of thousands of inputs may differ in each.
fn first_of(problems: &[impl Display]) -> String {
    let mut text = String::new();
    for (index, problem) in problems.iter().enumerate() {
        if index == SHOWN_PROBLEMS || text.len() > SHOWN_PROBLEMS_BYTES {
            return format!("{text}; and {} more", problems.len() - index);
        }
        let separator = if index == 0 { "" } else { "; " };
        text.push_str(&format!("{separator}{problem}"));
    }
    text
}

/// What a parser said, on one line and shortened: it may repeat any part of a hostile file.
pub(crate) fn one_line(message: &impl Display) -> String {
    let text = message.to_string();
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN_MESSAGE_CHARS)
        .collect();
    match text.chars().nth(SHOWN_MESSAGE_CHARS) {
        None => clean,
        Some(_) => format!("{clean}..."),
    }
}

/// A list for a message: `a, b, c`, or `none`.
pub(crate) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let text = items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    if text.is_empty() {
        "none".to_owned()
    } else {
        text
    }
}
