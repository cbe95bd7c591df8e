//! Reading a spec.

use std::path::Path;

use oci_spec::runtime::{Capability, LinuxNamespaceType, PosixRlimitType, Process, Spec};
use serde_json::Value;

use super::global::Global;
use super::{log, wrong};

/// The spec of a bundle, and its text.
pub(crate) fn spec(global: &Global, bundle: &Path) -> Result<(Spec, Vec<u8>), String> {
    let path = bundle.join("config.json");
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "JSON specification file config.json not found".to_owned(),
        _ => format!("{}: {error}", path.display()),
    })?;
    let read = read(&text, |value| {
        if let Some(process) = value.get_mut("process") {
            defaults(process);
            capabilities(global, process);
        }
    });
    read.map_err(|(text, error)| words(&text, &error).unwrap_or_else(|| wrong::said(&text, &error)))
}

/// What is wrong with a spec, in runc's words; `None` if it has none that say it as well as `error`.
fn words(text: &[u8], error: &serde_json::Error) -> Option<String> {
    if error.is_eof() {
        let is_empty = text.iter().all(u8::is_ascii_whitespace);
        return Some(if is_empty { "EOF" } else { "unexpected EOF" }.to_owned());
    }
    let spec: Value = serde_json::from_slice(text).ok()?;
    let unknown = |list: &str, known: fn(&Value) -> bool| {
        let listed = spec.pointer(list)?.as_array()?.iter();
        let mut kinds = listed.filter_map(|one| one.get("type"));
        let kind = kinds.find(|kind| kind.is_string() && !known(kind))?;
        kind.as_str().map(str::to_owned)
    };
    let limit = unknown("/process/rlimits", is_known::<PosixRlimitType>);
    let namespace = unknown("/linux/namespaces", is_known::<LinuxNamespaceType>);
    limit
        .map(|kind| format!("wrong rlimit value: {kind}"))
        .or_else(|| namespace.map(|kind| format!("namespace {{\"{kind}\" \"\"}} does not exist")))
}

fn is_known<T: serde::de::DeserializeOwned>(word: &Value) -> bool {
    serde_json::from_value::<T>(word.clone()).is_ok()
}

/// A process from a file.
pub(crate) fn process(global: &Global, path: &Path) -> Result<Process, String> {
    let text = std::fs::read(path).map_err(|error| format!("open {}: {error}", path.display()))?;
    let read = read(&text, |value| {
        defaults(value);
        capabilities(global, value);
    });
    read.map(|(process, _)| process)
        .map_err(|(text, error)| format!("{}: {}", path.display(), wrong::said(&text, &error)))
}

/// Reads `text`; if it cannot be read, again with what may be passed over taken out, and what goes without saying put in.
/// With its text as it could be read, or as it still could not.
fn read<T: serde::de::DeserializeOwned>(
    text: &[u8],
    clean: impl FnOnce(&mut Value),
) -> Result<(T, Vec<u8>), (Vec<u8>, serde_json::Error)> {
    if let Ok(read) = serde_json::from_slice(text) {
        return Ok((read, text.to_vec()));
    }
    let mut value: Value = serde_json::from_slice(text).map_err(|error| (text.to_vec(), error))?;
    clean(&mut value);
    let text = value.to_string().into_bytes();
    match serde_json::from_slice(&text) {
        Ok(read) => Ok((read, text)),
        Err(error) => Err((text, error)),
    }
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
            let known = is_known::<Capability>(word);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_as_runc_says_it() {
        let said = |text: &str| {
            let error = serde_json::from_str::<Spec>(text).expect_err("a spec that is wrong");
            words(text.as_bytes(), &error).unwrap_or_default()
        };
        assert_eq!(said(""), "EOF");
        assert_eq!(said("{"), "unexpected EOF");
        let spec = r#"{"ociVersion":"1.0.0","linux":{"namespaces":[{"type":"pid"},{"type":"x"}]}}"#;
        assert_eq!(said(spec), r#"namespace {"x" ""} does not exist"#);
        let limits = r#"{"ociVersion":"1.0.0","process":{"cwd":"/","user":{"uid":0,"gid":0},
            "rlimits":[{"type":"RLIMIT_NOPE","soft":1,"hard":1}]}}"#;
        assert_eq!(said(limits), "wrong rlimit value: RLIMIT_NOPE");
        assert_eq!(said(r#"{"ociVersion":7}"#), "");
    }
}
