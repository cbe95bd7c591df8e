//! Privileges, security options, namespaces, devices.

use serde_json::{Value, json};

use super::env::reason;
use super::{Fields, checks, gpus};
use crate::cli::{Flag, Kind, Matches, flag, list, switch, text};

/// Flags of security and isolation.
pub static FLAGS: &[Flag] = &[
    list("cap-add", "Give a capability"),
    list("cap-drop", "Take a capability away"),
    text("cgroupns", "Namespace of control groups (host|private)"),
    list("device", "Give a device of the host: PATH[:PATH][:rwm]"),
    flag(
        "device-cgroup-rule",
        Kind::Checked("list", checks::device_rule),
        "Allow access to devices by rule",
    ),
    flag(
        "gpus",
        Kind::Checked("gpu-request", gpus::check),
        "Give graphics processors ('all' gives all)",
    ),
    list("group-add", "Further group of the process"),
    text("ipc", "Namespace for IPC"),
    text("isolation", "Isolation technology"),
    text("pid", "Namespace for processes"),
    switch("privileged", "Give all privileges of the host"),
    switch("read-only", "Make the root file system read-only"),
    list("security-opt", "Set a security option"),
    text("userns", "Namespace for users"),
    text("uts", "Namespace for host names"),
];

/// Puts this group into `HostConfig`.
pub fn apply(matches: &Matches, host: &mut Fields) -> Result<(), String> {
    host.list("CapAdd", matches.list("cap-add"));
    host.list("CapDrop", matches.list("cap-drop"));
    host.list("GroupAdd", matches.list("group-add"));
    host.list("DeviceCgroupRules", matches.list("device-cgroup-rule"));
    host.on("Privileged", matches.on("privileged"));
    host.on("ReadonlyRootfs", matches.on("read-only"));
    host.text("Isolation", matches.text("isolation"));
    namespaces(matches, host)?;
    let (named, paths): (Vec<String>, Vec<String>) = matches
        .list("device")
        .iter()
        .cloned()
        .partition(|spec| is_qualified(spec));
    let devices = paths
        .iter()
        .map(|spec| device(spec))
        .collect::<Result<Vec<_>, _>>()?;
    let devices: Vec<Value> = devices.into_iter().flatten().collect();
    if !devices.is_empty() {
        host.set("Devices", devices);
    }
    let mut requests = Vec::new();
    for request in matches.list("gpus") {
        requests.push(gpus::request(request)?);
    }
    if !named.is_empty() {
        requests.push(json!({"Driver": "cdi", "DeviceIDs": named}));
    }
    if !requests.is_empty() {
        host.set("DeviceRequests", requests);
    }
    security_options(matches, host)
}

fn namespaces(matches: &Matches, host: &mut Fields) -> Result<(), String> {
    let container = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|name| !name.is_empty())
    };
    let pid = matches.text("pid");
    if !matches!(pid, "" | "host") && !container(pid) {
        return Err("--pid: invalid PID mode".to_owned());
    }
    if !matches!(matches.text("uts"), "" | "host") {
        return Err("--uts: invalid UTS mode".to_owned());
    }
    if !matches!(matches.text("userns"), "" | "host") {
        return Err("--userns: invalid USER mode".to_owned());
    }
    if !matches!(matches.text("cgroupns"), "" | "host" | "private") {
        return Err("--cgroupns: invalid CGROUP mode".to_owned());
    }
    host.text("PidMode", pid);
    host.text("IpcMode", matches.text("ipc"));
    host.text("UTSMode", matches.text("uts"));
    host.text("UsernsMode", matches.text("userns"));
    host.text("CgroupnsMode", matches.text("cgroupns"));
    Ok(())
}

// A seccomp profile is a file of the client: the daemon gets its text. `systempaths` is told by empty lists.
fn security_options(matches: &Matches, host: &mut Fields) -> Result<(), String> {
    let mut options = Vec::new();
    for option in matches.list("security-opt") {
        let (key, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some(pair) => pair,
            None if option == "no-new-privileges" => (option.as_str(), ""),
            None => return Err(format!("invalid --security-opt: {option:?}")),
        };
        match (key, value) {
            ("systempaths", "unconfined") => {
                host.set("MaskedPaths", json!([]));
                host.set("ReadonlyPaths", json!([]));
            }
            ("seccomp", path) if !matches!(path, "unconfined" | "builtin") => {
                options.push(format!("seccomp={}", profile(path)?));
            }
            _ => options.push(option.clone()),
        }
    }
    host.list("SecurityOpt", &options);
    Ok(())
}

fn profile(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!(
            "opening seccomp profile ({path}) failed: open {path}: {}",
            reason(&error)
        )
    })?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| format!("compacting json for seccomp profile ({path}) failed: {error}"))?;
    Ok(value.to_string())
}

fn is_access(text: &str) -> bool {
    let mut seen = String::new();
    !text.is_empty()
        && text.chars().all(|letter| {
            let fresh = "rwm".contains(letter) && !seen.contains(letter);
            seen.push(letter);
            fresh
        })
}

/// Whether it is a device's name in the Container Device Interface: `vendor/class=name`.
fn is_qualified(spec: &str) -> bool {
    let Some((kind, name)) = spec.split_once('=') else {
        return false;
    };
    let Some((vendor, class)) = kind.split_once('/') else {
        return false;
    };
    let starts = |text: &str| text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    starts(vendor) && starts(class) && starts(name) && !class.contains('/')
}

/// Reads one `--device`; a path that ends with `*` stands for all that match.
pub fn device(spec: &str) -> Result<Vec<Value>, String> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, access) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, access] if is_access(access) => (*source, *source, *access),
        [source, target] => (*source, *target, "rwm"),
        [_, _, access] if !is_access(access) => {
            return Err(format!("bad mode specified: {access}"));
        }
        [source, target, access] => (*source, *target, *access),
        _ => return Err(format!("bad format for path: {spec}")),
    };
    if source.is_empty() {
        return Err(format!("bad format for path: {spec}"));
    }
    if !target.starts_with('/') {
        return Err(format!("{target} is not an absolute path"));
    }
    let mapping = |host: &str, inside: &str| json!({"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": access});
    let Some(prefix) = source.strip_suffix('*') else {
        return Ok(vec![mapping(source, target)]);
    };
    if target != source {
        return Err(format!("device with * suffix can't have dst: {spec}"));
    }
    Ok(matching(prefix)
        .iter()
        .map(|path| mapping(path, path))
        .collect())
}

fn matching(prefix: &str) -> Vec<String> {
    let (dir, start) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let entries = std::fs::read_dir(format!("{dir}/"))
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut paths: Vec<String> = names
        .filter(|name| name.starts_with(start))
        .map(|name| format!("{dir}/{name}"))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &str, expected: &str) {
        let shown = device(spec).map_or_else(|error| error, |list| Value::Array(list).to_string());
        assert_eq!(shown, expected, "{spec}");
    }

    #[test]
    fn device_specs() {
        check(
            "/dev/x",
            r#"[{"PathOnHost":"/dev/x","PathInContainer":"/dev/x","CgroupPermissions":"rwm"}]"#,
        );
        check(
            "/dev/x:rm",
            r#"[{"PathOnHost":"/dev/x","PathInContainer":"/dev/x","CgroupPermissions":"rm"}]"#,
        );
        check(
            "/dev/x:/dev/y:r",
            r#"[{"PathOnHost":"/dev/x","PathInContainer":"/dev/y","CgroupPermissions":"r"}]"#,
        );
        check("/dev/x:/dev/y:rr", "bad mode specified: rr");
        check("/dev/x:y", "y is not an absolute path");
        check("a:b:c:d", "bad format for path: a:b:c:d");
    }
}
