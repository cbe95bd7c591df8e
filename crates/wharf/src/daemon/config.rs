//! `daemon.json`, with dockerd's keys. An unknown key or a wrong type is an error that names key and line.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Map, Value};

use super::args::{CONFIG_FILE, DaemonArgs};
use super::directives::Directives;
use super::refused;

/// What the key `proxies` has.
const PROXIES: [&str; 3] = ["http-proxy", "https-proxy", "no-proxy"];

/// Keys of objects that are read by others.
const OBJECTS: [&str; 1] = ["builder"];

/// The file and the flags together. What both say is an error, as dockerd has it: nobody could say which holds.
pub(super) fn merged(args: &DaemonArgs) -> Result<Directives> {
    let path = &args.config_file;
    let text = match std::fs::read_to_string(path) {
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && path == Path::new(CONFIG_FILE) =>
        {
            return Ok(args.directives.clone());
        }
        other => other.with_context(|| format!("read {}", path.display()))?,
    };
    let wrong = |error: anyhow::Error| {
        error.context(format!(
            "unable to configure the Docker daemon with file {}",
            path.display()
        ))
    };
    merge(&text, &args.directives).map_err(wrong)
}

fn merge(text: &str, flags: &Directives) -> Result<Directives> {
    if text.trim().is_empty() {
        return Ok(flags.clone());
    }
    let mut file: Map<String, Value> = serde_json::from_str(text)?;
    known(&mut file, text)?;
    lift_proxies(&mut file, text)?;
    let Value::Object(flags) = serde_json::to_value(flags)? else {
        bail!("flags are no object");
    };
    let both = flags.iter().filter_map(|(key, flag)| {
        let file = file.get(key)?;
        Some(format!(
            "{key}: (from flag: {}, from file: {})",
            go(flag),
            go(file)
        ))
    });
    let both: Vec<_> = both.collect();
    if !both.is_empty() {
        bail!(
            "the following directives are specified both as a flag and in the configuration file: {}",
            both.join(", ")
        );
    }
    // Go's zero values: as if they were not said.
    file.retain(|key, value| !(value.is_null() || value == "" && is_text(key)));
    // One key after another, so that a wrong one is known by its name.
    for (key, value) in &file {
        alone(key, value.clone())
            .map_err(|error| anyhow!("{key} (line {}): {error}", line(text, key)))?;
    }
    file.extend(flags);
    Ok(serde_json::from_value(Value::Object(file))?)
}

/// The key and nothing else.
fn alone(key: &str, value: Value) -> serde_json::Result<Directives> {
    let object = [(key.to_owned(), value)].into_iter().collect();
    serde_json::from_value(Value::Object(object))
}

/// Whether a text is expected there, of whatever form.
fn is_text(key: &str) -> bool {
    let tried = alone(key, Value::from(""));
    !OBJECTS.contains(&key)
        && !tried.is_err_and(|error| error.to_string().starts_with("invalid type"))
}

/// Refuses what dockerd does not know, and what it knows and we do not have; but for a value that asks for nothing.
fn known(file: &mut Map<String, Value>, text: &str) -> Result<()> {
    let nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    file.retain(|key, value| !(nothing(value) && refused::key(key).is_some()));
    if let Some((key, why)) = file.keys().find_map(|key| Some((key, refused::key(key)?))) {
        bail!("{key} (line {}) is not supported: {why}", line(text, key));
    }
    let unknown = file.keys().filter(|key| {
        if *key == "proxies" || PROXIES.contains(&key.as_str()) {
            return *key != "proxies";
        }
        let tried = alone(key, Value::Null);
        tried.is_err_and(|error| error.to_string().starts_with("unknown field"))
    });
    let unknown: Vec<_> = unknown
        .map(|key| format!("{key} (line {})", line(text, key)))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    bail!(
        "the following directives don't match any configuration option: {}",
        unknown.join(", ")
    )
}

/// The file has the flags of proxies together, under one key.
fn lift_proxies(file: &mut Map<String, Value>, text: &str) -> Result<()> {
    match file.remove("proxies") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(fields)) => {
            let mut names = fields.keys();
            if let Some(unknown) = names.find(|name| !PROXIES.contains(&name.as_str())) {
                bail!(
                    "the following directives don't match any configuration option: {unknown} (line {})",
                    line(text, unknown)
                );
            }
            file.extend(fields);
            Ok(())
        }
        Some(_) => bail!("proxies (line {}): not an object", line(text, "proxies")),
    }
}

/// The line that the key stands on, from 1.
fn line(text: &str, key: &str) -> usize {
    let found = text.find(&format!("\"{key}\""));
    let before = found.and_then(|at| text.get(..at)).unwrap_or_default();
    before.matches('\n').count() + 1
}

/// A value as Go prints it.
fn go(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(go).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{key}:{}", go(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Directives> {
        merge(text, &Directives::default())
    }

    fn refusal(text: &str) -> String {
        read(text).expect_err(text).to_string()
    }

    #[test]
    fn dockers_keys_are_read() {
        let config = read(
            r#"{"registry-mirrors": ["http://m"], "log-opts": {"max-size": "1m"}, "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}},
                "runtimes": {"crun": {"path": "/usr/bin/crun", "runtimeArgs": ["--debug"]}}, "features": {"buildkit": true}, "ipv6": false}"#,
        );
        let config = config.expect("config");
        assert_eq!(config.registry_mirrors, ["http://m"]);
        assert_eq!(
            (
                config.log_opts[0].name.as_str(),
                config.log_opts[0].value.as_str()
            ),
            ("max-size", "1m")
        );
        assert_eq!(config.default_ulimits[0].value.hard, 2);
        assert_eq!(config.runtimes[0].value.runtime_args, ["--debug"]);
        assert!(config.features[0].value);
    }

    #[test]
    fn what_is_empty_is_not_said() {
        let text = r#"{"data-root": "", "bridge": "", "bip": "", "group": "", "default-shm-size": "", "labels": null}"#;
        let said = read(text).expect(text);
        let nothing = Directives::default();
        assert_eq!(
            serde_json::to_value(said).unwrap(),
            serde_json::to_value(nothing).unwrap()
        );
    }

    #[test]
    fn only_an_empty_text_is_not_said() {
        for (text, said) in [
            (
                r#"{"debug": ""}"#,
                "debug (line 1): invalid type: string \"\", expected a boolean",
            ),
            (
                r#"{"labels": ""}"#,
                "labels (line 1): invalid type: string \"\", expected a sequence",
            ),
            (
                r#"{"mtu": ""}"#,
                "mtu (line 1): invalid type: string \"\", expected i64",
            ),
            (
                r#"{"runtimes": ""}"#,
                "runtimes (line 1): invalid type: string \"\", expected a map",
            ),
        ] {
            assert_eq!(refusal(text), said);
        }
        let empty = r#"{"ip": "", "default-gateway": "", "default-gateway-v6": "", "pidfile": "", "debug": null, "runtimes": null}"#;
        assert!(read(empty).is_ok());
    }

    #[test]
    fn an_unknown_key_and_a_wrong_type_are_named_with_their_line() {
        assert_eq!(
            refusal("{\n  \"registry-mirror\": [],\n\"nope\": 1}"),
            "the following directives don't match any configuration option: registry-mirror (line 2), nope (line 3)"
        );
        assert_eq!(
            refusal("{\n  \"debug\": \"yes\"\n}"),
            "debug (line 2): invalid type: string \"yes\", expected a boolean"
        );
        assert!(refusal(r#"{"dns": ["x"]}"#).ends_with("invalid IP address: x"));
        assert!(
            refusal(r#"{"containerd": "/x"}"#).contains("containerd (line 1) is not supported: ")
        );
    }

    #[test]
    fn what_flags_and_file_both_say_is_refused() {
        let flags = Directives {
            debug: Some(true),
            labels: vec!["c=d".to_owned()],
            ..Directives::default()
        };
        let both = merge(r#"{"debug": false, "labels": ["a=b"]}"#, &flags).expect_err("both");
        assert_eq!(
            both.to_string(),
            "the following directives are specified both as a flag and in the configuration file: debug: (from flag: true, from file: false), labels: (from flag: [c=d], from file: [a=b])"
        );
        let one = merge(r#"{"init": true}"#, &flags).expect("one each");
        assert_eq!((one.init, one.debug), (Some(true), Some(true)));
    }
}
