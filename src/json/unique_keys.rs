//! JSON without duplicate keys. `serde_json` silently keeps the last value of a key.

use std::{collections::HashSet, fmt};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::Path;

/// Checks that no object in `text`, which is JSON, has a key twice.
///
/// # Errors
/// The path of the first key that is given a second time.
pub(super) fn check(text: &str) -> Result<(), Path> {
    let mut parser = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize(&mut parser) {
        Ok(UniqueKeys) => Ok(()),
        Err(error) => Err(error.path().clone()),
    }
}

/// Any value in which no object has a key twice.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

macro_rules! scalars {
    ($($visit:ident: $scalar:ty),*) => {
        $(fn $visit<E>(self, _: $scalar) -> Result<Self, E> {
            Ok(self)
        })*
    };
}

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    scalars!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if keys.insert(key) {
                entries.next_value::<Self>()?;
            } else {
                // Within the value, so that the error's path has the key.
                entries.next_value::<Twice>()?;
            }
        }
        Ok(self)
    }
}

/// The value of a key that is given twice; it cannot be read.
struct Twice;

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("given twice"))
    }
}
