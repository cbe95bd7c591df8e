//! Containers whose users are not the host's (`userns-remap`).
//!
//! On disk layers, volumes and a container's own files have the ids that the container sees; for a container in a user
//! namespace they are mounted with mapped owners (Linux 5.12, of layers 5.19). So images and volumes are one store for all
//! containers, remapped or not (`--userns=host`), and the setting can change without anything being copied. dockerd writes
//! the host's ids instead, and keeps a data root for each mapping. A bind of the host's files is not mapped, as with dockerd.
//!
//! Every container has a user namespace of its own, made together with its network namespace by the shim's program
//! ([`wharf_tasks::Tasks::owned_network`]), so that it has rights over its links and ports; the shim enters the one that the
//! network belongs to. Whoever shares another container's namespaces shares its user namespace, as with dockerd.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use wharf_layer::{IdMaps, IdRow};
use wharf_network::{NamespaceMaker, Owner};
use wharf_sys::mount;
use wharf_tasks::{IdMapText, NetworkOwner, Tasks};

use crate::{
    EngineConfig, EngineError, HostConfig, IdRange, MountPoint, NamespaceMode, NetworkMode,
};

/// What the ids of containers are on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remap {
    /// Users: `on_disk` is the container's id, `shown` the host's. The first row begins with the container's root.
    pub users: Vec<IdRange>,
    /// Groups.
    pub groups: Vec<IdRange>,
}

impl Remap {
    fn text(&self) -> IdMapText {
        let lines = |rows: &[IdRange]| {
            let line = |row: &IdRange| format!("{} {} {}\n", row.on_disk, row.shown, row.size);
            rows.iter().map(line).collect()
        };
        IdMapText {
            users: lines(&self.users),
            groups: lines(&self.groups),
        }
    }

    /// For archives of files that are seen with the host's ids.
    pub(crate) fn archive(&self) -> IdMaps {
        let rows = |rows: &[IdRange]| {
            let row = |row: &IdRange| IdRow {
                inside: row.on_disk,
                outside: row.shown,
                size: row.size,
            };
            rows.iter().map(row).collect()
        };
        IdMaps {
            users: rows(&self.users),
            groups: rows(&self.groups),
        }
    }

    /// The host's ids of the container's root.
    pub(crate) fn root(&self) -> (u32, u32) {
        let of = |rows: &[IdRange]| {
            rows.iter()
                .find(|row| row.on_disk == 0)
                .map(|row| row.shown)
        };
        (
            of(&self.users).unwrap_or_default(),
            of(&self.groups).unwrap_or_default(),
        )
    }
}

/// Rows that end in ids of the container, carried on to the host's by `map`; what is not mapped is left out.
pub(crate) fn through(rows: &[IdRange], map: &[IdRange]) -> Vec<IdRange> {
    let mut all = Vec::new();
    for row in rows {
        for onward in map {
            let first = row.shown.max(onward.on_disk);
            let last = u64::from(row.shown) + u64::from(row.size);
            let last = last.min(u64::from(onward.on_disk) + u64::from(onward.size));
            if u64::from(first) < last {
                all.push(IdRange {
                    on_disk: row.on_disk + (first - row.shown),
                    shown: onward.shown + (first - onward.on_disk),
                    size: u32::try_from(last - u64::from(first)).unwrap_or(u32::MAX),
                });
            }
        }
    }
    all
}

/// The mapping of a container with these settings; none if it is in the host's user namespace.
pub(crate) fn of<'a>(config: &'a EngineConfig, host: &HostConfig) -> Option<&'a Remap> {
    let remap = config.userns_remap.as_ref();
    remap.filter(|_| host.userns_mode != "host")
}

/// Refuses what a user namespace has no rights to, in dockerd's words (moby `daemon_unix.go`).
pub(crate) fn check(config: &EngineConfig, host: &HostConfig) -> Result<(), EngineError> {
    if of(config, host).is_none() {
        return Ok(());
    }
    let text = if host.privileged {
        "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode"
    } else if host.network_mode == NetworkMode::Host {
        "cannot share the host's network namespace when user namespaces are enabled"
    } else if host.pid_mode == NamespaceMode::Host {
        "cannot share the host PID namespace when user namespaces are enabled"
    } else if !crate::launch::is_own_runtime(&host.runtime) {
        "other OCI runtimes than wharf's own cannot be used when user namespaces are enabled: run the container in the host namespace (--userns=host)"
    } else {
        return Ok(());
    };
    Err(EngineError::Invalid(text.to_owned()))
}

/// Whether the ids on the disk of this mount are the container's. Those of what a volume's driver mounts are the driver's.
pub(crate) fn is_ours(volumes: &wharf_volumes::Volumes, point: &MountPoint) -> bool {
    point.kind == "volume" && !volumes.is_mounted_on_use(&point.name)
}

/// Makes the namespaces of remapped containers.
pub(crate) fn maker(tasks: &Tasks, remap: &Remap) -> NamespaceMaker {
    let (tasks, maps) = (tasks.clone(), remap.text());
    NamespaceMaker::new(move |owner| {
        tasks.owned_network(match owner {
            Owner::Of(pid) => NetworkOwner::Of(pid),
            Owner::New | Owner::Daemon => NetworkOwner::New(&maps),
        })
    })
}

/// A user namespace with the mapping that no process is in, for mounts of the daemon's own.
#[derive(Debug, Default)]
pub(crate) struct ForMounts(OnceLock<Arc<OwnedFd>>);

/// A user namespace to mount files with, and the ids of its root.
#[derive(Clone, Debug)]
pub(crate) struct MountUser {
    pub(crate) namespace: Arc<OwnedFd>,
    pub(crate) root: (u32, u32),
}

impl ForMounts {
    /// It; blocks when it is asked for first.
    pub(crate) fn get(&self, tasks: &Tasks, remap: &Remap) -> Result<Arc<OwnedFd>, EngineError> {
        if let Some(known) = self.0.get() {
            return Ok(known.clone());
        }
        let text = remap.text();
        let made = tasks
            .owned_network(NetworkOwner::New(&text))
            .and_then(|network| wharf_sys::process::owner_of(network.as_fd()));
        let made = made.map_err(|error| {
            EngineError::Failed(format!("userns-remap: make a user namespace: {error}"))
        })?;
        Ok(self.0.get_or_init(|| Arc::new(made)).clone())
    }
}

/// Whether the kernel and the data root's file system can map owners, found out before a container is refused.
pub(crate) fn probe(root: &Path, user: &OwnedFd, remap: &Remap) -> Result<(), EngineError> {
    let failed = |what: &str, error: std::io::Error| {
        let root = root.display();
        EngineError::Failed(format!("userns-remap: {what} in {root}: {error}"))
    };
    mount::mapped(root, user.as_fd())
        .map_err(|error| failed("the file system cannot mount with mapped owners", error))?;
    let both = [root.join("containers"), root.join("volumes")];
    mount::mapped_overlay(&both, None, user.as_fd(), remap.root())
        .map(drop)
        .map_err(|error| {
            failed(
                "layers cannot be mounted with mapped owners, which wants Linux 5.19",
                error,
            )
        })
}

/// Makes files from now on as the container's root, on this thread alone: nobody else has an id on mapped mounts. What the
/// daemon may otherwise, it still may.
pub(crate) fn act_as_root_of(remap: &Remap) -> Result<(), EngineError> {
    let (uid, gid) = remap.root();
    wharf_sys::process::act_as(uid, gid)
        .map_err(|error| EngineError::Failed(format!("act as the container's root: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(on_disk: u32, shown: u32, size: u32) -> IdRange {
        IdRange {
            on_disk,
            shown,
            size,
        }
    }

    #[test]
    fn a_mapping_of_a_mount_goes_on_to_the_host() {
        let map = [row(0, 100_000, 1000), row(1000, 500_000, 1000)];
        // Across the border of two rows.
        assert_eq!(
            through(&[row(5, 990, 20)], &map),
            [row(5, 100_990, 10), row(15, 500_000, 10)]
        );
        // All ids: those that the container has.
        assert_eq!(
            through(&[row(0, 0, u32::MAX)], &map),
            [row(0, 100_000, 1000), row(1000, 500_000, 1000)]
        );
        assert_eq!(through(&[row(0, 3000, 1)], &map), []);
    }

    #[test]
    fn the_kernel_reads_lines() {
        let remap = Remap {
            users: vec![row(0, 100_000, 65_536)],
            groups: vec![row(0, 7, 1), row(1, 200_000, 9)],
        };
        let text = remap.text();
        assert_eq!(text.users, "0 100000 65536\n");
        assert_eq!(text.groups, "0 7 1\n1 200000 9\n");
        assert_eq!(remap.root(), (100_000, 7));
    }

    #[test]
    fn what_needs_the_host_is_refused_unless_it_is_in_its_user_namespace() {
        let config = EngineConfig {
            userns_remap: Some(Remap::default()),
            ..EngineConfig::default()
        };
        let mut host = HostConfig {
            privileged: true,
            ..HostConfig::default()
        };
        assert!(check(&EngineConfig::default(), &host).is_ok());
        let refused = check(&config, &host).expect_err("privileged").message();
        assert!(refused.starts_with("privileged mode is incompatible with user namespaces."));
        host.userns_mode = "host".to_owned();
        assert!(check(&config, &host).is_ok());
    }
}
