//! Devices by the Container Device Interface: files on the host say what a device of a name adds to a container
//! (CNCF `container-device-interface`, SPEC.md).

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::EngineError;

/// Where the files are, those of later folders winning.
pub(crate) const FOLDERS: &[&str] = &["/etc/cdi", "/var/run/cdi"];

/// A file: the devices of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    /// `vendor.com/class`.
    kind: String,
    #[serde(default)]
    devices: Vec<Device>,
    /// What each of them adds.
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

/// What is added. A field that we do not know would be a device that does not work, so it is an error.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<Mount>,
    hooks: Vec<Hook>,
    additional_gids: Vec<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    path: String,
    host_path: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<i64>,
    minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    host_path: String,
    container_path: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    hook_name: String,
    path: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    timeout: Option<i64>,
}

/// Adds to `spec` what the devices `names` (`vendor.com/class=name`) add.
///
/// # Errors
/// In dockerd's words, if one is not known, or its file cannot be understood.
pub(crate) fn inject(
    folders: &[PathBuf],
    spec: &mut Spec,
    names: &[String],
) -> Result<(), EngineError> {
    let failed = |text: String| EngineError::Failed(format!("CDI device injection failed: {text}"));
    let mut document = serde_json::to_value(&*spec).map_err(|error| failed(error.to_string()))?;
    inject_from(folders, &mut document, names).map_err(failed)?;
    *spec = serde_json::from_value(document).map_err(|error| failed(error.to_string()))?;
    Ok(())
}

fn inject_from(folders: &[PathBuf], spec: &mut Value, names: &[String]) -> Result<(), String> {
    let (files, faults) = read(folders);
    let mut chosen: Vec<(&File, Vec<&Device>)> = Vec::new();
    let mut unknown = Vec::new();
    for name in names {
        let Some((file, device)) = find(&files, name) else {
            unknown.push(name.as_str());
            continue;
        };
        match chosen
            .iter_mut()
            .find(|(known, _)| std::ptr::eq(*known, file))
        {
            Some((_, devices)) => devices.push(device),
            None => chosen.push((file, vec![device])),
        }
    }
    if !unknown.is_empty() {
        // A file that cannot be read is the likely reason.
        let faults: String = faults.iter().map(|fault| format!(" ({fault})")).collect();
        return Err(format!(
            "unresolvable CDI devices {}{faults}",
            unknown.join(", ")
        ));
    }
    for (file, devices) in chosen {
        apply(spec, &file.container_edits)?;
        for device in devices {
            apply(spec, &device.container_edits)?;
        }
    }
    sort_mounts(spec);
    Ok(())
}

/// All files that can be understood, those that win first; and what is wrong with the others.
fn read(folders: &[PathBuf]) -> (Vec<File>, Vec<String>) {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for folder in folders.iter().rev() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            match parse(&path) {
                Some(Ok(file)) => files.push(file),
                Some(Err(error)) => faults.push(format!("{}: {error}", path.display())),
                None => {}
            }
        }
    }
    (files, faults)
}

/// `None` for a file that is none of these.
fn parse(path: &Path) -> Option<Result<File, String>> {
    let text = || std::fs::read_to_string(path).map_err(|error| error.to_string());
    match path.extension()?.to_str()? {
        "json" => Some(
            text().and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string())),
        ),
        "yaml" | "yml" => Some(
            text()
                .and_then(|text| serde_saphyr::from_str(&text).map_err(|error| error.to_string())),
        ),
        _ => None,
    }
}

fn find<'a>(files: &'a [File], name: &str) -> Option<(&'a File, &'a Device)> {
    let (kind, name) = name.split_once('=')?;
    files
        .iter()
        .filter(|file| file.kind == kind)
        .find_map(|file| {
            let device = file.devices.iter().find(|device| device.name == name)?;
            Some((file, device))
        })
}

/// The list at `path`, made if it is not there.
fn list<'a>(spec: &'a mut Value, path: &[&str]) -> Result<&'a mut Vec<Value>, String> {
    let mut at = spec;
    for key in path {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        at = at
            .as_object_mut()
            .ok_or("the spec is no object")?
            .entry(*key)
            .or_insert(Value::Null);
    }
    if at.is_null() {
        *at = Value::Array(Vec::new());
    }
    at.as_array_mut()
        .ok_or_else(|| format!("{} is no list", path.join(".")))
}

fn apply(spec: &mut Value, edits: &Edits) -> Result<(), String> {
    for variable in &edits.env {
        let name = variable.split('=').next().unwrap_or_default();
        let variables = list(spec, &["process", "env"])?;
        variables
            .retain(|known| known.as_str().and_then(|known| known.split('=').next()) != Some(name));
        variables.push(json!(variable));
    }
    for one in &edits.device_nodes {
        node(spec, one)?;
    }
    for mount in &edits.mounts {
        list(spec, &["mounts"])?.push(json!({
            "source": mount.host_path,
            "destination": mount.container_path,
            "type": mount.kind.as_deref().unwrap_or("bind"),
            "options": if mount.options.is_empty() { vec!["rbind".to_owned()] } else { mount.options.clone() },
        }));
    }
    for hook in &edits.hooks {
        let points = [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ];
        if !points.contains(&hook.hook_name.as_str()) {
            return Err(format!("unknown hook name {:?}", hook.hook_name));
        }
        let mut document = json!({ "path": hook.path, "args": hook.args, "env": hook.env });
        if let Some(timeout) = hook.timeout {
            document["timeout"] = json!(timeout);
        }
        list(spec, &["hooks", &hook.hook_name])?.push(document);
    }
    for gid in edits.additional_gids.iter().filter(|gid| **gid != 0) {
        list(spec, &["process", "user", "additionalGids"])?.push(json!(gid));
    }
    Ok(())
}

/// What the file does not say of a node is taken from the host's.
fn node(spec: &mut Value, node: &Node) -> Result<(), String> {
    let host = node.host_path.as_deref().unwrap_or(&node.path);
    let given = node.kind.is_some() && (node.kind.as_deref() == Some("p") || node.major.is_some());
    let (mut kind, mut major, mut minor) = (node.kind.clone(), node.major, node.minor);
    if !given {
        let metadata = std::fs::metadata(host)
            .map_err(|error| format!("failed to stat CDI host device {host:?}: {error}"))?;
        let found = match metadata.file_type() {
            one if one.is_block_device() => "b",
            one if one.is_char_device() => "c",
            one if one.is_fifo() => "p",
            _ => return Err(format!("CDI host device {host:?} is not a device node")),
        };
        kind.get_or_insert(found.to_owned());
        major.get_or_insert(i64::from(rustix::fs::major(metadata.rdev())));
        minor.get_or_insert(i64::from(rustix::fs::minor(metadata.rdev())));
    }
    let (kind, major, minor) = (
        kind.unwrap_or_default(),
        major.unwrap_or(0),
        minor.unwrap_or(0),
    );
    let mut device = json!({ "path": node.path, "type": kind, "major": major, "minor": minor });
    for (key, value) in [
        ("fileMode", node.file_mode),
        ("uid", node.uid),
        ("gid", node.gid),
    ] {
        if let Some(value) = value {
            device[key] = json!(value);
        }
    }
    let devices = list(spec, &["linux", "devices"])?;
    devices.retain(|known| known["path"] != node.path.as_str());
    devices.push(device);
    if matches!(kind.as_str(), "b" | "c") {
        list(spec, &["linux", "resources", "devices"])?.push(json!({
            "allow": true, "type": kind, "major": major, "minor": minor,
            "access": node.permissions.as_deref().unwrap_or("rwm"),
        }));
    }
    Ok(())
}

/// Those of shallower targets first, as the targets of others lie in them.
fn sort_mounts(spec: &mut Value) {
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.sort_by_key(|mount| {
            let target = mount["destination"].as_str().unwrap_or_default();
            target.split('/').filter(|part| !part.is_empty()).count()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "
cdiVersion: 0.6.0
kind: vendor.com/thing
containerEdits:
  env: [ALL=1]
devices:
- name: one
  containerEdits:
    deviceNodes:
    - path: /dev/thing
      hostPath: /dev/null
      permissions: r
    mounts:
    - hostPath: /etc/hostname
      containerPath: /a
      options: [ro, bind]
    hooks:
    - hookName: createContainer
      path: /bin/hook
      args: [hook, x]
    additionalGids: [7]
";

    #[test]
    fn a_device_adds_what_its_file_says() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thing.yaml"), YAML).unwrap();
        std::fs::write(folder.path().join("broken.json"), "{").unwrap();
        let folders = [folder.path().to_owned()];
        let mut spec = json!({"process": {"env": ["ALL=0", "B=2"]}, "mounts": [{"destination": "/a/b"}], "linux": {}});
        let names = ["vendor.com/thing=one".to_owned()];
        inject_from(&folders, &mut spec, &names).unwrap();
        assert_eq!(spec["process"]["env"], json!(["B=2", "ALL=1"]));
        assert_eq!(
            spec["linux"]["devices"][0],
            json!({"path": "/dev/thing", "type": "c", "major": 1, "minor": 3})
        );
        assert_eq!(spec["linux"]["resources"]["devices"][0]["access"], "r");
        assert_eq!(spec["mounts"][0]["destination"], "/a");
        assert_eq!(
            spec["hooks"]["createContainer"][0]["args"],
            json!(["hook", "x"])
        );
        assert_eq!(spec["process"]["user"]["additionalGids"], json!([7]));
        let unknown = ["vendor.com/thing=two".to_owned()];
        let error = inject_from(&folders, &mut spec, &unknown).unwrap_err();
        assert!(
            error.starts_with("unresolvable CDI devices vendor.com/thing=two (")
                && error.contains("broken.json"),
            "{error}"
        );
    }
}
