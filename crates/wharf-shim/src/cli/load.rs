//! Reading a spec.

use std::path::Path;

use oci_spec::runtime::{Capability, Process, Spec};
use serde_json::Value;

use super::global::Global;
use super::log;

/// The spec of a bundle, and its text.
pub(crate) fn spec(global: &Global, bundle: &Path) -> Result<(Spec, Vec<u8>), String> {
    let path = bundle.join("config.json");
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "JSON specification file config.json not found".to_owned(),
        _ => format!("{}: {error}", path.display()),
    })?;
    match serde_json::from_slice(&text) {
        Ok(spec) => Ok((spec, text)),
        Err(error) => lenient(&text, |value| {
            if let Some(process) = value.get_mut("process") {
                defaults(process);
                capabilities(global, process);
            }
        })
        .ok_or_else(|| format!("{}: {error}", path.display())),
    }
}

/// A process from a file.
pub(crate) fn process(global: &Global, path: &Path) -> Result<Process, String> {
    let text = std::fs::read(path).map_err(|error| format!("open {}: {error}", path.display()))?;
    match serde_json::from_slice(&text) {
        Ok(process) => Ok(process),
        Err(error) => {
            let read = lenient(&text, |value| {
                defaults(value);
                capabilities(global, value);
            });
            read.map(|(process, _)| process)
                .ok_or_else(|| error.to_string())
        }
    }
}

/// Reads `text` again with what may be passed over taken out, and what goes without saying put in; its new text too.
fn lenient<T: serde::de::DeserializeOwned>(
    text: &[u8],
    clean: impl FnOnce(&mut Value),
) -> Option<(T, Vec<u8>)> {
    let mut value: Value = serde_json::from_slice(text).ok()?;
    clean(&mut value);
    let text = serde_json::to_vec(&value).ok()?;
    Some((serde_json::from_value(value).ok()?, text))
}

/// As for every reader in Go: numbers that are not there are 0, texts empty. An empty folder is refused later.
fn defaults(process: &mut Value) {
    let Some(process) = process.as_object_mut() else {
        return;
    };
    process.entry("cwd").or_insert_with(|| "".into());
    let user = process
        .entry("user")
        .or_insert_with(|| serde_json::json!({}));
    if let Some(user) = user.as_object_mut() {
        user.entry("uid").or_insert_with(|| 0.into());
        user.entry("gid").or_insert_with(|| 0.into());
    }
}

/// Takes capabilities out that nobody knows: they are to be warned of, not to fail (OCI, `config.md`).
fn capabilities(global: &Global, process: &mut Value) -> Option<()> {
    let mut unknown = Vec::new();
    for set in process
        .get_mut("capabilities")?
        .as_object_mut()?
        .values_mut()
    {
        let Some(words) = set.as_array_mut() else {
            continue;
        };
        words.retain(|word| {
            let known = serde_json::from_value::<Capability>(word.clone()).is_ok();
            if !known && !unknown.contains(word) {
                unknown.push(word.clone());
            }
            known
        });
    }
    if !unknown.is_empty() {
        let unknown: Vec<&str> = unknown.iter().filter_map(Value::as_str).collect();
        warn_of(global, &unknown);
    }
    Some(())
}

/// As runc says it.
pub(crate) fn warn_of(global: &Global, unknown: &[&str]) {
    let text = unknown.join(" ");
    log::warning(
        global,
        &format!("ignoring unknown or unavailable capabilities: [{text}]"),
    );
}
