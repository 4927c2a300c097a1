//! A bundle in a temporary directory, and graphs made in code.

use std::{fs, path::Path};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sllm_ort::{Error, bundle::Bundle};
use tempfile::TempDir;

use crate::tiny_tokenizer;

/// A bundle in a temporary directory: a tokenizer, a graph with external data, and one without.
pub struct Fixture {
    dir: TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("cpu/data")).unwrap();
        let fixture = Self { dir };
        fixture.put(
            "tokenizer.json",
            tiny_tokenizer::json().to_string().as_bytes(),
        );
        fixture.put(
            "cpu/encoder.onnx",
            &graph_with_data(&[7, 5], "encoder.data"),
        );
        fixture.put("cpu/decoder.onnx", b"");
        fixture.put("cpu/encoder.data", b"weights");
        fixture.write(&fixture.manifest());
        fixture
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.path().join(name), content).unwrap();
    }

    pub fn write(&self, manifest: &Value) {
        self.put("sllm.json", manifest.to_string().as_bytes());
    }

    /// A file of the manifest with its hash.
    pub fn entry(&self, name: &str) -> Value {
        json!({"file": name, "sha256": hash(&fs::read(self.path().join(name)).unwrap())})
    }

    pub fn manifest(&self) -> Value {
        let mut encoder = self.entry("cpu/encoder.onnx");
        encoder["external_data"] = json!([self.entry("cpu/encoder.data")]);
        let graphs = json!({"encoder": encoder, "decoder": self.entry("cpu/decoder.onnx")});
        json!({
            "format_version": 1,
            "model": tiny_tokenizer::config_json(),
            "segmentation": {"tail": "drop", "long_sentence": "truncate"},
            "tokenizer": self.entry("tokenizer.json"),
            "variants": [
                {"name": "int8", "precision": "int8", "providers": ["cpu"], "graphs": graphs.clone()},
                {"name": "portable", "precision": "fp32", "providers": ["cpu", "cuda"], "graphs": graphs},
            ],
            "provenance": {"checkpoint": "none"}
        })
    }

    pub fn open(&self) -> sllm_ort::Result<Bundle> {
        Bundle::open(self.path())
    }

    /// The error of a manifest, with the names of this machine taken out.
    pub fn refusal(&self, text: &str) -> (String, Error) {
        self.put("sllm.json", text.as_bytes());
        let error = self.open().unwrap_err();
        let canonical = self.path().canonicalize().unwrap();
        let message = error.to_string();
        let message = message.replace(canonical.to_str().unwrap(), "DIR");
        (message.replace(self.path().to_str().unwrap(), "DIR"), error)
    }
}

/// A protobuf field that holds a message or a string.
pub fn field(number: u8, content: &[u8]) -> Vec<u8> {
    // Tag and length take a second byte above 15 and 127.
    let tag = u16::from(number) << 3 | 2;
    let varint = |n: u16| match n {
        0..128 => vec![n as u8],
        _ => vec![n as u8 | 0x80, (n >> 7) as u8],
    };
    [varint(tag), varint(content.len() as u16), content.to_vec()].concat()
}

/// An ONNX model with one weight in a file; `path` are the fields that lead to the weight.
pub fn graph_with_data(path: &[u8], location: &str) -> Vec<u8> {
    let entry = [field(1, b"location"), field(2, location.as_bytes())].concat();
    let tensor = [vec![0x70, 1], field(8, b"weight"), field(13, &entry)].concat();
    path.iter()
        .rev()
        .fold(tensor, |inner, &number| field(number, &inner))
}

pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
