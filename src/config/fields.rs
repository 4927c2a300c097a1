//! Reading JSON objects key by key, so that an error can name file, key, value and what is allowed.
//!
//! `serde`'s derived errors name neither the path of a key nor the value found.

use serde_json::{Map, Value};

use super::unique_keys::UniqueKeys;
use crate::error::{Error, Result, list};

/// Longest value shown in a message, in characters.
pub(crate) const SHOWN_CHARS: usize = 80;

/// Parses `text`, naming `origin` in the error. A byte order mark in front of it is left out. A key
/// that is given twice is an error: other readers of the same file might take the other value.
pub(crate) fn parse(text: &str, origin: &str) -> Result<Value> {
    let UniqueKeys(value) = serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text))
        .map_err(|source| json_error(source, origin))?;
    Ok(value)
}

/// A parser's error with its place.
pub(crate) fn json_error(source: serde_json::Error, origin: &str) -> Error {
    Error::Json {
        origin: origin.to_owned(),
        line: source.line(),
        column: source.column(),
        source,
    }
}

/// The place of a value: the file and the dotted path of the key.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub origin: &'a str,
    pub key: &'a str,
}

impl At<'_> {
    /// The dotted path of `name` below this place.
    pub fn child(&self, name: &str) -> String {
        // A hostile key must not break the message into lines or make it endless.
        let name: String = name
            .chars()
            .take(SHOWN_CHARS)
            .flat_map(char::escape_default)
            .collect();
        if self.key.is_empty() {
            name
        } else {
            format!("{}.{name}", self.key)
        }
    }

    /// "The value at this place is not allowed".
    pub fn invalid(&self, value: &Value, allowed: impl Into<String>) -> Error {
        Error::InvalidValue {
            origin: self.origin.to_owned(),
            key: self.key.to_owned(),
            value: shown(value),
            allowed: allowed.into(),
        }
    }

    /// Takes a value that must be a string of 1 to `max_bytes` bytes without control characters.
    pub fn string(&self, value: Value, max_bytes: usize) -> Result<String> {
        match value {
            Value::String(s) if is_label(&s, max_bytes) => Ok(s),
            other => Err(self.invalid(&other, label_rule(max_bytes))),
        }
    }

    /// Takes a value that must be an array of `min` to `max` values.
    pub fn array(&self, value: Value, min: usize, max: usize) -> Result<Vec<Value>> {
        match value {
            Value::Array(items) if (min..=max).contains(&items.len()) => Ok(items),
            other => Err(self.invalid(&other, format!("a list of {min} to {max} entries"))),
        }
    }
}

/// Whether `s` can be shown as a name: neither empty nor too long, and on one line.
pub(crate) fn is_label(s: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&s.len()) && !s.chars().any(char::is_control)
}

/// What [`is_label`] accepts, in words.
pub(crate) fn label_rule(max_bytes: usize) -> String {
    format!("a string of 1 to {max_bytes} bytes without control characters")
}

/// An object whose keys are taken one by one.
pub(crate) struct Fields<'a> {
    origin: &'a str,
    key: String,
    map: Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub fn new(value: Value, at: At<'a>) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self {
                origin: at.origin,
                key: at.key.to_owned(),
                map,
            }),
            other => Err(at.invalid(&other, "an object")),
        }
    }

    /// The dotted path of `name` in this object.
    pub fn child(&self, name: &str) -> String {
        At {
            origin: self.origin,
            key: &self.key,
        }
        .child(name)
    }

    /// Refuses every key that is left and not in `allowed`. Called before the optional keys are
    /// taken.
    pub fn deny_unknown(&self, allowed: &[&str]) -> Result<()> {
        match self.map.keys().find(|key| !allowed.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Error::UnknownKey {
                origin: self.origin.to_owned(),
                key: self.child(key),
                allowed: list(allowed),
            }),
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    pub fn optional(&mut self, name: &str) -> Option<Value> {
        // The order of the keys that are left means nothing.
        self.map.swap_remove(name)
    }

    pub fn required(&mut self, name: &str, allowed: &str) -> Result<Value> {
        self.optional(name).ok_or_else(|| Error::MissingKey {
            origin: self.origin.to_owned(),
            key: self.child(name),
            allowed: allowed.to_owned(),
        })
    }

    pub fn string(&mut self, name: &str, max_bytes: usize) -> Result<String> {
        let value = self.required(name, &label_rule(max_bytes))?;
        At {
            origin: self.origin,
            key: &self.child(name),
        }
        .string(value, max_bytes)
    }

    /// An integer of type `T`; its range is checked by whoever asks.
    pub fn integer<T: TryFrom<u64>>(&mut self, name: &str) -> Result<T> {
        let allowed = "a whole number that is not negative";
        let value = self.required(name, allowed)?;
        self.to_integer(name, &value, allowed)
    }

    pub fn optional_integer<T: TryFrom<u64>>(&mut self, name: &str) -> Result<Option<T>> {
        let allowed = "a whole number that is not negative";
        self.optional(name)
            .map(|value| self.to_integer(name, &value, allowed))
            .transpose()
    }

    fn to_integer<T: TryFrom<u64>>(&self, name: &str, value: &Value, allowed: &str) -> Result<T> {
        value
            .as_u64()
            .and_then(|n| T::try_from(n).ok())
            .ok_or_else(|| self.invalid(name, value, allowed))
    }

    pub fn optional_number(&mut self, name: &str) -> Result<Option<f32>> {
        let Some(value) = self.optional(name) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) => Ok(Some(number as f32)),
            None => Err(self.invalid(name, &value, "a number")),
        }
    }

    pub fn bool(&mut self, name: &str) -> Result<bool> {
        let value = self.required(name, "true or false")?;
        value
            .as_bool()
            .ok_or_else(|| self.invalid(name, &value, "true or false"))
    }

    /// One of the names in `choices`.
    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<T> {
        let allowed = list(choices.iter().map(|(name, _)| format!("{name:?}")));
        let value = self.required(name, &allowed)?;
        let found = value
            .as_str()
            .and_then(|text| choices.iter().find(|(name, _)| *name == text));
        found
            .map(|(_, choice)| *choice)
            .ok_or_else(|| self.invalid(name, &value, allowed))
    }

    pub fn invalid(&self, name: &str, value: &Value, allowed: impl Into<String>) -> Error {
        At {
            origin: self.origin,
            key: &self.child(name),
        }
        .invalid(value, allowed)
    }
}

/// A value as JSON on one line, shortened.
pub(super) fn shown(value: &Value) -> String {
    // JSON leaves some control characters as they are.
    let text = value.to_string().replace(char::is_control, " ");
    match text.char_indices().nth(SHOWN_CHARS) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
