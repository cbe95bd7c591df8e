//! `REGISTRY_SECTION_KEY=value` beside the file: docker-registry's way to be configured in a container.

use serde_json::{Map, Value};

use super::file::File;
use crate::Error;

/// Keys below which the environment may say something; other `REGISTRY_...` variables are somebody else's.
const SECTIONS: [&str; 8] = [
    "log",
    "storage",
    "auth",
    "http",
    "notifications",
    "proxy",
    "health",
    "version",
];

/// Reads the file and lays the environment over it.
pub(super) fn apply(
    text: &str,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<File, Error> {
    // Once for its own sake: only here are lines known.
    let file: File = match text.trim().is_empty() {
        true => File::default(),
        false => serde_saphyr::from_str(text).map_err(malformed)?,
    };
    let mut variables: Vec<(String, String)> =
        variables.filter(|(name, _)| is_ours(name)).collect();
    if variables.is_empty() {
        return Ok(file);
    }
    // `REGISTRY_AUTH=htpasswd` before `REGISTRY_AUTH_HTPASSWD_REALM`.
    variables.sort();
    let mut document: Value = match text.trim().is_empty() {
        true => Value::Object(Map::new()),
        false => serde_saphyr::from_str(text).map_err(malformed)?,
    };
    for (name, value) in &variables {
        let path = name["REGISTRY_".len()..].to_lowercase();
        let parts: Vec<&str> = path.split('_').collect();
        let value = match serde_saphyr::from_str::<Value>(value) {
            Ok(Value::String(_)) | Err(_) => Value::String(value.clone()),
            Ok(other) => other,
        };
        set(&mut document, &parts, value);
    }
    let names: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
    serde_json::from_value(document).map_err(|error| {
        Error::Config(format!(
            "{error} (with {} from the environment)",
            names.join(", ")
        ))
    })
}

/// The first line says what and where; below it, the file is quoted.
fn malformed(error: serde_saphyr::Error) -> Error {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    Error::Config(first.trim_start_matches("error: ").to_owned())
}

fn is_ours(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("REGISTRY_") else {
        return false;
    };
    let section = rest.split('_').next().unwrap_or_default().to_lowercase();
    SECTIONS.contains(&section.as_str())
}

fn set(document: &mut Value, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        // `REGISTRY_AUTH=htpasswd`, `REGISTRY_STORAGE=filesystem` name the kind, and nothing else of it.
        *document = match value {
            Value::String(kind) if document.is_object() => {
                if let Some(map) = document.as_object_mut() {
                    map.entry(kind).or_insert_with(|| Value::Object(Map::new()));
                }
                return;
            }
            value => value,
        };
        return;
    };
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    if let Some(map) = document.as_object_mut() {
        let is_section = rest.is_empty() && matches!(*first, "auth" | "storage");
        let entry = map
            .entry((*first).to_owned())
            .or_insert_with(|| match is_section {
                true => Value::Object(Map::new()),
                false => Value::Null,
            });
        set(entry, rest, value);
    }
}
