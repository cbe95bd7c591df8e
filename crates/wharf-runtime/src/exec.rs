//! A further process in a container.
//!
//! The caller forks a first child, which goes into the container's group, closes everything of the caller's, joins all of
//! the container's namespaces and forks the process itself, as a child of the caller. So what appears among the container's
//! processes has at no time a descriptor of the host's that is not meant for it, nor the host's root or a folder below it
//! (CVE-2016-9962, CVE-2024-21626): that it cannot be looked into does not hold for who has the right to trace, and
//! "close on exec" comes too late.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};

use oci_spec::runtime::Process;
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use wharf_cgroups::{Cgroup, Entrance};
use wharf_sys::process::{CloneOptions, Cloned, clone, exit_now};

use crate::child::{self, Last, Ready, begin, connect, keep_only};
use crate::create::{Created, Heard, Help, ProcessIo, discard};
use crate::{Failure, Filter, Listener, RuntimeError, schedule, sync, terminal, user};

/// Everything a further process is made of.
pub struct ExecConfig<'a> {
    /// The process, as the OCI spec has it.
    pub process: &'a Process,
    /// A pidfd of the container's first process.
    pub container: BorrowedFd<'a>,
    /// The container's control group.
    pub cgroup: Option<&'a Cgroup>,
    /// A compiled seccomp filter.
    pub seccomp: Option<Filter>,
    /// The standard streams.
    pub io: ProcessIo,
    /// User and group as text, resolved inside; the process's numbers if empty.
    pub user: String,
    /// Further groups as text.
    pub groups: Vec<String>,
    /// Kill the process when the caller dies.
    pub die_with_caller: bool,
    /// How many descriptors from 3 on the program inherits (`--preserve-fds`).
    pub preserve_fds: u32,
    /// The name of the container's session keyring; the caller's is kept if `None`.
    pub keyring: Option<String>,
}

/// A further process that is being made. What it needs of the container, a file system that does not answer, may keep it for
/// ever: nobody has to wait for it.
#[derive(Debug)]
pub struct Making {
    sync: sync::Caller,
    stage: Stage,
    needs: Needs,
}

/// Who is at the other end.
#[derive(Debug)]
enum Stage {
    /// The first child, which makes the process.
    First(First),
    /// The process.
    Process(Pid, OwnedFd, First),
}

/// The first child, until it has been waited for. It ends as soon as it has told of the process; but it is in the container's group,
/// and ends later if that is frozen meanwhile. Nobody waits for that.
#[derive(Debug)]
struct First(Option<Pid>);

/// First children that had not ended when nobody needed them any more. They are waited for when there is something to do anyway: a
/// thread that waits would keep this process from forking.
static LEFT: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

impl First {
    fn reap(&mut self) {
        self.0 = self.0.filter(|pid| !has_ended(*pid));
    }
}

impl Drop for First {
    fn drop(&mut self) {
        self.reap();
        let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|pid| !has_ended(*pid));
        left.extend(self.0);
    }
}

/// Whether the child has ended; it is waited for then.
fn has_ended(child: Pid) -> bool {
    !matches!(waitpid(Some(child), WaitOptions::NOHANG), Ok(None))
}

/// What the caller has to do for the process.
#[derive(Debug)]
struct Needs {
    /// It is to be moved into its group, or that of this process, the container's first.
    moved: Option<i32>,
    /// What its user namespace takes the right to.
    helped: Option<Box<Process>>,
    listener: Option<Listener>,
}

/// How far [`Making::go_on`] has come.
#[derive(Debug)]
pub enum Step {
    /// There is more to do.
    Making(Making),
    /// All is set up, and the process waits for [`Created::start`].
    Made(Created),
}

/// Readable when there is something to do.
impl AsFd for Making {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sync.0.as_fd()
    }
}

impl Making {
    /// Waits for the next word, and does what is to be done then. `cgroup` is that of [`ExecConfig::cgroup`].
    ///
    /// # Errors
    /// As [`exec`].
    pub fn go_on(self, cgroup: Option<&Cgroup>) -> Result<Step, RuntimeError> {
        let Self { sync, stage, needs } = self;
        let (pid, pidfd, mut first) = match stage {
            Stage::First(first) => {
                let (pid, pidfd) = sync.take_process()?;
                let begun = needs.help(cgroup).begin(&sync, pid);
                begun.inspect_err(|_| discard(pid, &pidfd))?;
                let stage = Stage::Process(pid, pidfd, first);
                return Ok(Step::Making(Self { sync, stage, needs }));
            }
            Stage::Process(pid, pidfd, first) => (pid, pidfd, first),
        };
        first.reap();
        let heard = needs.help(cgroup).hear(&sync, pid, &pidfd);
        match heard.inspect_err(|_| discard(pid, &pidfd))? {
            Heard::Something => {
                let stage = Stage::Process(pid, pidfd, first);
                Ok(Step::Making(Self { sync, stage, needs }))
            }
            Heard::Ready(terminal) => Ok(Step::Made(Created {
                pid,
                pidfd,
                terminal,
                sync,
            })),
        }
    }
}

impl Needs {
    fn help<'a>(&'a self, cgroup: Option<&'a Cgroup>) -> Help<'a> {
        Help {
            cgroup: cgroup.filter(|_| self.moved.is_some()),
            beside: self.moved,
            process: self.helped.as_deref(),
            listener: self.listener.as_ref(),
            ..Help::default()
        }
    }
}

/// Makes the process: all is set up, and it waits for [`Created::start`].
///
/// # Errors
/// If anything fails; no process is left then. `ESRCH` if the container has ended.
pub fn exec(config: ExecConfig<'_>) -> Result<Created, RuntimeError> {
    let cgroup = config.cgroup;
    let mut making = begin_exec(config)?;
    loop {
        match making.go_on(cgroup)? {
            Step::Making(more) => making = more,
            Step::Made(created) => return Ok(created),
        }
    }
}

/// Begins to make the process; what follows is [`Making::go_on`]'s.
///
/// # Errors
/// As [`exec`].
pub fn begin_exec(config: ExecConfig<'_>) -> Result<Making, RuntimeError> {
    let (ours, theirs) = sync::pair().map_err(RuntimeError::system("make a socket"))?;
    // Who is in the group already may not go to processors that the group has not.
    let affinity = config.process.exec_cpu_affinity().as_ref();
    let elsewhere = affinity.is_some_and(|cpus| cpus.initial().is_some());
    let birthplace = config.cgroup.and_then(Cgroup::birthplace);
    let birthplace = birthplace.filter(|_| !elsewhere);
    let entrance = config.cgroup.map(Cgroup::entrance).transpose()?.flatten();
    let to_move = config
        .cgroup
        .filter(|_| birthplace.is_none() && entrance.is_none());
    let differ = Differ::of(config.container)?;
    if let Some(root) = differ.user.then(|| root_of(config.container)).flatten() {
        terminal::give_to_root(&config.io, root);
    }
    let cloned = clone_in(&config, &differ, birthplace);
    match cloned.map_err(RuntimeError::system("clone a process"))? {
        Cloned::Child => exit_now(first(&config, &differ, entrance.as_ref(), theirs)),
        Cloned::Parent { pid, .. } => {
            drop(theirs);
            Ok(Making {
                sync: ours,
                stage: Stage::First(First(Some(pid))),
                needs: Needs {
                    moved: to_move.map(|_| differ.container),
                    helped: differ.user.then(|| Box::new(config.process.clone())),
                    listener: config.seccomp.and_then(|filter| filter.listener),
                },
            })
        }
    }
}

/// The first child, born in the container's group: its own child is too, without holding the group's folder. As long as a
/// descriptor of that is among the container's processes, `..` leads from there to the host's root.
fn clone_in(
    config: &ExecConfig<'_>,
    differ: &Differ,
    birthplace: Option<BorrowedFd<'_>>,
) -> std::io::Result<Cloned> {
    let options = CloneOptions {
        cgroup: birthplace,
        ..CloneOptions::default()
    };
    let cloned = clone(options);
    if let (Some(cgroup), Err(error)) = (config.cgroup.filter(|_| birthplace.is_some()), &cloned)
        && wharf_cgroups::is_closed(error)
        // Its first process has ended otherwise, and why is said already.
        && let Ok(other) = cgroup.birthplace_beside(differ.container)
    {
        return clone(CloneOptions {
            cgroup: Some(other.as_fd()),
            ..options
        });
    }
    cloned
}

/// The ids of the root of the container's user namespace, as we count; none if it has ended, or has no root.
fn root_of(container: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let pid = wharf_sys::process::pid_of(container).ok()?;
    let first = |file: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let mut rows = text.lines().map(|line| line.split_whitespace());
        rows.find_map(|mut row| (row.next()? == "0").then(|| row.next()?.parse().ok())?)
    };
    Some((first("uid_map")?, first("gid_map")?))
}

/// Namespaces that are joined only if they are not ours: their own kind cannot be joined twice, or it costs.
struct Differ {
    /// The container's first process.
    container: i32,
    user: bool,
    /// The others, but for pid and user.
    others: ThreadNameSpaceType,
    /// The caller is not root.
    unprivileged: bool,
}

/// Those that every container has of its own, or that root may join though they are his.
const USUAL: ThreadNameSpaceType = ThreadNameSpaceType::MOUNT
    .union(ThreadNameSpaceType::CONTROL_GROUP)
    .union(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME)
    .union(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
    .union(ThreadNameSpaceType::NETWORK);

impl Differ {
    fn of(container: BorrowedFd<'_>) -> Result<Self, RuntimeError> {
        let failed = || RuntimeError::system("look at the container's namespaces");
        let pid = wharf_sys::process::pid_of(container).map_err(failed())?;
        let other = |kind: &str| -> std::io::Result<bool> {
            let number = |of: &str| Ok(std::fs::metadata(format!("/proc/{of}/ns/{kind}"))?.ino());
            let (ours, theirs): (u64, std::io::Result<u64>) =
                (number("self")?, number(&pid.to_string()));
            Ok(ours != theirs?)
        };
        let unprivileged = !rustix::process::geteuid().is_root();
        let mut others = USUAL;
        if unprivileged {
            for (kind, name) in [
                (ThreadNameSpaceType::MOUNT, "mnt"),
                (ThreadNameSpaceType::CONTROL_GROUP, "cgroup"),
                (ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME, "uts"),
                (ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION, "ipc"),
                (ThreadNameSpaceType::NETWORK, "net"),
            ] {
                // He has no right to what is ours, though he is in it.
                others.set(kind, other(name).map_err(failed())?);
            }
        }
        others.set(ThreadNameSpaceType::TIME, other("time").unwrap_or(false));
        Ok(Self {
            container: pid,
            user: other("user").map_err(failed())?,
            others,
            unprivileged,
        })
    }
}

/// The first child. Gives the exit code.
fn first(
    config: &ExecConfig<'_>,
    differ: &Differ,
    entrance: Option<&Entrance>,
    sync: sync::Child,
) -> i32 {
    match forked(config, differ, entrance, &sync) {
        Ok(Some(())) => 0,
        Ok(None) => {
            // Held until all is said: a terminal that closes hangs up on us, who lead its session.
            let mut master = None;
            match prepare(config, differ, &sync, &mut master) {
                Ok(ready) => {
                    drop(master);
                    ready.go(sync, None, None, None)
                }
                Err(failure) => {
                    sync.failed(&failure);
                    1
                }
            }
        }
        Err(failure) => {
            sync.failed(&failure);
            1
        }
    }
}

/// `Some` in the first child, `None` in the process that it has made.
fn forked(
    config: &ExecConfig<'_>,
    differ: &Differ,
    entrance: Option<&Entrance>,
    sync: &sync::Child,
) -> Result<Option<()>, Failure> {
    terminal::connect_early(&config.io)?;
    let needed = entrance.into_iter().flat_map(Entrance::descriptors);
    keep_only(config.preserve_fds, needed.chain([config.container]), sync)?;
    begin(false)?;
    let affinity = config.process.exec_cpu_affinity().as_ref();
    schedule::affinity(affinity.and_then(|cpus| cpus.initial().as_deref()))?;
    child::enter_group(entrance)?;
    let mut kinds = ThreadNameSpaceType::PROCESS_ID;
    if differ.user && differ.unprivileged {
        // Only its user namespace, which is his, gives the right to any other.
        kinds |= ThreadNameSpaceType::USER;
    }
    let entered = move_into_thread_name_spaces(config.container, kinds);
    entered.map_err(|error| Failure::at("join the container's pid namespace")(error.into()))?;
    join(config.container, differ)?;
    keep_only(config.preserve_fds, [], sync)?;
    let options = CloneOptions {
        sibling: true,
        ..CloneOptions::default()
    };
    match clone(options).map_err(Failure::at("clone a process"))? {
        Cloned::Child => Ok(None),
        Cloned::Parent { pid, pidfd } => sync.give_process(pid, pidfd.as_fd()).map(Some),
    }
}

fn prepare(
    config: &ExecConfig<'_>,
    differ: &Differ,
    sync: &sync::Child,
    master: &mut Option<OwnedFd>,
) -> Result<Ready, Failure> {
    begin(config.die_with_caller)?;
    child::join_keyring(config.keyring.as_deref())?;
    if let ProcessIo::Terminal { .. } = config.io {
        *master = connect(&config.io, config.process, false)?;
    }
    let identity = user::resolve(config.process, &config.user, &config.groups)?;
    sync.wait_for_go()?;
    let affinity = config.process.exec_cpu_affinity().as_ref();
    schedule::affinity(affinity.and_then(|cpus| cpus.cpu_affinity_final().as_deref()))?;
    child::write_own(config.process, differ.user, None)?;
    let last = Last {
        program: config.process,
        identity: &identity,
        seccomp: config.seccomp.as_ref(),
        die_with_caller: config.die_with_caller,
        preserve_fds: config.preserve_fds,
        helped: differ.user,
    };
    let ready = last.prepare(sync)?;
    sync.ready(master.as_ref().map(|master| master.as_fd()))?;
    Ok(ready)
}

/// Joins the container's namespaces, but for pid.
fn join(container: BorrowedFd<'_>, differ: &Differ) -> Result<(), Failure> {
    let kinds = differ.others;
    let enter = |kinds| move_into_thread_name_spaces(container, kinds);
    // Who is not root is in its user namespace already.
    let entered = match (enter(kinds), differ.user && !differ.unprivileged) {
        // The host's root may enter all, whoever they belong to; the user namespace last, as it takes that right.
        (Ok(()), true) => enter(ThreadNameSpaceType::USER),
        (Err(_), true) => enter(ThreadNameSpaceType::USER).and_then(|()| enter(kinds)),
        (entered, false) => entered,
    };
    entered.map_err(|error| Failure::at("join the container's namespaces")(error.into()))?;
    match differ.user {
        true => crate::credentials::become_root(),
        false => Ok(()),
    }
}
