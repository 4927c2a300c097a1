//! One change of a JSON value, for tables of what is refused.

use serde_json::Value;

/// `base` with the value at a JSON pointer set, or removed.
pub fn edited(base: &Value, pointer: &str, value: Option<&Value>) -> Value {
    let mut edited = base.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match (edited.pointer_mut(parent).unwrap(), value) {
        (Value::Object(map), Some(value)) => drop(map.insert(key.to_owned(), value.clone())),
        (Value::Object(map), None) => drop(map.shift_remove(key).unwrap()),
        (Value::Array(items), Some(value)) => items[key.parse::<usize>().unwrap()] = value.clone(),
        (other, _) => panic!("{pointer}: nothing to change in {other}"),
    }
    edited
}
