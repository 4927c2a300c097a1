//! JSON values as serde sees them, without what `serde_json` also accepts.

use serde::{
    Deserializer,
    de::{
        self, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

use crate::error::list;

/// A JSON value. Structs and maps are read from objects only, not from lists or `null`, and enums
/// from strings only; `null` is not an absent value.
#[derive(Clone, Copy)]
pub(super) struct Strict<'v>(pub &'v Value);

/// Why a value is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("missing key {0}")]
    MissingKey(&'static str),
    #[error("unknown key, allowed are {allowed}")]
    UnknownKey { allowed: String },
    #[error("allowed is {allowed}")]
    Value { allowed: String },
}

impl de::Error for Mismatch {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        let allowed = message.to_string();
        Self::Value { allowed }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // The names of Rust's types are serde's words for numbers.
        let allowed = match expected.to_string().as_str() {
            "u32" => "a whole number of 0 to 4294967295",
            "u64" | "usize" => "a whole number that is not negative",
            "f64" => "a number",
            "a boolean" => "true or false",
            "a sequence" => "a list",
            other => other,
        }
        .to_owned();
        Self::Value { allowed }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(_: &str, variants: &'static [&'static str]) -> Self {
        let allowed = list(variants.iter().map(|variant| format!("{variant:?}")));
        Self::Value { allowed }
    }

    fn unknown_field(_: &str, fields: &'static [&'static str]) -> Self {
        let allowed = list(fields);
        Self::UnknownKey { allowed }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::MissingKey(field)
    }
}

impl<'de> Deserializer<'de> for Strict<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.iter().map(Strict)))
            }
            Value::Object(map) => {
                let entries = map.iter().map(|(key, value)| (key.as_str(), Strict(value)));
                visitor.visit_map(MapDeserializer::new(entries))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_some(self)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Object(_) => self.deserialize_any(visitor),
            _ => Err(Mismatch::Value {
                allowed: "an object".into(),
            }),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Object(_) => self.deserialize_any(visitor),
            _ => Err(Mismatch::Value {
                allowed: format!("an object with {}", list(fields)),
            }),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        // No variant has an empty name: other values are refused with the list of variants.
        let variant = self.0.as_str().unwrap_or_default();
        visitor.visit_enum(variant.into_deserializer())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Mismatch> for Strict<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
