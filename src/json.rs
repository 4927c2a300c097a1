//! Reading JSON into structs, with errors that name the key, its value, and what is allowed.

mod strict;
mod unique_keys;

use std::fmt;

use serde::de::{DeserializeOwned, Visitor};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::{
    error::{BundleError, Error, Result, SchemaProblem, shown},
    fs::is_lfs_pointer,
};
use strict::{Mismatch, Strict};

/// Longest path of a key in a message, in characters.
const SHOWN_PATH_CHARS: usize = 160;

/// Parses `text`, in which no object may have a key twice. A byte order mark in front of it is left
/// out.
pub(crate) fn parse(text: &str, origin: &str) -> Result<Value> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value =
        serde_json::from_str(text).map_err(|source| json_error(source, text.as_bytes(), origin))?;
    unique_keys::check(text).map_err(|path| {
        schema_error(
            SchemaProblem::DuplicateKey {
                key: shown_path(&path),
            },
            origin,
        )
    })?;
    Ok(value)
}

/// Reads a `T` from a value.
pub(crate) fn from_value<T: DeserializeOwned>(value: &Value, origin: &str) -> Result<T> {
    deserialize(value).map_err(|problem| schema_error(problem, origin))
}

/// Reads a string; the error for another value says what is allowed.
pub(crate) struct StringVisitor(pub &'static str);

impl Visitor<'_> for StringVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// The error for a content that is not JSON: a parser's error with its place.
pub(crate) fn json_error(source: serde_json::Error, content: &[u8], origin: &str) -> Error {
    if is_lfs_pointer(content) {
        return Error::Bundle(BundleError::LfsPointer {
            path: origin.into(),
        });
    }
    Error::Json {
        origin: origin.to_owned(),
        line: source.line(),
        column: source.column(),
        source,
    }
}

fn schema_error(problem: SchemaProblem, origin: &str) -> Error {
    Error::Schema {
        origin: origin.to_owned(),
        problems: vec![problem],
    }
}

fn deserialize<T: DeserializeOwned>(value: &Value) -> Result<T, SchemaProblem> {
    serde_path_to_error::deserialize(Strict(value)).map_err(|error| {
        let path = error.path();
        let key = shown_path(path);
        match error.inner() {
            Mismatch::UnknownKey { allowed } => SchemaProblem::UnknownKey {
                key,
                allowed: allowed.clone(),
            },
            Mismatch::MissingKey(name) => SchemaProblem::MissingKey {
                allowed: allowed_at::<T>(value.clone(), path, name),
                key: match path.iter().next() {
                    None => (*name).to_owned(),
                    Some(_) => format!("{key}.{name}"),
                },
            },
            Mismatch::Value { allowed } => SchemaProblem::InvalidValue {
                key,
                value: find(&mut value.clone(), path)
                    .map_or_else(String::new, |found| shown(found)),
                allowed: allowed.clone(),
            },
        }
    })
}

/// What is allowed for a missing key: what a `null` at its place is refused for.
fn allowed_at<T: DeserializeOwned>(mut value: Value, path: &Path, name: &str) -> String {
    if let Some(Value::Object(parent)) = find(&mut value, path) {
        parent.insert(name.to_owned(), Value::Null);
    }
    match deserialize::<T>(&value) {
        Err(SchemaProblem::InvalidValue { allowed, .. }) => allowed,
        _ => "a value".to_owned(),
    }
}

fn find<'v>(value: &'v mut Value, path: &Path) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Seq { index } => value.get_mut(index),
        Segment::Map { key } => value.get_mut(key),
        _ => None,
    })
}

/// The dotted path on one line, shortened: the keys may be hostile.
fn shown_path(path: &Path) -> String {
    let text = path.to_string();
    let start = text.chars().take(SHOWN_PATH_CHARS);
    let mut shown: String = start.flat_map(char::escape_default).collect();
    if text.chars().nth(SHOWN_PATH_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}
