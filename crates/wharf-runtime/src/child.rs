//! The child's side: from a fresh clone to the container's program.

use std::cell::Cell;
use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Hooks, Mount, Process, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{
    DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal, setsid, umask,
};
use serde_json::Value;
use wharf_cgroups::{Cgroup, Entrance};
use wharf_sys::process::{namespace, unshare};
use wharf_sys::{process, signals};

use crate::ahead::Ahead;
use crate::command::Command;
use crate::create::ProcessIo;
use crate::namespaces::Namespaces;
use crate::proc::Proc;
use crate::user::Identity;
use crate::{
    Failure, Filter, Rootfs, credentials, hooks, masks, mounts, rlimits, rootfs, schedule, stage,
    sync, sysctl, terminal, user,
};

/// The exit code when the program could not be executed after all, as runc's.
const NOT_EXECUTED: i32 = 255;

/// What the child needs of the caller's memory.
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) rootfs: Rootfs,
    pub(crate) ahead: Ahead,
    pub(crate) staged: bool,
    pub(crate) cgroup: Option<&'a Cgroup>,
    pub(crate) born_in_cgroup: bool,
    /// The way into its group, if it is to move there by itself.
    pub(crate) entrance: Option<&'a Entrance>,
    /// The group is made while the root is built, and joined before the root is entered.
    pub(crate) joins_late: bool,
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) seccomp: Option<Filter>,
    pub(crate) io: ProcessIo,
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
    pub(crate) init: Option<OwnedFd>,
    pub(crate) die_with_caller: bool,
    pub(crate) start_fifo: Option<OwnedFd>,
    pub(crate) preserve_fds: u32,
    pub(crate) keyring: Option<String>,
    pub(crate) no_pivot: bool,
    pub(crate) state: Option<Value>,
}

impl Plan<'_> {
    /// What must stay open until the program is executed.
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let all = [&self.init, &self.start_fifo].into_iter().flatten();
        all.map(|one| one.as_fd())
    }

    /// Closes what the process does not need that comes after a [`stage`].
    pub(crate) fn close_before_stage(&self, sync: &sync::Child) -> Result<(), Failure> {
        let streams: &[OwnedFd] = match &self.io {
            ProcessIo::Streams(streams) => streams,
            ProcessIo::Terminal { .. } | ProcessIo::Inherit => &[],
        };
        let streams = streams.iter().map(|stream| stream.as_fd());
        let needed = streams
            .chain(self.descriptors())
            .chain(self.ahead.descriptors());
        keep_only(self.preserve_fds, needed, sync)
    }
}

/// Closes all but the standard streams, the program's further descriptors, our socket, and what is `needed` still.
pub(crate) fn keep_only<'a>(
    preserve_fds: u32,
    needed: impl IntoIterator<Item = BorrowedFd<'a>>,
    sync: &sync::Child,
) -> Result<(), Failure> {
    let extra: Vec<OwnedFd> = (3..3 + preserve_fds)
        .filter_map(|number| process::inherited_fd(number as i32).ok())
        .collect();
    let closed = {
        let mut keep: Vec<BorrowedFd<'_>> = needed.into_iter().collect();
        keep.extend(extra.iter().map(|descriptor| descriptor.as_fd()));
        keep.extend([
            sync.0.as_fd(),
            rustix::stdio::stdin(),
            rustix::stdio::stdout(),
            rustix::stdio::stderr(),
        ]);
        process::close_all_but(&keep)
    };
    // They stay open, for the program.
    extra.into_iter().for_each(std::mem::forget);
    closed.map_err(Failure::at("close descriptors"))
}

/// Becomes the container's program; if that fails, says why and ends. What the plan names has been closed behind its back by
/// then: it is not dropped.
pub(crate) fn run(mut plan: Plan<'_>, sync: sync::Child) -> ! {
    let staged = match plan.staged {
        true => stage::run(&plan, &sync),
        false => Ok(None),
    };
    // Held until all is said: a terminal that closes hangs up on us, who lead its session.
    let mut master = None;
    let prepared = match staged {
        Ok(Some(())) => process::exit_now(0),
        Ok(None) => prepare(&plan, &sync, &mut master),
        Err(failure) => Err(failure),
    };
    let code = match prepared {
        Ok((ready, proc)) => {
            drop(master);
            let hooks = plan.spec.hooks().as_ref().zip(plan.state.as_ref());
            let fifo = plan.start_fifo.take().zip(proc);
            ready.go(sync, fifo, plan.init.as_ref(), hooks)
        }
        Err(failure) => {
            sync.failed(&failure);
            1
        }
    };
    process::exit_now(code)
}

/// `master` becomes the other side of its terminal, if it has one.
fn prepare(
    plan: &Plan<'_>,
    sync: &sync::Child,
    master: &mut Option<OwnedFd>,
) -> Result<(Ready, Option<Proc>), Failure> {
    if plan.namespaces.has_new(namespace::USER) {
        // Before we hide: a caller without rights could not write the mappings otherwise.
        sync.wait_for_mapped()?;
    }
    // Until it is in its group nobody else would find it.
    let mask = begin(plan.die_with_caller || plan.joins_late)?;
    let in_group = plan.born_in_cgroup || plan.entrance.is_some();
    if !plan.staged {
        enter_group(plan.entrance)?;
        plan.namespaces.enter()?;
    }
    if plan.namespaces.has_user() {
        credentials::become_root()?;
    }
    // Hooks find the process in its group.
    let hooked = hooks::any_early(plan.spec);
    let early = hooked || plan.staged;
    let late = plan.joins_late;
    if early {
        sync.wait_for_go()?;
    }
    if in_group || early {
        own_cgroup_namespace(plan.namespaces)?;
    }
    join_keyring(plan.keyring.as_deref())?;
    name_host(plan.spec, plan.namespaces)?;
    if plan.namespaces.has_new(namespace::NETWORK) {
        wharf_sys::netns::loopback_up().map_err(Failure::at("bring the loopback device up"))?;
    }
    build_root(plan, sync, hooked.then_some(mask))?;
    let whole = sysctl::write(plan.spec)?;
    if let Some(program) = plan.spec.process() {
        // To mount a procfs, and to get rid of it, takes more than all that is written there.
        write_own(program, plan.namespaces.has_user(), whole)?;
    }
    // By the time that the FIFO is opened there is no right to mount one.
    let fifo = plan.start_fifo.as_ref();
    let proc = fifo.map(|_| Proc::of_processes()).transpose()?;
    if !early && !late {
        sync.wait_for_go()?;
    }
    if !in_group && !early && !late {
        own_cgroup_namespace(plan.namespaces)?;
    }
    if let Some(program) = plan.spec.process() {
        *master = connect(&plan.io, program, true)?;
    }
    if plan.namespaces.has_new(namespace::MOUNT) {
        masks::apply(plan.spec)?;
    }
    schedule::personality(plan.spec)?;
    schedule::memory_policy(plan.spec)?;
    // "Close on exec" is too late: who waits for its start is seen by those who have come in meanwhile.
    let proc_fd = proc.iter().map(Proc::as_fd);
    let master_fd = master.iter().map(|master| master.as_fd());
    let needed = plan.descriptors().chain(proc_fd).chain(master_fd);
    keep_only(plan.preserve_fds, needed, sync)?;
    let ready = match plan.spec.process() {
        Some(program) => {
            let identity = user::resolve(program, &plan.user, &plan.groups)?;
            let last = Last {
                program,
                identity: &identity,
                seccomp: plan.seccomp.as_ref(),
                die_with_caller: plan.die_with_caller,
                preserve_fds: plan.preserve_fds,
                helped: plan.namespaces.has_user(),
            };
            last.prepare(sync)?
        }
        // It is made, and cannot be started (OCI, `config.md`).
        None => Ready::nothing()?,
    };
    sync.ready(master.as_ref().map(|master| master.as_fd()))?;
    Ok((ready, proc))
}

/// Where the bundle says that the root is.
fn place_of(plan: &Plan<'_>) -> Option<PathBuf> {
    let bundle = plan.state.as_ref()?.get("bundle")?.as_str()?;
    let root = plan.spec.root().as_ref()?;
    Some(Path::new(bundle).join(root.path()))
}

/// `hooked`: some hooks run before the root is entered, with this umask.
fn build_root(plan: &Plan<'_>, sync: &sync::Child, hooked: Option<Mode>) -> Result<(), Failure> {
    let joined = Cell::new(!plan.joins_late);
    let join = || match joined.replace(true) {
        true => Ok(()),
        false => join_made_group(plan, sync),
    };
    let before_entering = || {
        join()?;
        let Some(mask) = hooked else {
            return Ok(());
        };
        sync.wait_for_hooks()?;
        match (plan.spec.hooks(), &plan.state) {
            (Some(hooks), Some(state)) => {
                let mut state = state.clone();
                state["pid"] = rustix::process::getpid().as_raw_nonzero().get().into();
                let listed = hooks.create_container().as_deref();
                umask(mask);
                let done = hooks::run_all("createContainer", listed, &state);
                umask(Mode::empty());
                done
            }
            _ => Ok(()),
        }
    };
    if plan.namespaces.has_new(namespace::MOUNT) {
        let tree = mounts::Tree {
            spec: plan.spec,
            rootfs: &plan.rootfs,
            ahead: &plan.ahead,
            cgroup: plan.cgroup,
            own_cgroups: plan.namespaces.has_own_cgroups(),
            own_users: plan.namespaces.has_user(),
            join: &join,
            no_pivot: plan.no_pivot,
            hooked: hooked.and_then(|_| place_of(plan)),
        };
        return tree.build(before_entering);
    }
    before_entering()?;
    rootfs::chroot(&plan.rootfs)
}

/// Whether a process may build its root before it is in its group: nothing that comes before asks who or where it is, and nothing
/// of size is written.
pub(crate) fn joins_late(spec: &Spec, namespaces: &Namespaces) -> bool {
    let speaks_against = |mount: &Mount| {
        let mut options = mount.options().iter().flatten();
        let source = mount.source().as_deref();
        // A bind of what may be the group itself.
        options.any(|option| option == "tmpcopyup")
            || source.is_some_and(|source| source.starts_with("/sys/fs/cgroup"))
    };
    namespaces.has_new(namespace::MOUNT)
        && !namespaces.has_user()
        && !stage::is_needed(spec, namespaces)
        && !hooks::any_early(spec)
        && !spec.mounts().iter().flatten().any(speaks_against)
}

/// Goes into the group that the caller has made meanwhile, by its path: the host's tree is still ours.
fn join_made_group(plan: &Plan<'_>, sync: &sync::Child) -> Result<(), Failure> {
    sync.wait_for_go()?;
    let entrance = plan.cgroup.map(Cgroup::entrance).transpose();
    let entrance = entrance.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Failure::other(format!("{error}{}", cause.unwrap_or_default()))
    })?;
    enter_group(entrance.flatten().as_ref())?;
    if !plan.die_with_caller {
        let set = set_parent_process_death_signal(None);
        set.map_err(|error| Failure::at("clear the death signal")(error.into()))?;
    }
    own_cgroup_namespace(plan.namespaces)
}

/// The name of the session keyring of the container `id`, as runc names it.
pub fn session_keyring(id: &str) -> String {
    format!("_ses.{id}")
}

/// A session keyring of the container's own: that of the caller holds his secrets.
pub(crate) fn join_keyring(name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name.and_then(|name| CString::new(name).ok()) else {
        return Ok(());
    };
    match process::join_session_keyring(&name) {
        // A kernel without keyrings, or somebody who keeps us from them.
        Err(error) if matches!(error.raw_os_error(), Some(ENOSYS | EPERM)) => Ok(()),
        other => other.map_err(Failure::at("unable to join session keyring")),
    }
}

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// What every child of ours does first. Gives the umask that it has had: what we make has the mode that it is made with.
pub(crate) fn begin(die_with_caller: bool) -> Result<Mode, Failure> {
    // Nobody in the container may look into us while we are half there (CVE-2016-9962).
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    hidden.map_err(|error| Failure::at("hide from ptrace")(error.into()))?;
    die(die_with_caller)?;
    signals::reset().map_err(Failure::at("reset signals"))?;
    // A new session: no terminal of the caller's can be reached.
    let _ = setsid();
    Ok(umask(Mode::empty()))
}

fn die(with_caller: bool) -> Result<(), Failure> {
    if !with_caller {
        return Ok(());
    }
    let set = set_parent_process_death_signal(Some(Signal::KILL));
    set.map_err(|error| Failure::at("set the death signal")(error.into()))
}

/// Moves this process, if it was not born where it belongs and nobody moves it.
pub(crate) fn enter_group(entrance: Option<&Entrance>) -> Result<(), Failure> {
    let entered = entrance.map_or(Ok(()), Entrance::enter);
    entered.map_err(Failure::at("join the control group"))
}

fn own_cgroup_namespace(namespaces: &Namespaces) -> Result<(), Failure> {
    if !namespaces.cgroup {
        return Ok(());
    }
    unshare(namespace::CGROUP).map_err(Failure::at("make a cgroup namespace"))
}

fn name_host(spec: &Spec, namespaces: &Namespaces) -> Result<(), Failure> {
    if !namespaces.has_uts() {
        return Ok(());
    }
    // An empty one is none: the host's stays.
    let said = |name: &&String| !name.is_empty();
    if let Some(name) = spec.hostname().as_ref().filter(said) {
        let set = rustix::system::sethostname(name.as_bytes());
        set.map_err(|error| Failure::at("sethostname")(error.into()))?;
    }
    if let Some(name) = spec.domainname().as_ref().filter(said) {
        process::set_domain_name(name).map_err(Failure::at("setdomainname"))?;
    }
    Ok(())
}

/// Connects the standard streams; the other side of the terminal, if there is one.
pub(crate) fn connect(
    io: &ProcessIo,
    program: &Process,
    console: bool,
) -> Result<Option<OwnedFd>, Failure> {
    match io {
        ProcessIo::Terminal { size } => {
            let size = size.or_else(|| {
                let size = program.console_size()?;
                Some((size.height() as u16, size.width() as u16))
            });
            terminal::open(size, console).map(Some)
        }
        ProcessIo::Streams(streams) => terminal::connect_streams(streams).map(|()| None),
        ProcessIo::Inherit => Ok(None),
    }
}

/// The last steps, which an exec shares: from a set-up root to the program.
pub(crate) struct Last<'a> {
    pub(crate) program: &'a Process,
    pub(crate) identity: &'a Identity,
    pub(crate) seccomp: Option<&'a Filter>,
    pub(crate) die_with_caller: bool,
    pub(crate) preserve_fds: u32,
    /// The caller has set limits and scores: in the process's user namespace there is no right to.
    pub(crate) helped: bool,
}

/// A child that has only to execute its program.
pub(crate) struct Ready {
    program: Option<(Command, CString)>,
    /// The filter that no privilege is needed for.
    late_filter: Option<Filter>,
}

impl Last<'_> {
    pub(crate) fn prepare(self, sync: &sync::Child) -> Result<Ready, Failure> {
        let (program, identity) = (self.program, self.identity);
        let command = Command::of(program, identity)?;
        schedule::apply(program)?;
        if !self.helped {
            rlimits::apply(program)?;
        }
        terminal::give_to(identity.uid)?;
        process::close_on_exec_from(3 + self.preserve_fds)
            .map_err(Failure::at("close descriptors"))?;
        credentials::limit_bounding(program)?;
        // As root, who may go where the user may not; if even root may not (NFS), as the user.
        let entered = command.enter_folder();
        let quiet = program.no_new_privileges() == Some(true);
        if !quiet && let Some(filter) = self.seccomp {
            // Before the privileges go: without no_new_privs the filter needs them.
            filter.load(|number| sync.announce(number))?;
        }
        credentials::become_user(identity)?;
        credentials::limit(program)?;
        if entered.is_err() {
            command.enter_folder()?;
        }
        if quiet {
            let set = rustix::thread::set_no_new_privs(true);
            set.map_err(|error| Failure::at("set no_new_privs")(error.into()))?;
        }
        // The change of user has taken it away.
        die(self.die_with_caller)?;
        umask(Mode::from_raw_mode(program.user().umask().unwrap_or(0o022)));
        let found = command.find()?;
        let mut late_filter = self.seccomp.filter(|_| quiet).cloned();
        if let Some(filter) = late_filter.take_if(|filter| filter.listener.is_some()) {
            // While there is somebody to take the descriptor.
            filter.load(|number| sync.announce(number))?;
        }
        Ok(Ready {
            program: Some((command, found)),
            late_filter,
        })
    }
}

/// What the process writes to files of its own in procfs: its score, and the label that the program gets at its exec, through
/// a procfs that is one (CVE-2019-16884): `known`, if there is one already. `helped`: the score is the caller's to write.
pub(crate) fn write_own(
    program: &Process,
    helped: bool,
    known: Option<Proc>,
) -> Result<(), Failure> {
    let score = program.oom_score_adj().filter(|_| !helped);
    let profile = program.apparmor_profile().as_deref();
    let profile = profile.filter(|name| !name.is_empty());
    if score.is_none() && profile.is_none() {
        return Ok(());
    }
    let proc = known.map_or_else(Proc::of_processes, Ok)?;
    if let Some(score) = score {
        let written = proc.write_own("oom_score_adj", &score.to_string());
        written.map_err(Failure::at("set the oom score"))?;
    }
    profile.map_or(Ok(()), |profile| label(profile, &proc))
}

fn label(profile: &str, proc: &Proc) -> Result<(), Failure> {
    let value = format!("exec {profile}");
    let written = proc
        .write_own("attr/apparmor/exec", &value)
        .or_else(|error| {
            // Before Linux 5.8 all security modules share one file.
            proc.write_own("attr/exec", &value).map_err(|_| error)
        });
    // runc's words.
    written.map_err(Failure::at(
        "unable to apply apparmor profile: apparmor failed to apply profile: write /proc/self/attr/apparmor/exec",
    ))
}

impl Ready {
    fn nothing() -> Result<Self, Failure> {
        process::close_on_exec_from(3).map_err(Failure::at("close descriptors"))?;
        Ok(Self {
            program: None,
            late_filter: None,
        })
    }

    /// Waits for the start and executes the program. Comes back only if that fails, with the exit code.
    pub(crate) fn go(
        self,
        sync: sync::Child,
        start_fifo: Option<(OwnedFd, Proc)>,
        init: Option<&OwnedFd>,
        hooks: Option<(&Hooks, &Value)>,
    ) -> i32 {
        // Without this word nobody knows of us.
        let released = sync.wait_for_start();
        let starter = released.and_then(|()| match start_fifo {
            None => Ok(Starter::Caller(sync)),
            Some((fifo, proc)) => {
                drop(sync);
                wait_at(&fifo, &proc)
            }
        });
        let starter = match starter {
            Ok(starter) => starter,
            Err(failure) => {
                let words = format!("{failure}\n");
                let _ = rustix::io::write(rustix::stdio::stderr(), words.as_bytes());
                return NOT_EXECUTED;
            }
        };
        if let Err(failure) = run_start_hooks(hooks) {
            starter.failed(&failure);
            return NOT_EXECUTED;
        }
        let filtered = self.late_filter.as_ref().map_or(Ok(()), |filter| {
            filter.load(|_| Err(Failure::other("nobody takes the listener")))
        });
        let words = match filtered {
            Ok(()) => match &self.program {
                Some((command, found)) => command.execute(found, init),
                None => "process property must not be empty\n".to_owned(),
            },
            Err(failure) => format!("{failure}\n"),
        };
        // Nobody else is there to hear it.
        let _ = rustix::io::write(rustix::stdio::stderr(), words.as_bytes());
        NOT_EXECUTED
    }
}

/// Waits until somebody reads from the FIFO.
fn wait_at(fifo: &OwnedFd, proc: &Proc) -> Result<Starter, Failure> {
    let opened = proc.reopen(fifo.as_fd(), OFlags::WRONLY);
    let opened = opened.and_then(|fifo| {
        rustix::io::write(&fifo, b"0")?;
        Ok(Starter::Fifo(fifo))
    });
    opened.map_err(Failure::at("wait for the start"))
}

/// Who has started the process, and hears of it until it executes its program.
enum Starter {
    Caller(sync::Child),
    Fifo(OwnedFd),
}

impl Starter {
    fn failed(&self, failure: &Failure) {
        match self {
            Self::Caller(sync) => sync.failed(failure),
            Self::Fifo(fifo) => {
                let _ = rustix::io::write(fifo, failure.to_string().as_bytes());
            }
        }
    }
}

fn run_start_hooks(hooks: Option<(&Hooks, &Value)>) -> Result<(), Failure> {
    let Some((hooks, state)) = hooks else {
        return Ok(());
    };
    let Some(listed) = hooks.start_container().as_deref() else {
        return Ok(());
    };
    let mut state = state.clone();
    state["pid"] = rustix::process::getpid().as_raw_nonzero().get().into();
    state["status"] = "created".into();
    hooks::run_all("startContainer", Some(listed), &state)
}
