//! The mounts of a container beside the bundle's defaults: its files of `/etc`, and what was asked for.

use std::path::PathBuf;

use wharf_bundle::{Mount, MountSource};

use super::Joined;
use crate::containers::Shared;
use crate::record::Record;
use crate::{MountPoint, NamespaceMode};

/// All of them; the bundle puts them into order.
pub(super) fn mounts(shared: &Shared, record: &Record, joined: &Joined) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = record.mounts.iter().map(point).collect();
    let asked = record.host.tmpfs.iter();
    mounts.extend(asked.map(|(target, options)| tmpfs(target, options, false)));
    let taken: Vec<String> = mounts
        .iter()
        .map(|mount| mount.destination.clone())
        .collect();
    let free = |mount: &Mount| !taken.contains(&mount.destination);
    mounts.extend(files(shared, record, joined).into_iter().filter(free));
    if let Some(other) = &joined.ipc {
        let path = PathBuf::from(format!("/proc/{}/root/dev/shm", other.state.pid));
        mounts.extend(Some(bind("/dev/shm", path, false)).filter(free));
    }
    mounts
}

fn bind(target: &str, path: PathBuf, read_only: bool) -> Mount {
    Mount {
        destination: target.to_owned(),
        source: MountSource::Bind {
            path,
            non_recursive: false,
            propagation: "rprivate".to_owned(),
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
    let file = |name: &str| bind(&format!("/etc/{name}"), folder.join(name), read_only);
    names.into_iter().map(file).collect()
}

fn point(point: &MountPoint) -> Mount {
    if let Some(options) = &point.tmpfs {
        return tmpfs(&point.destination, options, !point.rw);
    }
    if let Some(layers) = &point.layers {
        return Mount {
            destination: point.destination.clone(),
            source: MountSource::Overlay {
                lowers: layers.lowers.clone(),
                upper: layers.upper.clone(),
            },
            read_only: !point.rw,
            recursive: false,
        };
    }
    let path = match point.subpath.as_str() {
        "" => point.source.clone(),
        subpath => point.source.join(subpath.trim_start_matches('/')),
    };
    let propagation = match point.propagation.as_str() {
        "" => "rprivate",
        propagation => propagation,
    };
    Mount {
        destination: point.destination.clone(),
        source: MountSource::Bind {
            path,
            non_recursive: point.non_recursive,
            propagation: propagation.to_owned(),
        },
        read_only: !point.rw,
        // As dockerd does since API 1.44, unless it is asked otherwise.
        recursive: !point.top_read_only,
    }
}

fn tmpfs(target: &str, options: &str, read_only: bool) -> Mount {
    let options = options.split(',').filter(|option| !option.is_empty());
    Mount {
        destination: target.to_owned(),
        source: MountSource::Tmpfs(options.map(str::to_owned).collect()),
        read_only,
        recursive: false,
    }
}
