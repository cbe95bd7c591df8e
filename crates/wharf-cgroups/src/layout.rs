//! Which hierarchies the host has.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::CgroupError;

const MOUNT: &str = "/sys/fs/cgroup";

/// Controllers of v1 that a container gets a group in, if the host has them.
const V1: &[&str] = &[
    "devices",
    "memory",
    "pids",
    "cpu",
    "cpuacct",
    "cpuset",
    "freezer",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    // No controller: the hierarchy that systemd keeps its services by. A container's processes are in it as well, as with
    // runc, and one that runs systemd looks for it.
    "systemd",
];

/// The host's hierarchies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One hierarchy with all controllers.
    V2 {
        /// Its mount point.
        mount: PathBuf,
    },
    /// A hierarchy for each controller (or for several that are linked together).
    V1 {
        /// Controller and mount point; a mount point stands once.
        controllers: Vec<(&'static str, PathBuf)>,
    },
}

impl Layout {
    /// Looks at what is mounted, once: a running host's hierarchies stay as they are.
    ///
    /// # Errors
    /// [`CgroupError::NoHierarchy`].
    pub fn detect() -> Result<Self, CgroupError> {
        static SEEN: OnceLock<Layout> = OnceLock::new();
        match SEEN.get() {
            Some(seen) => Ok(seen.clone()),
            None => Self::look().map(|found| SEEN.get_or_init(|| found).clone()),
        }
    }

    fn look() -> Result<Self, CgroupError> {
        let mount = Path::new(MOUNT);
        if mount.join("cgroup.controllers").exists() {
            return Ok(Self::V2 {
                mount: mount.to_owned(),
            });
        }
        let mut controllers: Vec<(&'static str, PathBuf)> = Vec::new();
        for name in V1 {
            // `cpu` and `cpuacct` are links to one folder on many hosts.
            let plain = mount.join(name);
            let folder = match std::fs::read_link(&plain) {
                Ok(target) => mount.join(target),
                Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => plain,
                Err(_) => continue,
            };
            let known = controllers.iter().any(|(_, seen)| *seen == folder);
            if folder.join("cgroup.procs").exists() && !known {
                controllers.push((name, folder));
            }
        }
        match controllers.is_empty() {
            true => Err(CgroupError::NoHierarchy),
            false => Ok(Self::V1 { controllers }),
        }
    }

    /// Whether it is v2 alone.
    pub fn is_v2(&self) -> bool {
        matches!(self, Self::V2 { .. })
    }
}
