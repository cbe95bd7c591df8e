//! The mounts of a container beside the bundle's defaults: its files of `/etc`, and what was asked for.

use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use wharf_bundle::{Mount, MountSource, Owners};

use super::Joined;
use crate::containers::Shared;
use crate::record::Record;
use crate::{EngineError, MountPoint, NamespaceMode, userns};

/// All of them; the bundle puts them into order.
pub(super) fn mounts(
    shared: &Shared,
    record: &Record,
    joined: &Joined,
) -> Result<Vec<Mount>, EngineError> {
    let points = record.mounts.iter();
    let mut mounts = points
        .map(|one| point(shared, record, one))
        .collect::<Result<Vec<Mount>, _>>()?;
    for (target, options) in &record.host.tmpfs {
        mounts.push(tmpfs(target, options, false)?);
    }
    let taken: Vec<String> = mounts
        .iter()
        .map(|mount| mount.destination.clone())
        .collect();
    let free = |mount: &Mount| !taken.contains(&mount.destination);
    mounts.extend(files(shared, record, joined).into_iter().filter(free));
    if let Some(other) = &joined.ipc {
        let shm = Mount {
            destination: "/dev/shm".to_owned(),
            source: MountSource::OfProcess {
                pid: other.state.pid,
                path: PathBuf::from("/dev/shm"),
            },
            read_only: false,
            recursive: false,
        };
        mounts.extend(Some(shm).filter(free));
    }
    Ok(mounts)
}

fn bind(target: &str, path: PathBuf, owners: Owners, read_only: bool) -> Mount {
    Mount {
        destination: target.to_owned(),
        source: MountSource::Bind {
            path,
            non_recursive: false,
            propagation: "rprivate".to_owned(),
            subpath: String::new(),
            owners,
        },
        read_only,
        recursive: false,
    }
}

/// `/etc/resolv.conf`, `/etc/hostname`, `/etc/hosts`: those of the container whose network is shared, else its own.
fn files(shared: &Shared, record: &Record, joined: &Joined) -> Vec<Mount> {
    let id = joined
        .network
        .as_ref()
        .map_or(&record.id, |other| &other.id);
    let folder = shared.folders.of(id);
    let read_only = record.host.readonly_rootfs;
    let mut names = vec!["resolv.conf", "hosts"];
    if record.host.uts_mode != NamespaceMode::Host || joined.network.is_some() {
        names.push("hostname");
    }
    let owners = match userns::of(&shared.config, &record.host) {
        Some(_) => Owners::Container,
        None => Owners::Host,
    };
    let file = |name: &str| {
        let (target, path) = (format!("/etc/{name}"), folder.join(name));
        bind(&target, path, owners.clone(), read_only)
    };
    names.into_iter().map(file).collect()
}

fn point(shared: &Shared, record: &Record, point: &MountPoint) -> Result<Mount, EngineError> {
    if let Some(options) = &point.tmpfs {
        return tmpfs(&point.destination, options, !point.rw);
    }
    let made = |source| Mount {
        destination: point.destination.clone(),
        source,
        read_only: !point.rw,
        // As dockerd does since API 1.44, unless it is asked otherwise.
        recursive: !point.top_read_only,
    };
    if let Some(layers) = &point.layers {
        return Ok(made(MountSource::Overlay {
            lowers: layers.lowers.clone(),
            upper: layers.upper.clone(),
            subpath: String::new(),
        }));
    }
    if !point.snapshot.is_empty() {
        let found = shared.snapshots.rootfs(&point.snapshot);
        let found = found.map_err(|error| EngineError::failed(&error))?;
        return Ok(made(MountSource::Overlay {
            // An overlay without an upper folder wants two lower ones; the snapshot's own is empty.
            lowers: std::iter::once(found.upper).chain(found.lowers).collect(),
            upper: None,
            subpath: point.subpath.clone(),
        }));
    }
    check_subpath(point)?;
    let propagation = match point.propagation.as_str() {
        "" => "rprivate",
        propagation => propagation,
    };
    let remapped = userns::of(&shared.config, &record.host).is_some();
    let owners = match &point.id_mapping {
        Some(mapping) => super::owners::of(shared, record, point, mapping)?,
        None if remapped && userns::is_ours(&shared.volumes, point) => Owners::Container,
        None => Owners::Host,
    };
    Ok(made(MountSource::Bind {
        path: point.source.clone(),
        non_recursive: point.non_recursive,
        propagation: propagation.to_owned(),
        subpath: point.subpath.clone(),
        owners,
    }))
}

/// A sub-path that is not there, or leads out, is told in moby's words; what is mounted is found once more, by
/// descriptor.
fn check_subpath(point: &MountPoint) -> Result<(), EngineError> {
    if point.subpath.is_empty() {
        return Ok(());
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = rustix::fs::open(&point.source, flags, Mode::empty()).and_then(|folder| {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        openat2(
            &folder,
            point.subpath.as_str(),
            flags,
            Mode::empty(),
            resolve,
        )
    });
    let (base, subpath) = (point.source.display(), &point.subpath);
    match found {
        Ok(_) => Ok(()),
        Err(Errno::XDEV | Errno::LOOP) => Err(EngineError::Invalid(format!(
            "path concatenation escapes the base directory, base: {base}, subpath: {subpath}"
        ))),
        Err(Errno::NOENT) => Err(EngineError::Invalid(format!(
            "cannot access path {base}/{subpath}: lstat {base}/{subpath}: no such file or directory"
        ))),
        Err(error) => Err(EngineError::Failed(format!(
            "cannot access path {base}/{subpath}: {error}"
        ))),
    }
}

/// What a tmpfs may be told (moby `pkg/mount`, `MergeTmpfsOptions`).
const TMPFS_KEYS: &[&str] = &[
    "size",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "mpol",
];
const TMPFS_WORDS: &[&str] = &[
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "bind",
    "rbind",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];

fn tmpfs(target: &str, options: &str, read_only: bool) -> Result<Mount, EngineError> {
    let options: Vec<String> = options
        .split(',')
        .filter(|option| !option.is_empty())
        .map(str::to_owned)
        .collect();
    for option in &options {
        let known = match option.split_once('=') {
            Some((key, _)) => TMPFS_KEYS.contains(&key),
            None => TMPFS_WORDS.contains(&option.as_str()),
        };
        if !known {
            let key = option.split('=').next().unwrap_or_default();
            return Err(EngineError::Invalid(format!(
                "invalid tmpfs option {key:?}"
            )));
        }
    }
    Ok(Mount {
        destination: target.to_owned(),
        source: MountSource::Tmpfs(options),
        read_only,
        recursive: false,
    })
}
