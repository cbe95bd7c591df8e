//! The default mounts, and those of the user among them.

use serde_json::{Value, json};

use crate::{ContainerSpec, IdRange, Mount, MountSource, Namespace, Owners};

/// All mounts, those of shallower targets first, as the targets of others lie in them.
pub(crate) fn mounts(spec: &ContainerSpec) -> Vec<Value> {
    let given = |target: &str| spec.mounts.iter().any(|mount| mount.destination == target);
    // Who brings a /dev brings what is in it, as with moby; but for /dev/shm, which is shared between containers.
    let is_in_given_dev = |target: &str| target.starts_with("/dev/") && target != "/dev/shm";
    let taken = |target: &str| given(target) || (given("/dev") && is_in_given_dev(target));
    let mut mounts: Vec<Value> = defaults(spec);
    mounts.retain(|mount| !taken(mount["destination"].as_str().unwrap_or_default()));
    mounts.extend(spec.mounts.iter().map(mount_of));
    mounts.sort_by_key(|mount| {
        let target = mount["destination"].as_str().unwrap_or_default();
        target.split('/').filter(|part| !part.is_empty()).count()
    });
    mounts
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

fn defaults(spec: &ContainerSpec) -> Vec<Value> {
    let safe = ["nosuid", "noexec", "nodev"];
    let access = if spec.privileged { "rw" } else { "ro" };
    let guarded: Vec<&str> = safe.into_iter().chain([access]).collect();
    let groups = match spec.writable_cgroups.unwrap_or(spec.privileged) {
        true => "rw",
        false => "ro",
    };
    let groups: Vec<&str> = safe.into_iter().chain([groups]).collect();
    let pts = [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        "gid=5",
    ];
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &safe),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/sys", "sysfs", "sysfs", &guarded),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &groups),
        mount("/dev/mqueue", "mqueue", "mqueue", &safe),
    ];
    match &spec.namespaces.ipc {
        Namespace::Host => {
            // Not every host has its queues mounted; but they are not to be mounted by who is not the host's root.
            if spec.namespaces.user.is_some() {
                mounts.pop();
                mounts.push(mount(
                    "/dev/mqueue",
                    "bind",
                    "/dev/mqueue",
                    &["rbind", "nosuid", "noexec", "nodev"],
                ));
            }
            mounts.push(mount(
                "/dev/shm",
                "bind",
                "/dev/shm",
                &["rbind", "nosuid", "noexec", "nodev"],
            ));
        }
        // The other container's own /dev/shm comes among the user's mounts.
        Namespace::Path(_) => {}
        Namespace::Private if spec.shm_size == 0 => {}
        Namespace::Private => {
            let size = format!("size={}", spec.shm_size);
            mounts.push(mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", &size],
            ));
        }
    }
    mounts
}

/// An option of ours: OCI has no word for a part of a source.
fn below(subpath: &str) -> Option<String> {
    (!subpath.is_empty()).then(|| format!("x-wharf.subpath={subpath}"))
}

pub(crate) fn range(range: &IdRange) -> Value {
    json!({ "containerID": range.on_disk, "hostID": range.shown, "size": range.size })
}

fn mount_of(asked: &Mount) -> Value {
    // Nothing is said of one that is not read-only: its source may be, and stays so.
    let access = match (asked.read_only, asked.recursive) {
        (false, _) => None,
        (true, false) => Some("ro"),
        (true, true) => Some("rro"),
    };
    match &asked.source {
        MountSource::Bind {
            path,
            non_recursive,
            propagation,
            subpath,
            owners,
        } => {
            let bind = if *non_recursive { "bind" } else { "rbind" };
            let source = path.to_string_lossy();
            let mut options = vec![bind];
            options.extend(access);
            options.push(propagation);
            let below = below(subpath);
            options.extend(below.as_deref());
            if *owners == Owners::Container {
                options.push("idmap");
            }
            let mut made = mount(&asked.destination, "bind", &source, &options);
            if let Owners::Rows { users, groups } = owners {
                made["uidMappings"] = users.iter().map(range).collect();
                made["gidMappings"] = groups.iter().map(range).collect();
            }
            made
        }
        MountSource::OfProcess { pid, path } => {
            // OCI has no word for it either.
            let process = format!("x-wharf.process={pid}");
            let mut options = vec!["bind", "rprivate", &process];
            options.extend(access);
            let source = path.to_string_lossy();
            mount(&asked.destination, "bind", &source, &options)
        }
        MountSource::Tmpfs(options) => {
            let mut all = vec!["noexec", "nosuid", "nodev"];
            for option in options {
                // What the user says replaces the default that it contradicts.
                let denied = format!("no{option}");
                all.retain(|default| **default != denied);
                all.push(option);
            }
            if asked.read_only {
                all.push("ro");
            }
            mount(&asked.destination, "tmpfs", "tmpfs", &all)
        }
        MountSource::Overlay {
            lowers,
            upper,
            subpath,
        } => {
            let access = if asked.read_only { "ro" } else { "rw" };
            let mut options = vec!["nodev".to_owned(), access.to_owned()];
            options.extend(below(subpath));
            let layer = |name: &str, path: &std::path::Path| format!("{name}={}", path.display());
            options.extend(lowers.iter().map(|lower| layer("lowerdir+", lower)));
            if let Some((upper, work)) = upper {
                options.push(layer("upperdir", upper));
                options.push(layer("workdir", work));
            }
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            mount(&asked.destination, "overlay", "overlay", &options)
        }
    }
}
