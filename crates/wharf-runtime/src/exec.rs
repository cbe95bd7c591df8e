//! A further process in a container.
//!
//! The caller forks a first child, which closes everything of the caller's, joins the pid namespace and forks
//! the process itself, as a child of the caller. So what appears among the container's processes has at no time
//! a descriptor of the host's that is not meant for it (CVE-2016-9962, CVE-2024-21626).

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use oci_spec::runtime::Process;
use rustix::process::{WaitOptions, waitpid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use wharf_cgroups::Cgroup;
use wharf_sys::process::{CloneOptions, Cloned, clone, close_all_but, exit_now};

use crate::child::{Last, Ready, begin, connect};
use crate::create::{Created, ProcessIo, finish};
use crate::proc::Proc;
use crate::{Failure, RuntimeError, sync, user};

/// Everything a further process is made of.
pub struct ExecConfig<'a> {
    /// The process, as the OCI spec has it.
    pub process: &'a Process,
    /// A pidfd of the container's first process.
    pub container: BorrowedFd<'a>,
    /// The container's control group.
    pub cgroup: Option<&'a Cgroup>,
    /// A compiled seccomp filter: the bytes of its `struct sock_filter` array.
    pub seccomp: Option<Vec<u8>>,
    /// The standard streams.
    pub io: ProcessIo,
    /// User and group as text, resolved inside; the process's numbers if empty.
    pub user: String,
    /// Further groups as text.
    pub groups: Vec<String>,
    /// Kill the process when the caller dies.
    pub die_with_caller: bool,
}

/// Makes the process: all is set up, and it waits for [`Created::start`].
///
/// # Errors
/// If anything fails; no process is left then. `ESRCH` if the container has ended.
pub fn exec(config: ExecConfig<'_>) -> Result<Created, RuntimeError> {
    let (ours, theirs) = sync::pair().map_err(RuntimeError::system("make a socket"))?;
    let birthplace = config.cgroup.and_then(Cgroup::birthplace);
    let to_move = config.cgroup.filter(|_| birthplace.is_none());
    let cloned = clone(CloneOptions::default());
    match cloned.map_err(RuntimeError::system("clone a process"))? {
        Cloned::Child => {
            let code = first(&config, birthplace, theirs);
            exit_now(code)
        }
        Cloned::Parent { pid, .. } => {
            drop((theirs, config.io));
            let process = ours.take_process();
            // The first child ends as soon as it has told.
            let _ = waitpid(Some(pid), WaitOptions::empty());
            let (pid, pidfd) = process?;
            finish(ours, to_move, pid, pidfd)
        }
    }
}

/// The first child. Gives the exit code.
fn first(config: &ExecConfig<'_>, birthplace: Option<BorrowedFd<'_>>, sync: sync::Child) -> i32 {
    match forked(config, birthplace, &sync) {
        Ok(Some(())) => 0,
        Ok(None) => match prepare(config, &sync) {
            Ok((ready, proc)) => ready.go(sync, None, &proc, None),
            Err(failure) => {
                sync.failed(&failure);
                1
            }
        },
        Err(failure) => {
            sync.failed(&failure);
            1
        }
    }
}

/// `Some` in the first child, `None` in the process that it has made.
fn forked(
    config: &ExecConfig<'_>,
    birthplace: Option<BorrowedFd<'_>>,
    sync: &sync::Child,
) -> Result<Option<()>, Failure> {
    keep_only(config, birthplace, sync).map_err(Failure::at("close descriptors"))?;
    begin(false)?;
    let entered = move_into_thread_name_spaces(config.container, ThreadNameSpaceType::PROCESS_ID);
    entered.map_err(|error| Failure::at("join the container's pid namespace")(error.into()))?;
    let options = CloneOptions {
        namespaces: 0,
        cgroup: birthplace,
        sibling: true,
    };
    match clone(options).map_err(Failure::at("clone a process"))? {
        Cloned::Child => Ok(None),
        Cloned::Parent { pid, pidfd } => sync.give_process(pid, pidfd.as_fd()).map(Some),
    }
}

fn keep_only(
    config: &ExecConfig<'_>,
    birthplace: Option<BorrowedFd<'_>>,
    sync: &sync::Child,
) -> std::io::Result<()> {
    let streams: &[OwnedFd] = match &config.io {
        ProcessIo::Streams(streams) => streams,
        ProcessIo::Terminal { .. } | ProcessIo::Inherit => &[],
    };
    let mut keep: Vec<BorrowedFd<'_>> = streams.iter().map(|stream| stream.as_fd()).collect();
    keep.extend([sync.0.as_fd(), config.container]);
    keep.extend(birthplace);
    keep.extend([
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ]);
    close_all_but(&keep)
}

fn prepare(config: &ExecConfig<'_>, sync: &sync::Child) -> Result<(Ready, Proc), Failure> {
    begin(config.die_with_caller)?;
    let kinds = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::NETWORK;
    let entered = move_into_thread_name_spaces(config.container, kinds);
    entered.map_err(|error| Failure::at("join the container's namespaces")(error.into()))?;
    let proc = Proc::open()?;
    let master = connect(&config.io, config.process, false)?;
    let identity = user::resolve(config.process, &config.user, &config.groups)?;
    sync.wait_for_go()?;
    let last = Last {
        program: config.process,
        identity: &identity,
        seccomp: config.seccomp.as_deref(),
        die_with_caller: config.die_with_caller,
        preserve_fds: 0,
    };
    let ready = last.prepare(&proc)?;
    sync.ready(master.as_ref().map(|master| master.as_fd()))?;
    Ok((ready, proc))
}
