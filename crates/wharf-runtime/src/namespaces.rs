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
                    let file =
                        File::open(path).map_err(RuntimeError::system("open a namespace"))?;
                    namespaces.joined.push((flag, file.into()));
                }
                None if flag == namespace::CGROUP => namespaces.cgroup = true,
                None => namespaces.new |= flag,
            }
        }
        if let Some(network) = network {
            namespaces.new &= !namespace::NETWORK;
            namespaces
                .joined
                .retain(|(flag, _)| *flag != namespace::NETWORK);
            namespaces.joined.push((namespace::NETWORK, network));
        }
        if namespaces.new & namespace::USER != 0 {
            let text = "user namespaces are not supported yet";
            return Err(RuntimeError::Unsupported(text.to_owned()));
        }
        Ok(namespaces)
    }

    pub(crate) fn has_new(&self, flag: u64) -> bool {
        self.new & flag != 0
    }

    pub(crate) fn joins_pid(&self) -> bool {
        self.joined.iter().any(|(flag, _)| *flag == namespace::PID)
    }

    /// A joined pid namespace is entered by the caller, as it is for children only.
    pub(crate) fn enter_pid(&self) -> Result<(), RuntimeError> {
        let pid = self.joined.iter().find(|(flag, _)| *flag == namespace::PID);
        let entered = pid.map_or(Ok(()), |(_, fd)| {
            move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::ProcessID))
        });
        entered.map_err(|error| RuntimeError::system("enter the pid namespace")(error.into()))
    }

    /// Enters those that are joined, in the child.
    pub(crate) fn enter(&self) -> Result<(), Failure> {
        for (flag, fd) in self
            .joined
            .iter()
            .filter(|(flag, _)| *flag != namespace::PID)
        {
            let kind = link_type(*flag);
            let entered = move_into_link_name_space(fd.as_fd(), kind);
            entered.map_err(|error| Failure::at("join a namespace")(error.into()))?;
        }
        Ok(())
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
