//! Bodies in JSON.

mod fields;
mod message;
mod object;
// `serde_json` keeps the last value of a key: a program in front of this one may read the first.
#[path = "../json/unique_keys.rs"]
mod unique_keys;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sllm_ort::text::without_byte_order_mark;

use super::error::{ApiError, shown};
pub use fields::{Empty, Fields, Neutral, Unsupported};
use message::in_words;
pub use object::Object;

/// The fields of a body.
pub fn parse<T: Fields>(bytes: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| ApiError::malformed("the body is not UTF-8 text"))?;
    let text = without_byte_order_mark(text);
    let value: Value = serde_json::from_str(text)
        .map_err(|error| ApiError::malformed(format!("the body is not JSON: {error}")))?;
    unique_keys::check(text).map_err(|path| ApiError::duplicate_key(&path.to_string()))?;
    let Value::Object(mut object) = value else {
        return Err(ApiError::malformed("the body is not a JSON object"));
    };
    let known = |name: &str| T::FIELDS.contains(&name) || T::Part::FIELDS.contains(&name);
    for (name, value) in &object {
        let unsupported = T::UNSUPPORTED.iter().find(|(other, _)| other == name);
        match unsupported {
            Some((_, neutral)) if neutral.is(value) => {}
            Some(_) => return Err(ApiError::unsupported(name)),
            None if known(name) => {}
            None => return Err(ApiError::unknown_field(name)),
        }
    }
    for (field, unsupported) in T::UNSUPPORTED_WITHIN {
        if let Some(value) = object.get_mut(*field) {
            remove_neutral(field, value, unsupported)?;
        }
    }
    let fields = |names: &[&str]| -> Map<String, Value> {
        let own = object
            .iter()
            .filter(|(name, _)| names.contains(&name.as_str()));
        own.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    // For the name of the field that is wrong.
    if !T::Part::FIELDS.is_empty() {
        deserialize::<T::Part>(fields(T::Part::FIELDS))?;
    }
    deserialize(object)
}

/// Remove the fields that ask for nothing from an object, or from those of a list; refuse those that
/// ask for something.
fn remove_neutral(
    path: &str,
    value: &mut Value,
    unsupported: &[(&str, Neutral)],
) -> Result<(), ApiError> {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                if item.is_object() {
                    remove_neutral(&format!("{path}[{index}]"), item, unsupported)?;
                }
            }
        }
        Value::Object(fields) => {
            for (name, neutral) in unsupported {
                if let Some(value) = fields.remove(*name)
                    && !neutral.is(&value)
                {
                    return Err(ApiError::unsupported(&format!("{path}.{name}")));
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn deserialize<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let message = in_words(&error.inner().to_string());
        let path = error.path().to_string();
        match (path.as_str(), message.split('`').nth(1)) {
            (within, _) if message.starts_with("unknown field `") => {
                ApiError::unknown_field(within)
            }
            // A missing field has no path.
            (".", Some(name)) => ApiError::invalid(name, message.clone()),
            (".", None) => ApiError::malformed(message),
            _ => ApiError::invalid(&path, format!("{}: {message}", shown(&path))),
        }
    })
}
