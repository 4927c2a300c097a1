//! Statistics of a text file: the library's figures, and the command.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use sllm_ort::{
    Error, Result,
    bundle::Bundle,
    error::TextError,
    stats::{TextStats, text_stats, text_stats_with},
    text::TextPipeline,
};
use support::{TINY, TINY_ORIGINAL, copy_bundle, edit_manifest, failure, json_lines, program};
use tempfile::TempDir;

const TINY_OPT: &str = "tests/golden/bundle-opt";
/// 27 characters of the tiny tokenizer, most of them a token each; a sentence has room for 23.
const LONG: &str = "the hat bad cat fed big dog";

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn count(bundle: &str, text: &Path) -> Result<TextStats> {
    text_stats(&Bundle::open(bundle).unwrap(), text, |_| ())
}

/// Tokens of a text as one piece, however long.
fn tokens(bundle: &str, text: &str) -> u64 {
    let tokenizer = Bundle::open(bundle).unwrap().load_tokenizer().unwrap();
    tokenizer.encode(text).unwrap().len() as u64
}

/// `Hello, ` is `H e l lo , ␣`, and the white space around a record does not count.
#[test]
fn counted_by_hand() {
    let folder = Folder::new();
    let text = " Hello, Hello, \n<|endoftext|>\n\n<|endoftext|>\nHello, é\n";
    let mut found = count(TINY, &folder.file("text", text)).unwrap();
    assert_eq!((found.records, found.sentences), (2, 4));
    assert_eq!(found.tokens, 6 + 5 + 6 + 2);
    assert_eq!((found.bytes, found.characters), (13 + 9, 13 + 8));
    assert_eq!(found.bytes_per_token, 22.0 / 19.0);
    let lengths: Vec<_> = found
        .sentences_by_length
        .iter()
        .map(|one| (one.tokens, one.sentences))
        .collect();
    assert_eq!(lengths, [(2, 1), (5, 1), (6, 2)]);
    let summary = found.tokens_per_sentence;
    assert_eq!((summary.mean, summary.median, summary.p90), (4.75, 5, 6));
    let summary = found.sentences_per_record;
    assert_eq!((summary.mean, summary.median, summary.max), (2.0, 2, 2));
    let left_out = [
        found.truncated_sentences,
        found.dropped_tails,
        found.dropped_bytes,
    ];
    assert_eq!((found.split_sentences, left_out), (0, [0; 3]));

    // Six tokens of `Hello, ` thrice, but for one space; and the two bytes of `é`.
    let vocabulary = &mut found.vocabulary;
    assert_eq!((vocabulary.size, vocabulary.used), (64, 8));
    assert_eq!(vocabulary.ids_for_99_percent, 8);
    let counts: Vec<_> = vocabulary
        .most_frequent
        .iter()
        .map(|token| (token.id, token.text.as_str(), token.count))
        .collect();
    assert_eq!(
        counts,
        [
            (8, "e", 3),
            (18, "o", 3),
            (30, "H", 3),
            (35, ",", 3),
            (55, "ll", 3),
            (42, " ", 2),
            (47, "\u{fffd}", 1),
            (48, "\u{fffd}", 1)
        ]
    );
    assert_eq!(vocabulary.most_frequent[0].share, 3.0 / 19.0);
}

#[test]
fn long_sentences_and_tails_are_told() {
    let folder = Folder::new();
    let text = format!("Hello, {LONG}. the end");
    let file = folder.file("text", &text);

    let split = count(TINY, &file).unwrap();
    assert_eq!((split.split_sentences, split.truncated_sentences), (1, 0));
    assert_eq!((split.dropped_tails, split.dropped_bytes), (0, 0));
    assert_eq!((split.sentences, split.bytes), (4, text.len() as u64));
    assert_eq!(split.max_sentence_tokens, Some(24));
    assert!(split.tokens_per_sentence.max <= 23);

    let cut = count(TINY_ORIGINAL, &file).unwrap();
    assert_eq!((cut.split_sentences, cut.truncated_sentences), (0, 1));
    assert_eq!((cut.sentences, cut.dropped_tails), (2, 1));
    assert_eq!(cut.tokens_per_sentence.max, 23);
    assert_eq!(cut.bytes + cut.dropped_bytes, text.len() as u64);
    assert!(cut.dropped_bytes > "the end".len() as u64);

    // Nothing limits a sentence of a token-level model.
    let opt = count(TINY_OPT, &file).unwrap();
    assert_eq!((opt.sentences, opt.max_sentence_tokens), (3, None));
    assert_eq!((opt.split_sentences, opt.truncated_sentences), (0, 0));
    let longest = tokens(TINY_OPT, &format!("{LONG}. "));
    assert_eq!(opt.tokens_per_sentence.max, longest);
    assert!(longest > 23);
}

/// Sentences are those of the bundle's own rule, and their tokens what its model sees.
#[test]
fn sentences_are_cut_by_the_rule_of_the_bundle() {
    let folder = Folder::new();
    let text =
        "Dr. Smith paid 3.50 for a cat, a dog and a bird at 10:30.\nSo?  Mr. Fox\u{200b} ran";
    let file = folder.file("text", text);
    let bundle = Bundle::open("models/sllm-stories").unwrap();
    let tokenizer = bundle.load_tokenizer().unwrap();
    let limit = bundle.config.require_max_sentence_tokens().unwrap();
    let pipeline = TextPipeline::new(tokenizer, bundle.segmentation, limit).unwrap();
    let sentences: Vec<_> = pipeline
        .sentences(text)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let tokens: usize = sentences.iter().map(|sentence| sentence.ids.len()).sum();
    let found = text_stats(&bundle, &file, |_| ()).unwrap();
    assert_eq!(found.sentences, sentences.len() as u64);
    assert_eq!(found.tokens, tokens as u64);
    assert_eq!((found.sentences, found.split_sentences), (4, 0));
    assert_eq!(found.bytes, text.len() as u64);
}

/// A text that is read in several pieces has the sentences that the pipeline finds in it.
#[test]
fn a_long_text_has_the_sentences_of_its_records() {
    let folder = Folder::new();
    let record = format!("Hello, the cat sat on the hill. {LONG}! and then? ").repeat(4500);
    let records = [&record, "one. ", "Hello, Hello"].map(str::trim_end);
    let file = folder.file("text", records.join("\n<|endoftext|>\n"));
    assert!(fs::metadata(&file).unwrap().len() > 256 << 10);
    let bundle = Bundle::open(TINY).unwrap();
    let mut places = Vec::new();
    let found = text_stats(&bundle, &file, |bytes| places.push(bytes)).unwrap();

    let tokenizer = bundle.load_tokenizer().unwrap();
    let pipeline = TextPipeline::new(tokenizer, bundle.segmentation, 24).unwrap();
    let (mut sentences, mut tokens) = (0, 0);
    for record in records {
        for sentence in pipeline.sentences(record).unwrap() {
            sentences += 1;
            tokens += sentence.unwrap().ids.len() as u64;
        }
    }
    assert_eq!((found.sentences, found.tokens), (sentences, tokens));
    assert_eq!((found.records, found.split_sentences), (3, 4500));
    assert!(places.is_sorted());
    assert_eq!(places.last(), Some(&fs::metadata(&file).unwrap().len()));
    let bins = found.histogram(8);
    assert!(bins.len() <= 8);
    let binned: u64 = bins.iter().map(|bin| bin.sentences).sum();
    assert_eq!(binned, sentences);
}

#[test]
fn what_is_no_text_is_an_error() {
    let folder = Folder::new();
    for nothing in ["", " \n\t\n", "<|endoftext|>\n\n"] {
        let found = count(TINY, &folder.file("text", nothing));
        assert!(
            matches!(found, Err(Error::Text(TextError::NoSentences { .. }))),
            "{found:?}"
        );
    }
    // The original drops the text after the last mark: here, all of it.
    let found = count(TINY_ORIGINAL, &folder.file("text", "Hello"));
    assert!(
        matches!(found, Err(Error::Text(TextError::NoSentences { .. }))),
        "{found:?}"
    );
    // A model with room for one token in a sentence, and a character that needs two.
    let short = folder.path("short");
    copy_bundle(TINY, &short);
    edit_manifest(&short, |manifest| {
        manifest["model"]["max_sentence_tokens"] = 2.into()
    });
    match count(short.to_str().unwrap(), &folder.file("text", "a, \naé.")) {
        Err(Error::Text(TextError::Unusable { byte, source, .. })) => {
            assert_eq!(byte, 5);
            assert!(matches!(
                *source,
                Error::Text(TextError::CharacterTooLong { .. })
            ));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_prints_json_or_a_histogram() {
    let folder = Folder::new();
    let file = folder.file("text", format!("Hello, Hello, Hello; {LONG}."));
    let mut command = program();
    command
        .args(["stats", "--model", TINY, "--text"])
        .arg(&file);
    let lines = json_lines(&mut command);
    let expected = serde_json::to_value(count(TINY, &file).unwrap()).unwrap();
    assert_eq!(lines, std::slice::from_ref(&expected));
    let keys: Vec<_> = expected.as_object().unwrap().keys().collect();
    assert_eq!(keys[..4], ["model", "text", "records", "sentences"]);
    let by_length = expected["sentences_by_length"].as_array().unwrap();
    assert!(by_length.contains(&json!({"tokens": 6, "sentences": 3})));

    let mut command = program();
    command
        .args(["stats", "--model", TINY, "--text"])
        .arg(&file);
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |start: &str| -> Vec<&str> {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(start));
        line.unwrap().split_whitespace().collect()
    };
    assert_eq!(row("6 "), ["6", "3", &"█".repeat(40)]);
    assert_eq!(row("1 "), ["1", "0"]);
    assert!(
        text.contains("1 split, 0 cut short, of at most 24 tokens"),
        "{text}"
    );
}

#[test]
fn the_drawing_is_written_whole_or_not_at_all() {
    let folder = Folder::new();
    let file = folder.file("text", "Hello, Hello, the end.");
    let draw = |svg: &Path| {
        let mut command = program();
        command
            .args(["stats", "--model", TINY, "--text"])
            .arg(&file);
        command.arg("--svg").arg(svg).output().unwrap()
    };
    let svg = folder.path("lengths.svg");
    let output = draw(&svg);
    assert!(output.status.success());
    let drawing = fs::read_to_string(&svg).unwrap();
    assert!(drawing.starts_with("<svg") && drawing.trim_end().ends_with("</svg>"));
    assert!(drawing.contains("3 sentences as tiny-causal sees them"));

    fs::create_dir(folder.path("taken")).unwrap();
    let before = folder.names();
    for unwritable in ["absent/lengths.svg", "taken"] {
        let output = draw(&folder.path(unwritable));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("cannot write") && error.lines().count() == 1,
            "{error}"
        );
        assert_eq!(folder.names(), before);
        // Nothing is counted for a drawing that cannot be written.
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_command_fails_with_one_line() {
    let folder = Folder::new();
    let rows: [(Option<&[u8]>, &str); 6] = [
        (None, "cannot read"),
        (Some(b""), "holds no sentence"),
        (Some(b" \n"), "holds no sentence"),
        (Some(b"One. \n \xc3("), "not UTF-8 text at byte 7 (line 2)"),
        (Some(b"One. \n\n\0"), "NUL character at byte 7 (line 3)"),
        (Some("\u{200b} \u{ad}".as_bytes()), "holds no sentence"),
    ];
    for (text, expected) in rows {
        let file = match text {
            Some(text) => folder.file("text", text),
            None => folder.path("absent"),
        };
        let svg = folder.path("lengths.svg");
        let mut command = program();
        command
            .args(["stats", "--model", TINY, "--text"])
            .arg(&file);
        let line = failure(command.arg("--svg").arg(&svg));
        assert!(line.contains(expected), "{line}");
        assert!(!svg.exists());
    }
    program().args(["stats", "--model", TINY]).assert().code(2);
}

/// One tokenizer serves several files.
#[test]
fn a_loaded_tokenizer_counts_the_same() {
    let folder = Folder::new();
    let bundle = Bundle::open(TINY).unwrap();
    let tokenizer = bundle.load_tokenizer().unwrap();
    for text in ["Hello, the cat. ", LONG, "One.\r\n<|endoftext|>\r\nSo."] {
        let file = folder.file("text.txt", text);
        let found = text_stats_with(&bundle, &tokenizer, &file, |_| ()).unwrap();
        let expected = text_stats(&bundle, &file, |_| ()).unwrap();
        assert_eq!(json!(found), json!(expected), "{text}");
    }
}
