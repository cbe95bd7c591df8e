//! Devices and device rules of a container, with paths of the host turned into numbers (moby `oci/devices_linux.go`).

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use wharf_bundle as bundle;

use crate::{DeviceMapping, EngineError, HostConfig};

/// The node `path` of the host, to be made at `target`.
fn node(path: &Path, target: &str) -> Result<bundle::Device, String> {
    let metadata = std::fs::metadata(path).map_err(|error| wharf_sys::words::of(&error))?;
    let kind = metadata.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return Err("not a device node".to_owned());
    }
    let device = metadata.rdev();
    Ok(bundle::Device {
        path: target.to_owned(),
        block: kind.is_block_device(),
        major: i64::from(rustix::fs::major(device)),
        minor: i64::from(rustix::fs::minor(device)),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// The nodes that a mapping means: one, or all that lie below a folder.
fn mapped(mapping: &DeviceMapping) -> Result<Vec<bundle::Device>, EngineError> {
    let target = match mapping.container.as_str() {
        "" => mapping.host.as_str(),
        target => target,
    };
    let path = Path::new(&mapping.host);
    let error = match node(path, target) {
        Ok(node) => return Ok(vec![node]),
        Err(error) => error,
    };
    let mut nodes = Vec::new();
    if path.is_dir() {
        within(path, target, &mut nodes);
    }
    match nodes.is_empty() {
        false => Ok(nodes),
        true => Err(EngineError::Failed(format!(
            "error gathering device information while adding custom device {:?}: {error}",
            mapping.host
        ))),
    }
}

fn within(folder: &Path, target: &str, nodes: &mut Vec<bundle::Device>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let (Ok(kind), Some(name)) = (entry.file_type(), name.to_str()) else {
            continue;
        };
        let target = format!("{target}/{name}");
        match kind.is_dir() {
            true => within(&path, &target, nodes),
            // What is no device does not matter in a folder of devices.
            false => nodes.extend(node(&path, &target).ok()),
        }
    }
}

/// The devices that are asked for by name (CDI). Other drivers of devices we have none.
pub(super) fn named(host: &HostConfig) -> Result<Vec<String>, EngineError> {
    let mut names = Vec::new();
    for request in &host.resources.device_requests {
        if request.driver != "cdi" {
            // Go's `%v` of a list of lists.
            let capabilities = request
                .capabilities
                .iter()
                .map(|any| format!("[{}]", any.join(" ")));
            let capabilities: Vec<String> = capabilities.collect();
            return Err(EngineError::Failed(format!(
                "could not select device driver {:?} with capabilities: [{}]",
                request.driver,
                capabilities.join(" ")
            )));
        }
        names.extend(request.device_ids.iter().cloned());
    }
    Ok(names)
}

/// Nodes to make in `/dev` beside the default ones.
pub(super) fn devices(host: &HostConfig) -> Result<Vec<bundle::Device>, EngineError> {
    let mut devices = Vec::new();
    if host.privileged {
        below(Path::new("/dev"), &mut devices);
    }
    for mapping in &host.resources.devices {
        let same = mapping.container.is_empty() || mapping.container == mapping.host;
        if host.privileged && same {
            // It is there already.
            continue;
        }
        devices.extend(mapped(mapping)?);
    }
    Ok(devices)
}

/// All nodes of the host, for `--privileged` (runc `devices.HostDevices`).
fn below(folder: &Path, devices: &mut Vec<bundle::Device>) {
    const OTHERS: &[&str] = &[
        "pts",
        "shm",
        "fd",
        "mqueue",
        ".lxc",
        ".lxd-mounts",
        ".udev",
        "console",
        "ptmx",
        "tty",
    ];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if OTHERS.iter().any(|other| *other == name) {
            continue;
        }
        if kind.is_dir() {
            below(&path, devices);
        } else if let Some(text) = path
            .to_str()
            .filter(|_| !kind.is_symlink() && !kind.is_file())
        {
            // A socket or a FIFO is no device.
            devices.extend(node(&path, text).ok());
        }
    }
}

/// Rules beside the default ones: for the devices that are given, and those that are typed.
pub(super) fn rules(host: &HostConfig) -> Result<Vec<bundle::DeviceRule>, EngineError> {
    let mut rules = Vec::new();
    for mapping in &host.resources.devices {
        let access = match mapping.permissions.as_str() {
            "" => "rwm",
            access => access,
        };
        rules.extend(mapped(mapping)?.iter().map(|node| bundle::DeviceRule {
            allow: true,
            kind: if node.block { 'b' } else { 'c' },
            major: Some(node.major),
            minor: Some(node.minor),
            access: access.to_owned(),
        }));
    }
    for text in &host.resources.device_cgroup_rules {
        rules.push(rule(text)?);
    }
    Ok(rules)
}

/// `c 1:3 rwm`, `a *:* rwm`.
fn rule(text: &str) -> Result<bundle::DeviceRule, EngineError> {
    let invalid = || EngineError::Invalid(format!("invalid device cgroup rule format: '{text}'"));
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind, numbers, access] = words[..] else {
        return Err(invalid());
    };
    let kind = match kind {
        "a" => 'a',
        "b" => 'b',
        "c" => 'c',
        _ => return Err(invalid()),
    };
    if access.len() > 3 || !access.chars().all(|letter| "rwm".contains(letter)) {
        return Err(invalid());
    }
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        text => text.parse().map(Some).map_err(|_| invalid()),
    };
    Ok(bundle::DeviceRule {
        allow: true,
        kind,
        major: number(major)?,
        minor: number(minor)?,
        access: access.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host: &str) -> DeviceMapping {
        DeviceMapping {
            host: host.to_owned(),
            container: "/dev/own".to_owned(),
            permissions: String::new(),
        }
    }

    #[test]
    fn a_device_a_folder_of_devices_and_none() {
        let one = mapped(&mapping("/dev/null")).unwrap();
        assert_eq!(
            (one.len(), one[0].path.as_str(), one[0].minor),
            (1, "/dev/own", 3)
        );
        let all = mapped(&mapping("/dev")).unwrap();
        assert!(
            all.iter()
                .any(|node| node.path == "/dev/own/zero" && node.minor == 5)
        );
        let missing = mapped(&mapping("/dev/nosuch")).unwrap_err().message();
        assert_eq!(
            missing,
            "error gathering device information while adding custom device \"/dev/nosuch\": no such file or directory"
        );
        let file = mapped(&mapping("/etc/passwd")).unwrap_err().message();
        assert!(file.ends_with(": not a device node"), "{file}");
    }

    #[test]
    fn reads_device_rules() {
        let read = rule("c 1:* r").unwrap();
        assert_eq!(
            (read.kind, read.major, read.minor, read.access.as_str()),
            ('c', Some(1), None, "r")
        );
        assert!(rule("x 1:1 r").is_err() && rule("c 1 r").is_err() && rule("c a:1 r").is_err());
        assert!(rule("c 1:1 x").is_err());
    }
}
