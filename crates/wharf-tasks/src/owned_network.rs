//! A network namespace that belongs to a user namespace: that of a container to come.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::Tasks;

/// The mappings of a new user namespace, as the kernel reads them: lines of "inside outside size" (user_namespaces(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMapText {
    /// Of users.
    pub users: String,
    /// Of groups.
    pub groups: String,
}

/// The user namespace that a network is to belong to.
#[derive(Clone, Copy, Debug)]
pub enum NetworkOwner<'a> {
    /// A new one, which nobody is in.
    New(&'a IdMapText),
    /// That of a process.
    Of(u32),
}

impl Tasks {
    /// Makes a network namespace, empty and down. Its user namespace lives as long as it. Blocks for the time that it takes to
    /// execute a program.
    ///
    /// # Errors
    /// If the kernel refuses, or the mappings are none.
    pub fn owned_network(&self, owner: NetworkOwner<'_>) -> io::Result<OwnedFd> {
        let mut command = self.shim.command();
        command.arg("namespaces");
        if let NetworkOwner::Of(pid) = owner {
            command.arg(format!("/proc/{pid}/ns/user"));
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut helper = command.spawn()?;
        let made = take(&mut helper, owner);
        // Its input ends, and so does it.
        let ended = helper.wait_with_output()?;
        made.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::other(String::from_utf8_lossy(&ended.stderr).trim_end().to_owned())
            }
            _ => error,
        })
    }
}

fn take(helper: &mut Child, owner: NetworkOwner<'_>) -> io::Result<OwnedFd> {
    let made = helper.stdout.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
    made.read_exact(&mut [0])?;
    let folder = format!("/proc/{}", helper.id());
    let folder = Path::new(&folder);
    if let NetworkOwner::New(maps) = owner {
        std::fs::write(folder.join("uid_map"), &maps.users)?;
        std::fs::write(folder.join("gid_map"), &maps.groups)?;
    }
    Ok(File::open(folder.join("ns/net"))?.into())
}
