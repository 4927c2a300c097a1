//! What is wrong in a JSON file that does not follow its schema.

use std::fmt::Display;

use serde::Serialize;
use serde_json::Value;

use super::{Error, Result};
use crate::kind::ModelKind;

/// Longest value shown in a message, in characters.
pub(crate) const SHOWN_CHARS: usize = 80;

/// One problem of a configuration or manifest, in [`Error::Schema`].
///
/// `key` is the dotted path of a key, such as `variants[0].graphs.encoder.sha256`, and `.` for the
/// whole file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaProblem {
    /// A required key is absent.
    #[error("key `{key}` is missing: add it, allowed is {allowed}")]
    MissingKey {
        /// Path of the key.
        key: String,
        /// What its value may be.
        allowed: String,
    },
    /// A key that the schema does not have at this place.
    #[error("unknown key `{key}`: remove it or correct its spelling, allowed are {allowed}")]
    UnknownKey {
        /// Path of the key.
        key: String,
        /// The keys that the schema has at this place.
        allowed: String,
    },
    /// A key that its object has twice. Programs differ in which of the two values they read.
    #[error("key `{key}` is given twice: remove one of them")]
    DuplicateKey {
        /// Path of the key.
        key: String,
    },
    /// A key that only models of other kinds have.
    #[error(
        "key `{key}` does not belong to a model of kind {kind}: remove it, or correct the kind"
    )]
    WrongKind {
        /// Path of the key.
        key: String,
        /// The kind of the model.
        kind: ModelKind,
    },
    /// A value of the wrong type or out of its range.
    #[error("key `{key}` is {value}, allowed is {allowed}")]
    InvalidValue {
        /// Path of the key.
        key: String,
        /// The value found: JSON, shortened if it is long, or the length of a list.
        value: String,
        /// What it may be.
        allowed: String,
    },
}

/// Collects the problems of a file.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    prefix: &'static str,
    found: Vec<SchemaProblem>,
}

impl Problems {
    /// From here on the keys are those of a part, such as `model.`, or of the whole file.
    pub fn set_prefix(&mut self, prefix: &'static str) {
        self.prefix = prefix;
    }

    /// Adds a problem unless `holds`: the value of `key` is not allowed.
    pub fn require(
        &mut self,
        holds: bool,
        key: impl Display,
        value: impl Serialize,
        allowed: impl Display,
    ) {
        if !holds {
            let value = serde_json::to_value(value).unwrap_or_default();
            let (key, allowed) = (self.path(key), allowed.to_string());
            self.found.push(SchemaProblem::InvalidValue {
                key,
                value: shown(&value),
                allowed,
            });
        }
    }

    /// Adds a problem unless `min <= value <= max`.
    pub fn require_range(&mut self, key: impl Display, value: usize, min: usize, max: usize) {
        let holds = (min..=max).contains(&value);
        self.require(holds, key, value, format_args!("{min} to {max}"));
    }

    /// Adds a problem if `key` is absent.
    pub fn require_key<T>(&mut self, value: &Option<T>, key: impl Display, allowed: &str) {
        if value.is_none() {
            let (key, allowed) = (self.path(key), allowed.to_owned());
            self.found.push(SchemaProblem::MissingKey { key, allowed });
        }
    }

    /// Adds a problem if there is `key`, which no model of this kind has.
    pub fn refuse_key<T>(&mut self, value: &Option<T>, key: impl Display, kind: ModelKind) {
        if value.is_some() {
            let key = self.path(key);
            self.found.push(SchemaProblem::WrongKind { key, kind });
        }
    }

    /// Adds a problem.
    pub fn push(&mut self, problem: SchemaProblem) {
        self.found.push(problem);
    }

    /// [`Error::Schema`] with all problems, if there are any.
    pub fn into_result(self, origin: &str) -> Result<()> {
        if self.found.is_empty() {
            return Ok(());
        }
        Err(Error::Schema {
            origin: origin.to_owned(),
            problems: self.found,
        })
    }

    fn path(&self, key: impl Display) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// A value as JSON on one line, shortened.
pub(crate) fn shown(value: &Value) -> String {
    // JSON leaves some control characters as they are.
    let text = value.to_string().replace(char::is_control, " ");
    match text.char_indices().nth(SHOWN_CHARS) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
