//! What the tests with hostile files share: the corpus, and one way to read each sort of file.
#![allow(dead_code)] // Each test file uses what it needs.

#[path = "../edits/mod.rs"]
mod edits;
#[path = "../support/mod.rs"]
pub mod support;
#[path = "../tiny_tokenizer/mod.rs"]
pub mod tiny_tokenizer;

use std::{
    error::Error as _,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use sllm_ort::{
    LoadOptions, Model, Result, Session,
    bundle::Bundle,
    text::{Segmentation, SentenceTokenizer, Tail, TextPipeline, segments},
};
pub use support::{TINY, copy_bundle};

/// No file may take more time of a processor.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Longest message, in bytes.
const MAX_MESSAGE_BYTES: usize = 2000;
/// Sentences of a text that are tokenized, in a build without optimisation; all are cut.
const MOST_SENTENCES: usize = 10_000;
/// Stands for the fingerprint of the model in the sessions of the corpus.
const MODEL_MARK: &str = "@MODEL@";

/// The files of a folder of the corpus by name, in their order.
pub fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/hostile")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("edits.json"))
        .map(|path| (name_of(&path), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The tokenizers of the corpus: whole files, and changes of the tiny one.
pub fn tokenizers() -> Vec<(String, Vec<u8>)> {
    let edits = fs::read("tests/hostile/tokenizer/edits.json").unwrap();
    let base = tiny_tokenizer::json();
    let edited = serde_json::from_slice::<Vec<Value>>(&edits).unwrap();
    let edited = edited.into_iter().map(|edit| {
        let changed = edits::edited(&base, edit["at"].as_str().unwrap(), edit.get("set"));
        let name: String = edit.to_string().chars().take(100).collect();
        (name, changed.to_string().into_bytes())
    });
    corpus("tokenizer").into_iter().chain(edited).collect()
}

/// A copy of the tiny bundle, its model, and room for files.
pub struct Place {
    folder: tempfile::TempDir,
    pub bundle: PathBuf,
    pub model: Model,
    fingerprint: String,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle");
        copy_bundle(TINY, &bundle);
        let model = Model::load(&bundle, LoadOptions::default()).unwrap();
        let fingerprint = model.fingerprint();
        Self {
            folder,
            bundle,
            model,
            fingerprint,
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Open the bundle with this manifest, and all that it describes but the graphs' content.
    pub fn manifest(&self, bytes: &[u8]) -> Result<()> {
        fs::write(self.bundle.join("sllm.json"), bytes).unwrap();
        let bundle = Bundle::open(&self.bundle)?;
        let config = &bundle.config;
        let longest = config.max_sentence_tokens.map(|tokens| tokens - 1);
        let figures = (
            config.parameters(),
            config.kv_bytes(longest)?,
            config.flops(longest)?,
        );
        assert!(!format!("{figures:?}").is_empty());
        bundle.load_tokenizer()?;
        for variant in &bundle.variants {
            for graph in variant.graphs.values() {
                graph.verify_external_data(&graph.read_verified()?)?;
            }
        }
        Ok(())
    }

    /// Load a session file, and use it.
    pub fn session(&self, bytes: &[u8]) -> Result<()> {
        let path = self.file("hostile.session");
        fs::write(&path, self.with_fingerprint(bytes)).unwrap();
        let mut session = Session::load(&self.model, &path)?;
        assert!(session.len() <= self.model.config().max_sentences.unwrap());
        if session.len() < 11 {
            session.append("the cat. ")?;
        }
        Ok(())
    }

    fn with_fingerprint(&self, bytes: &[u8]) -> Vec<u8> {
        let mark = MODEL_MARK.as_bytes();
        match bytes.windows(mark.len()).position(|window| window == mark) {
            Some(at) => [
                &bytes[..at],
                self.fingerprint.as_bytes(),
                &bytes[at + mark.len()..],
            ]
            .concat(),
            None => bytes.to_vec(),
        }
    }

    /// Cut and tokenize a text in each way, as the program reads it: what is not UTF-8 is replaced.
    pub fn text(&self, bytes: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(segments(&text, Tail::Keep).collect::<String>(), text);
        let tiny = tiny_tokenizer::tokenizer();
        let pipeline = TextPipeline::new(tiny, Segmentation::default(), 24)?;
        let mut whole = String::new();
        for sentence in pipeline.sentences(&text)?.take(MOST_SENTENCES) {
            let sentence = sentence?;
            assert!(sentence.ids.len() < 24);
            whole.push_str(sentence.text);
        }
        assert!(text.starts_with(&whole));
        let mut session = self.model.session()?;
        session.append(&text).map(drop)
    }
}

/// Load a tokenizer, and turn some texts into tokens and back.
pub fn tokenizer(bytes: &[u8]) -> Result<()> {
    let config = tiny_tokenizer::config();
    let tokenizer = SentenceTokenizer::from_bytes(bytes, &config, "tokenizer.json")?;
    for text in [
        "",
        "hello wor",
        "a你𝄞 \u{0}e\u{301}</s>",
        &"aaa aaaa".repeat(40),
    ] {
        let ids = tokenizer.encode(text)?;
        tokenizer.decode(&ids)?;
        let mut stream = tokenizer.stream();
        for id in ids.into_iter().chain([0, 1, 2, 269, 271, u32::MAX]) {
            stream.push(id)?;
        }
        stream.finish()?;
    }
    let pipeline = TextPipeline::new(tokenizer, Segmentation::default(), 8)?;
    for sentence in pipeline.sentences("hello wor xyz aaaa 你你你你. b")? {
        sentence?;
    }
    Ok(())
}

/// Time that this thread has computed, which does not depend on what else the machine does.
fn thread_time() -> Duration {
    #[cfg(unix)]
    {
        use rustix::time::{ClockId, clock_gettime};
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            time.tv_nsec.unsigned_abs() as u32,
        )
    }
    #[cfg(not(unix))]
    {
        static START: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        START.elapsed()
    }
}

/// What a reading comes to: `good`, or the line of error. Fails on a panic, on a message that is
/// none, and after [`PATIENCE`].
pub fn outcome(name: &str, read: impl FnOnce() -> Result<()>) -> String {
    let started = thread_time();
    let result =
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| panic!("{name}: panicked"));
    let taken = thread_time() - started;
    assert!(taken < PATIENCE, "{name}: took {taken:?}");
    let Err(error) = result else {
        return "good".into();
    };
    let message = error.to_string();
    assert!(
        !message.is_empty() && !message.contains(char::is_control),
        "{name}: {message:?}"
    );
    assert!(
        message.len() <= MAX_MESSAGE_BYTES,
        "{name}: {} bytes",
        message.len()
    );
    let cause = error
        .source()
        .map(|cause| cause.to_string())
        .unwrap_or_default();
    assert!(
        cause.len() <= MAX_MESSAGE_BYTES,
        "{name}: a cause of {} bytes",
        cause.len()
    );
    message
}
