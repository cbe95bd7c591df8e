//! The spec's namespaces: which are new, which are joined.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wharf_sys::process::namespace;

use crate::{Failure, RuntimeError};

/// What becomes of each namespace.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// `CLONE_NEW*` flags of those that are new, but for the cgroup namespace.
    pub(crate) new: u64,
    /// A new cgroup namespace: unshared by the child once it is in its group.
    pub(crate) cgroup: bool,
    /// Those that are joined.
    joined: Vec<(u64, OwnedFd)>,
}

impl Namespaces {
    pub(crate) fn of(spec: &Spec, network: Option<OwnedFd>) -> Result<Self, RuntimeError> {
        let mut namespaces = Self::default();
        let listed = spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.namespaces().as_ref());
        for one in listed.into_iter().flatten() {
            let flag = flag_of(one.typ());
            match one.path() {
                Some(path) => {
                    let failed = |error: std::io::Error| {
                        let (path, words) = (path.display(), wharf_sys::words::of(&error));
                        RuntimeError::Unsupported(format!("namespace path: lstat {path}: {words}"))
                    };
                    let file = File::open(path).map_err(failed)?;
                    check_kind(&file, one.typ())?;
                    namespaces.joined.push((flag, file.into()));
                }
                None if flag == namespace::CGROUP => namespaces.cgroup = true,
                None => namespaces.new |= flag,
            }
        }
        if let Some(network) = network {
            namespaces.join_network(network)?;
        }
        Ok(namespaces)
    }

    /// The network namespace that the caller has made. A container that is to have a user namespace of its own takes the one
    /// that the network belongs to: in any other it would have no rights over its links and ports.
    fn join_network(&mut self, network: OwnedFd) -> Result<(), RuntimeError> {
        if self.has_new(namespace::USER) {
            let failed = || RuntimeError::system("find the network's user namespace");
            let owner = wharf_sys::process::owner_of(network.as_fd()).map_err(failed())?;
            let own = File::open("/proc/self/ns/user").map_err(failed())?;
            if !same(&owner, own.as_fd()).map_err(failed())? {
                self.new &= !namespace::USER;
                self.joined.push((namespace::USER, owner));
            }
        }
        self.new &= !namespace::NETWORK;
        self.joined.retain(|(flag, _)| *flag != namespace::NETWORK);
        self.joined.push((namespace::NETWORK, network));
        Ok(())
    }

    /// The user namespace that is joined.
    pub(crate) fn user(&self) -> Option<&OwnedFd> {
        let mut joined = self.joined.iter();
        joined
            .find(|(flag, _)| *flag == namespace::USER)
            .map(|(_, fd)| fd)
    }

    pub(crate) fn has_new(&self, flag: u64) -> bool {
        self.new & flag != 0
    }

    pub(crate) fn joins_pid(&self) -> bool {
        self.joined.iter().any(|(flag, _)| *flag == namespace::PID)
    }

    /// Whether its mounts are somebody else's.
    pub(crate) fn joins_mounts(&self) -> bool {
        self.joins(namespace::MOUNT)
    }

    /// The network namespace that is joined.
    pub(crate) fn network(&self) -> Option<&OwnedFd> {
        let mut joined = self.joined.iter();
        joined
            .find(|(flag, _)| *flag == namespace::NETWORK)
            .map(|(_, fd)| fd)
    }

    /// Enters a joined pid namespace, for children.
    pub(crate) fn enter_pid(&self) -> Result<(), Failure> {
        let pid = self.joined.iter().find(|(flag, _)| *flag == namespace::PID);
        let entered = pid.map_or(Ok(()), |(_, fd)| {
            move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::ProcessID))
        });
        entered.map_err(|error| Failure::at("enter the pid namespace")(error.into()))
    }

    /// Whether the container has a user namespace that is not ours.
    pub(crate) fn has_user(&self) -> bool {
        self.has_new(namespace::USER) || self.joins(namespace::USER)
    }

    /// Whether it has a host name that is not ours, of its own or that of those it joins.
    pub(crate) fn has_uts(&self) -> bool {
        self.has_new(namespace::UTS) || self.joins(namespace::UTS)
    }

    /// Whether it has a cgroup namespace that is not ours.
    pub(crate) fn has_own_cgroups(&self) -> bool {
        self.cgroup || self.joins(namespace::CGROUP)
    }

    fn joins(&self, flag: u64) -> bool {
        self.joined.iter().any(|(joined, _)| *joined == flag)
    }

    /// Whether a process between us and the container's has to go ahead: namespaces belong to the user namespace
    /// that their maker is in, and those that are joined want the rights of before.
    pub(crate) fn need_a_stage(&self) -> bool {
        self.joins(namespace::USER) || self.has_new(namespace::USER) && !self.joined.is_empty()
    }

    /// Enters those that are joined, but for pid.
    pub(crate) fn enter(&self) -> Result<(), Failure> {
        let plain = |flag: u64| flag != namespace::PID && flag != namespace::USER;
        let mut later = Vec::new();
        for (flag, fd) in self.joined.iter().filter(|(flag, _)| plain(*flag)) {
            match move_into_link_name_space(fd.as_fd(), link_type(*flag)) {
                // Its user namespace's root may.
                Err(rustix::io::Errno::PERM) if self.joins(namespace::USER) => {
                    later.push((flag, fd));
                }
                other => other.map_err(|error| Failure::at("join a namespace")(error.into()))?,
            }
        }
        let user = self
            .joined
            .iter()
            .filter(|(flag, _)| *flag == namespace::USER);
        for (flag, fd) in user.map(|(flag, fd)| (flag, fd)).chain(later) {
            let entered = move_into_link_name_space(fd.as_fd(), link_type(*flag));
            entered.map_err(|error| Failure::at("join a namespace")(error.into()))?;
        }
        Ok(())
    }
}

fn same(one: &OwnedFd, other: std::os::fd::BorrowedFd<'_>) -> std::io::Result<bool> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// A path that leads to a namespace of another kind, or to none, is refused (OCI, `config-linux`).
fn check_kind(file: &File, kind: LinuxNamespaceType) -> Result<(), RuntimeError> {
    // The kernel calls it `pid:[4026531836]`.
    let name = wharf_sys::process::name_of(file.as_fd());
    let name = name.map_err(RuntimeError::system("look at a namespace"))?;
    let wanted = match kind {
        LinuxNamespaceType::Mount => "mnt",
        LinuxNamespaceType::Network => "net",
        other => word(other),
    };
    match name.split(':').next() == Some(wanted) {
        true => Ok(()),
        false => Err(RuntimeError::Unsupported(format!(
            "namespace path leads to {name}, which is no {wanted} namespace"
        ))),
    }
}

/// What the specification calls it.
pub fn word(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Time => "time",
    }
}

fn flag_of(kind: LinuxNamespaceType) -> u64 {
    match kind {
        LinuxNamespaceType::Mount => namespace::MOUNT,
        LinuxNamespaceType::Cgroup => namespace::CGROUP,
        LinuxNamespaceType::Uts => namespace::UTS,
        LinuxNamespaceType::Ipc => namespace::IPC,
        LinuxNamespaceType::User => namespace::USER,
        LinuxNamespaceType::Pid => namespace::PID,
        LinuxNamespaceType::Network => namespace::NETWORK,
        LinuxNamespaceType::Time => namespace::TIME,
    }
}

fn link_type(flag: u64) -> Option<LinkNameSpaceType> {
    Some(match flag {
        namespace::MOUNT => LinkNameSpaceType::Mount,
        namespace::CGROUP => LinkNameSpaceType::ControlGroup,
        namespace::UTS => LinkNameSpaceType::HostNameAndNISDomainName,
        namespace::IPC => LinkNameSpaceType::InterProcessCommunication,
        namespace::USER => LinkNameSpaceType::User,
        namespace::TIME => LinkNameSpaceType::Time,
        namespace::NETWORK => LinkNameSpaceType::Network,
        _ => return None,
    })
}
