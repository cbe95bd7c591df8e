//! `spec`.

use serde_json::{Value, json};
use wharf_cgroups::Layout;

use super::flags::{Command, Said, Takes};
use super::global::Global;
use super::{Outcome, SPEC_VERSION};

pub(crate) const SPEC: Command = Command {
    name: "spec",
    about: "create a new specification file",
    usage: "[command options]",
    words: (0, Some(0)),
    flags: &[
        (
            "bundle",
            "b",
            Takes::Value,
            "path to the root of the bundle directory",
        ),
        (
            "rootless",
            "",
            Takes::Nothing,
            "generate a configuration for a rootless container",
        ),
    ],
    stops: false,
};

/// Writes a `config.json` to begin with.
pub(crate) fn spec(_: &Global, said: &Said) -> Outcome {
    if let Some(bundle) = said.value("bundle").filter(|bundle| !bundle.is_empty()) {
        std::env::set_current_dir(bundle).map_err(|error| format!("chdir {bundle}: {error}"))?;
    }
    if std::path::Path::new("config.json").exists() {
        return Err("File config.json exists. Remove it first".to_owned());
    }
    let mut spec = example();
    if matches!(Layout::detect(), Ok(Layout::V2 { .. })) {
        // As runc: where a container sees its own group only, and nothing is lost by it.
        if let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() {
            namespaces.push(json!({ "type": "cgroup" }));
        }
    }
    if said.has("rootless") {
        make_rootless(&mut spec);
    }
    let mut text = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, indent);
    serde::Serialize::serialize(&spec, &mut serializer).map_err(|error| error.to_string())?;
    let written = std::fs::write("config.json", text);
    written.map(|()| 0).map_err(|error| error.to_string())
}

fn example() -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let cgroup = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    json!({
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "runc",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &cgroup),
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    })
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    let mut mount = json!({ "destination": destination, "type": kind, "source": source });
    if !options.is_empty() {
        mount["options"] = options.into();
    }
    mount
}

/// A user namespace, and nothing that needs more rights than it gives.
fn make_rootless(spec: &mut Value) {
    let one = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
    let linux = &mut spec["linux"];
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|one| one["type"] != "network" && one["type"] != "user");
        namespaces.push(json!({ "type": "user" }));
    }
    linux["uidMappings"] = one(rustix::process::geteuid().as_raw());
    linux["gidMappings"] = one(rustix::process::getegid().as_raw());
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("resources");
    }
    let Some(mounts) = spec["mounts"].as_array_mut() else {
        return;
    };
    for mount in mounts.iter_mut() {
        if mount["destination"] == "/sys" {
            let options = ["rbind", "nosuid", "noexec", "nodev", "ro"];
            *mount = self::mount("/sys", "none", "/sys", &options);
        }
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            options.retain(|option| {
                let text = option.as_str().unwrap_or_default();
                !text.starts_with("gid=") && !text.starts_with("uid=")
            });
        }
    }
}
