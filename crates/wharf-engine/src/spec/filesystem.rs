//! The mounts of a container: Docker's defaults, its files of `/etc`, then what was asked for.

use serde_json::{Value, json};

use super::Joined;
use crate::containers::Shared;
use crate::record::Record;
use crate::{HostConfig, IpcMode, MountPoint};

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": target, "type": kind, "source": source, "options": options })
}

/// All mounts in the order in which they are made: one that lies inside another comes after it.
pub(super) fn mounts(shared: &Shared, record: &Record, joined: &Joined) -> Vec<Value> {
    let host = record.host.as_ref();
    let mut asked: Vec<Value> = record.mounts.iter().map(point).collect();
    asked.extend(
        host.tmpfs
            .iter()
            .map(|(target, options)| tmpfs(target, options, true)),
    );
    let taken = |target: &str| asked.iter().any(|mount| mount["destination"] == target);
    let mut mounts = defaults(record, joined);
    // Who brings a /dev/shm (or a /sys) of their own gets that one only.
    mounts.retain(|mount| !taken(mount["destination"].as_str().unwrap_or_default()));
    let files = files(shared, record, joined);
    let files = files
        .into_iter()
        .filter(|mount| !taken(mount["destination"].as_str().unwrap_or_default()));
    let mut later: Vec<Value> = files.chain(asked.iter().cloned()).collect();
    later.sort_by_key(|mount| {
        mount["destination"]
            .as_str()
            .map_or(0, |target| target.matches('/').count())
    });
    mounts.extend(later);
    mounts
}

fn defaults(record: &Record, joined: &Joined) -> Vec<Value> {
    let host: &HostConfig = &record.host;
    let access = if host.privileged { "rw" } else { "ro" };
    let writable_groups = host.privileged
        || host
            .security_opt
            .iter()
            .any(|option| option == "writable-cgroups=true");
    let groups = if writable_groups { "rw" } else { "ro" };
    let common = ["nosuid", "noexec", "nodev"];
    let with = |more: &'static str| [common[0], common[1], common[2], more];
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &common),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("/sys", "sysfs", "sysfs", &with(access)),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &with(groups)),
    ];
    let shm = format!("size={}", host.shm_size);
    match (&host.ipc_mode, &joined.ipc) {
        (IpcMode::None, _) => {}
        (IpcMode::Host, _) => {
            mounts.push(mount(
                "/dev/shm",
                "bind",
                "/dev/shm",
                &["rbind", "rprivate"],
            ));
            mounts.push(mount(
                "/dev/mqueue",
                "bind",
                "/dev/mqueue",
                &["rbind", "rprivate"],
            ));
        }
        (_, Some(other)) => {
            let source = format!("/proc/{}/root/dev/shm", other.state.pid);
            mounts.push(mount("/dev/shm", "bind", &source, &["rbind", "rprivate"]));
            mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &common));
        }
        _ => {
            mounts.push(mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", &shm],
            ));
            mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &common));
        }
    }
    mounts
}

/// `/etc/resolv.conf`, `/etc/hostname`, `/etc/hosts`: those of the container whose network is shared, else its own.
fn files(shared: &Shared, record: &Record, joined: &Joined) -> Vec<Value> {
    let id = joined
        .network
        .as_ref()
        .map_or(&record.id, |other| &other.id);
    let folder = shared.folders.of(id);
    let access = if record.host.readonly_rootfs {
        "ro"
    } else {
        "rw"
    };
    let file = |target: &str, name: &str| {
        let source = folder.join(name);
        mount(
            target,
            "bind",
            &source.to_string_lossy(),
            &["rbind", "rprivate", access],
        )
    };
    vec![
        file("/etc/resolv.conf", "resolv.conf"),
        file("/etc/hostname", "hostname"),
        file("/etc/hosts", "hosts"),
    ]
}

fn point(point: &MountPoint) -> Value {
    if let Some(options) = &point.tmpfs {
        return tmpfs(&point.destination, options, point.rw);
    }
    let source = match point.subpath.as_str() {
        "" => point.source.clone(),
        subpath => point.source.join(subpath.trim_start_matches('/')),
    };
    let bind = if point.non_recursive { "bind" } else { "rbind" };
    let access = if point.rw { "rw" } else { "ro" };
    let propagation = if point.propagation.is_empty() {
        "rprivate"
    } else {
        &point.propagation
    };
    mount(
        &point.destination,
        "bind",
        &source.to_string_lossy(),
        &[bind, access, propagation],
    )
}

/// Docker's defaults for a tmpfs, then what was said, which wins.
fn tmpfs(target: &str, options: &str, writable: bool) -> Value {
    let mut all = vec!["noexec", "nosuid", "nodev"];
    if !writable {
        all.push("ro");
    }
    all.extend(options.split(',').filter(|option| !option.is_empty()));
    mount(target, "tmpfs", "tmpfs", &all)
}
