//! The fields that a body may have.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// Fields of a request, and those of OpenAI's API that are refused.
pub trait Fields: DeserializeOwned {
    /// The fields that it has, without those of `Part`.
    const FIELDS: &'static [&'static str];
    /// Fields that are refused unless they ask for nothing.
    const UNSUPPORTED: Unsupported = &[];
    /// The same for the fields within a field that is an object or a list of objects.
    const UNSUPPORTED_WITHIN: &'static [(&'static str, Unsupported)] = &[];
    /// Fields that it has in common with others.
    type Part: Fields;
}

/// Names of fields, and when each asks for nothing.
pub type Unsupported = &'static [(&'static str, Neutral)];

/// When an unsupported field asks for nothing. `null` always does.
#[derive(Clone, Copy)]
pub enum Neutral {
    Null,
    False,
    /// `true` or `false`.
    Bool,
    Zero,
    /// An empty list, object or text.
    Empty,
    /// This text.
    Word(&'static str),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A list of this text.
    List(&'static str),
}

impl Neutral {
    pub fn is(self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Null) => true,
            (Self::False, value) => value == &Value::Bool(false),
            (Self::Bool, Value::Bool(_)) => true,
            (Self::OneOf(words), Value::String(text)) => words.contains(&text.as_str()),
            (Self::List(word), Value::Array(items)) => {
                matches!(&items[..], [Value::String(text)] if text == word)
            }
            (Self::Zero, value) => value.as_f64() == Some(0.0),
            (Self::Empty, Value::Array(items)) => items.is_empty(),
            (Self::Empty, Value::Object(items)) => items.is_empty(),
            (Self::Empty, Value::String(text)) => text.is_empty(),
            (Self::Word(word), Value::String(text)) => text == word,
            // {"type": "text"}
            (Self::Word(word), Value::Object(items)) => {
                items.len() == 1 && items.get("type").and_then(Value::as_str) == Some(word)
            }
            _ => false,
        }
    }
}

/// An object without fields.
#[derive(Deserialize)]
pub struct Empty {}

impl Fields for Empty {
    const FIELDS: &'static [&'static str] = &[];
    type Part = ();
}

/// No fields.
impl Fields for () {
    const FIELDS: &'static [&'static str] = &[];
    type Part = ();
}
