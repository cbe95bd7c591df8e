//! User namespaces: their mappings, and mounts whose owners are mapped.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

use oci_spec::runtime::LinuxIdMapping;
use rustix::process::{Pid, WaitOptions, waitpid};
use wharf_sys::process::{CloneOptions, Cloned, clone, exit_now, namespace};
use wharf_sys::socket;

use crate::RuntimeError;

/// Mappings of users and groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maps<'a> {
    pub(crate) users: &'a [LinuxIdMapping],
    pub(crate) groups: &'a [LinuxIdMapping],
}

impl<'a> Maps<'a> {
    pub(crate) fn of(
        users: &'a Option<Vec<LinuxIdMapping>>,
        groups: &'a Option<Vec<LinuxIdMapping>>,
    ) -> Option<Self> {
        let (users, groups) = (users.as_deref()?, groups.as_deref()?);
        (!users.is_empty() && !groups.is_empty()).then_some(Self { users, groups })
    }

    /// The root's ids on the host.
    pub(crate) fn root(self) -> (u32, u32) {
        let of = |maps: &[LinuxIdMapping]| {
            let root = maps.iter().find(|map| map.container_id() == 0);
            root.map_or(0, LinuxIdMapping::host_id)
        };
        (of(self.users), of(self.groups))
    }

    /// Gives them to the user namespace of the process `pid`.
    pub(crate) fn write(self, pid: Pid) -> Result<(), RuntimeError> {
        let pid = pid.as_raw_nonzero().get();
        let write = |file: &str, text: &str| std::fs::write(format!("/proc/{pid}/{file}"), text);
        let failed = RuntimeError::system("write the mappings of the user namespace");
        let done = if rustix::process::geteuid().is_root() {
            write("uid_map", &lines(self.users))
                .and_then(|()| write("gid_map", &lines(self.groups)))
        } else {
            self.write_as_user(pid)
        };
        done.map_err(failed)
    }

    /// Who is not root may map himself alone, or asks the programs that may do more (`shadow`).
    fn write_as_user(self, pid: i32) -> io::Result<()> {
        let write = |file: &str, text: &str| std::fs::write(format!("/proc/{pid}/{file}"), text);
        let own = |maps: &[LinuxIdMapping], id: u32| matches!(maps, [one] if one.size() == 1 && one.host_id() == id);
        match own(self.users, rustix::process::geteuid().as_raw()) {
            true => write("uid_map", &lines(self.users))?,
            false => helper("newuidmap", pid, self.users)?,
        }
        match own(self.groups, rustix::process::getegid().as_raw()) {
            true => {
                write("setgroups", "deny")?;
                write("gid_map", &lines(self.groups))
            }
            false => helper("newgidmap", pid, self.groups),
        }
    }
}

fn lines(maps: &[LinuxIdMapping]) -> String {
    let line =
        |map: &LinuxIdMapping| format!("{} {} {}\n", map.container_id(), map.host_id(), map.size());
    maps.iter().map(line).collect()
}

fn helper(program: &str, pid: i32, maps: &[LinuxIdMapping]) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for map in maps {
        command.args([map.container_id(), map.host_id(), map.size()].map(|id| id.to_string()));
    }
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        ))),
    }
}

/// A user namespace with these mappings, that no process is in.
pub(crate) fn user_namespace(maps: Maps<'_>) -> Result<OwnedFd, RuntimeError> {
    let failed = || RuntimeError::system("make a user namespace for a mount");
    let (ours, theirs) = socket::pair().map_err(failed())?;
    let options = CloneOptions {
        namespaces: namespace::USER,
        ..CloneOptions::default()
    };
    match clone(options).map_err(failed())? {
        Cloned::Child => {
            drop(ours);
            // It lives until we have its namespace.
            let _ = socket::receive(&theirs, &mut [0; 1]);
            exit_now(0)
        }
        Cloned::Parent { pid, .. } => {
            drop(theirs);
            let made = maps.write(pid).and_then(|()| {
                let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
                std::fs::File::open(path).map_err(failed())
            });
            drop(ours);
            let _ = waitpid(Some(pid), WaitOptions::empty());
            made.map(Into::into)
        }
    }
}
