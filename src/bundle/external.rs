//! Finds the external data that an ONNX graph refers to, without trusting the graph.
//!
//! Only fields that lead to `TensorProto.external_data` are read (their numbers are those of
//! onnx.proto, which never change). This checks a graph before ONNX Runtime opens the files that it
//! names.

use std::{ffi::OsStr, path::Path};

use super::GraphFile;
use crate::error::{BundleError, Error, Result, SHOWN_CHARS, list};
use crate::protobuf::{Content, Fields};

/// Deepest nesting of messages; control flow in control flow needs about eight levels each.
const MAX_DEPTH: usize = 64;
/// Bytes 4 to 8 of a model in ONNX Runtime's own format, which is no protobuf.
const ORT_FORMAT: &[u8] = b"ORTM";

/// The messages on the way to external data.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Function,
    Training,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
    Entry,
}

/// The message that a field holds, if it leads to external data.
fn child(message: Message, field: u64) -> Option<Message> {
    use Message::*;
    Some(match (message, field) {
        (Model, 7) => Graph,
        (Model, 20) => Training,
        (Model, 25) => Function,
        (Training, 1 | 2) => Graph,
        (Function, 7) | (Graph, 1) => Node,
        // A function's default attributes.
        (Function, 11) | (Node, 5) => Attribute,
        (Graph, 5) => Tensor,
        (Graph, 15) => SparseTensor,
        (Attribute, 5 | 10) => Tensor,
        (Attribute, 6 | 11) => Graph,
        (Attribute, 22 | 23) => SparseTensor,
        (SparseTensor, 1 | 2) => Tensor,
        (Tensor, 13) => Entry,
        _ => return None,
    })
}

/// Checks that `bytes`, the content of `graph`, names no file that is not listed as its external
/// data.
pub(super) fn check_references(graph: &GraphFile, bytes: &[u8]) -> Result<()> {
    // References are relative to the graph's directory, names in the manifest to the bundle's.
    let dir = dir_of(&graph.file.name);
    let is_listed = |location: &[u8]| {
        std::str::from_utf8(location).is_ok_and(|location| {
            let name = format!("{dir}{location}");
            // Where ONNX Runtime looks: a link to the graph must not lead it to another file.
            let opened = graph.file.path.with_file_name(location);
            graph.external_data.iter().any(|file| {
                let same = || opened.canonicalize().is_ok_and(|path| path == file.path);
                file.name == name && (opened == file.path || same())
            })
        })
    };
    let mut walker = Walker {
        path: &graph.file.path,
        start: bytes,
        unlisted: None,
        is_listed: &is_listed,
    };
    if bytes.get(4..8) == Some(ORT_FORMAT) || graph.file.path.extension().is_some_and(is_ort) {
        return Err(walker.malformed("a model in ONNX Runtime's own format", bytes));
    }
    walker.message(Message::Model, bytes, 0)?;
    match walker.unlisted {
        None => Ok(()),
        Some(location) => Err(Error::Bundle(BundleError::UnlistedExternalData {
            path: graph.file.path.clone(),
            location: String::from_utf8_lossy(location)
                .chars()
                .take(SHOWN_CHARS)
                .collect(),
            listed: list(graph.external_data.iter().map(|file| &file.name)),
        })),
    }
}

/// What the name of a graph begins with up to its last `/`.
pub(super) fn dir_of(name: &str) -> &str {
    name.rfind('/').map_or("", |slash| &name[..=slash])
}

fn is_ort(extension: &OsStr) -> bool {
    extension.eq_ignore_ascii_case("ort")
}

struct Walker<'a> {
    path: &'a Path,
    start: &'a [u8],
    is_listed: &'a dyn Fn(&[u8]) -> bool,
    /// The first reference that is not listed.
    unlisted: Option<&'a [u8]>,
}

impl<'a> Walker<'a> {
    fn message(&mut self, message: Message, bytes: &'a [u8], depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.malformed("messages nested too deeply", bytes));
        }
        let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
        for field in Fields::new(bytes) {
            let field = field.map_err(|found| self.malformed(found.problem, found.rest))?;
            let Content::Bytes(content) = field.content else {
                continue;
            };
            match (message, field.number) {
                (Message::Entry, 1) => key = content,
                (Message::Entry, 2) => value = content,
                _ => {
                    if let Some(inner) = child(message, field.number) {
                        self.message(inner, content, depth + 1)?;
                    }
                }
            }
        }
        if matches!(message, Message::Entry) && key == b"location" && !(self.is_listed)(value) {
            self.unlisted.get_or_insert(value);
        }
        Ok(())
    }

    fn malformed(&self, problem: &'static str, rest: &[u8]) -> Error {
        // `rest` lies in `start`, so that the difference of their addresses is the offset.
        let offset = (rest.as_ptr() as usize).saturating_sub(self.start.as_ptr() as usize);
        Error::Bundle(BundleError::MalformedGraph {
            path: self.path.to_owned(),
            problem,
            offset,
        })
    }
}
