//! Reading fields out of the daemon's JSON without ceremony. What is shown comes from the document itself, so that
//! templates reach every field of it, and an older or newer daemon's answer can be shown too.

use serde_json::Value;

/// A field of an object that is absent when `null`.
pub fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).filter(|value| !value.is_null())
}

/// A text field, `""` when absent.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A number, 0 when absent.
pub fn int(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// A boolean, false when absent.
pub fn on(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// A list, empty when absent or `null`.
pub fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The texts of a list.
pub fn texts<'a>(value: &'a Value, name: &str) -> Vec<&'a str> {
    items(value, name)
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

/// The text at a path of names.
pub fn deep<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter()
        .fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// `key=value` pairs of an object in the order of keys.
pub fn pairs(value: Option<&Value>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    pairs.sort();
    pairs
}
