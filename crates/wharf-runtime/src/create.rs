//! The caller's side: a container's first process, made and waiting.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use oci_spec::runtime::Spec;
use rustix::process::Pid;
use wharf_cgroups::{Cgroup, CgroupError};
use wharf_sys::process::{CloneOptions, Cloned, clone, exit_now};

use crate::child::{self, Plan};
use crate::namespaces::Namespaces;
use crate::{Rootfs, RuntimeError, sync};

/// The standard streams of a process.
#[derive(Debug)]
pub enum ProcessIo {
    /// A terminal of the container's own; the other side comes back from [`create`].
    Terminal {
        /// Rows and columns to begin with; the spec's if `None`.
        size: Option<(u16, u16)>,
    },
    /// Three descriptors.
    Streams([OwnedFd; 3]),
    /// Those of the caller.
    Inherit,
}

/// Everything a container's first process is made of.
pub struct Config<'a> {
    /// The OCI spec.
    pub spec: &'a Spec,
    /// Its root filesystem.
    pub rootfs: Rootfs,
    /// Its control group, made already.
    pub cgroup: Option<&'a Cgroup>,
    /// A network namespace to join instead of the spec's.
    pub network: Option<OwnedFd>,
    /// A compiled seccomp filter: the bytes of its `struct sock_filter` array.
    pub seccomp: Option<Vec<u8>>,
    /// The standard streams.
    pub io: ProcessIo,
    /// User and group as text, resolved inside; the spec's numbers if empty.
    pub user: String,
    /// Further groups as text.
    pub groups: Vec<String>,
    /// A program that runs as the first process, before the spec's arguments (`--init`).
    pub init: Option<OwnedFd>,
    /// Kill the process when the caller dies.
    pub die_with_caller: bool,
    /// Wait for a reader of this FIFO (opened `O_PATH`) instead of for [`Created::start`]: the caller need not
    /// live until then (`create` of the OCI command line).
    pub start_fifo: Option<OwnedFd>,
    /// How many descriptors from 3 on the program inherits (`--preserve-fds`).
    pub preserve_fds: u32,
}

/// A process that waits for its start.
#[derive(Debug)]
pub struct Created {
    /// Its pid, as the caller's namespace counts.
    pub pid: Pid,
    /// The process, whatever becomes of its number.
    pub pidfd: OwnedFd,
    /// The caller's side of its terminal.
    pub terminal: Option<OwnedFd>,
    pub(crate) sync: sync::Caller,
}

/// Makes the process: all is set up, and it waits for [`Created::start`].
///
/// # Errors
/// If anything fails; no process, mount or membership is left then, the cgroup is the caller's.
pub fn create(config: Config<'_>) -> Result<Created, RuntimeError> {
    let namespaces = Namespaces::of(config.spec, config.network)?;
    let (ours, theirs) = sync::pair().map_err(RuntimeError::system("make a socket"))?;
    let birthplace = config.cgroup.and_then(Cgroup::birthplace);
    let options = CloneOptions {
        namespaces: namespaces.new,
        cgroup: birthplace,
        sibling: false,
    };
    let plan = Plan {
        spec: config.spec,
        rootfs: config.rootfs,
        cgroup: config.cgroup,
        born_in_cgroup: birthplace.is_some(),
        namespaces: &namespaces,
        seccomp: config.seccomp,
        io: config.io,
        user: config.user,
        groups: config.groups,
        init: config.init,
        die_with_caller: config.die_with_caller,
        start_fifo: config.start_fifo,
        preserve_fds: config.preserve_fds,
    };
    let cloned = in_pid_namespace(&namespaces, || {
        clone(options).map_err(RuntimeError::system("clone a process"))
    })?;
    match cloned {
        Cloned::Child => {
            drop(ours);
            let code = child::run(plan, theirs);
            exit_now(code)
        }
        Cloned::Parent { pid, pidfd } => {
            drop((theirs, plan));
            finish(
                ours,
                config.cgroup.filter(|_| birthplace.is_none()),
                pid,
                pidfd,
            )
        }
    }
}

/// Runs `make` while this process's children are born in the pid namespace that is joined, if one is.
fn in_pid_namespace<T>(
    namespaces: &Namespaces,
    make: impl FnOnce() -> Result<T, RuntimeError>,
) -> Result<T, RuntimeError> {
    if !namespaces.joins_pid() {
        return make();
    }
    let own = File::open("/proc/self/ns/pid").map_err(RuntimeError::system("open a namespace"))?;
    namespaces.enter_pid()?;
    let made = make();
    // The child comes by here too: it cannot go back up, and need not, as it makes no children.
    let kind = Some(rustix::thread::LinkNameSpaceType::ProcessID);
    let _ = rustix::thread::move_into_link_name_space(own.as_fd(), kind);
    made
}

/// The part of creating that [`create`] and [`crate::exec`] share. `cgroup`: to move the process into.
pub(crate) fn finish(
    sync: sync::Caller,
    cgroup: Option<&Cgroup>,
    pid: Pid,
    pidfd: OwnedFd,
) -> Result<Created, RuntimeError> {
    let made = || -> Result<Option<OwnedFd>, RuntimeError> {
        // The child goes on with its mounts meanwhile: moving takes long on v1.
        match cgroup.map_or(Ok(()), |cgroup| cgroup.add(pid.as_raw_nonzero().get())) {
            // It has ended already, and says why.
            Err(CgroupError::File { source, .. }) if source.raw_os_error() == Some(ESRCH) => {}
            other => other?,
        }
        // A child that has ended already has said why.
        let _ = sync.go();
        sync.wait_until_ready()
    };
    match made() {
        Ok(terminal) => Ok(Created {
            pid,
            pidfd,
            terminal,
            sync,
        }),
        Err(error) => {
            discard(pid, &pidfd);
            Err(error)
        }
    }
}

const ESRCH: i32 = 3;

/// Kills and reaps a process that will not be used.
pub(crate) fn discard(pid: Pid, pidfd: &OwnedFd) {
    let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
    let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
}

impl Created {
    /// Lets the process execute its program, and returns when it has.
    ///
    /// # Errors
    /// [`RuntimeError::Child`] if it could not; the process has ended then, and is the caller's to reap.
    pub fn start(&self) -> Result<(), RuntimeError> {
        self.sync.start()
    }
}
