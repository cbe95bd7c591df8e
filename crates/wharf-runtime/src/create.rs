//! The caller's side: a container's first process, made and waiting.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::{Hooks, Process, Spec};
use rustix::process::{Pid, PidfdGetfdFlags, WaitOptions, pidfd_getfd, waitpid};
use serde_json::Value;
use wharf_cgroups::{Cgroup, CgroupError};
use wharf_sys::process::{CloneOptions, Cloned, clone, namespace};

use crate::ahead::Ahead;
use crate::child::{self, Plan};
use crate::idmap::Maps;
use crate::namespaces::Namespaces;
use crate::sync::Word;
use crate::{Filter, Listener, Rootfs, RuntimeError, hooks, rlimits, stage, sync, terminal};

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
    /// Its control group: made already, or by [`Config::make_cgroup`].
    pub cgroup: Option<&'a Cgroup>,
    /// Makes the group, which [can be made later](Cgroup::can_be_made_later), and sets its limits. Where nothing speaks
    /// against it, that is while the process already builds its root: each takes as long as the other.
    pub make_cgroup: Option<&'a dyn Fn() -> Result<(), CgroupError>>,
    /// A network namespace to join instead of the spec's.
    pub network: Option<OwnedFd>,
    /// A compiled seccomp filter.
    pub seccomp: Option<Filter>,
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
    /// The name of a session keyring of its own; the caller's if `None`.
    pub keyring: Option<String>,
    /// The root is changed by `chroot` alone: whoever has the rights gets out (`--no-pivot`).
    pub no_pivot: bool,
    /// OCI's state of the container, for hooks; its `pid` and `status` are set on the way.
    pub state: Option<Value>,
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
    if namespaces.joins_mounts() && builds_anything(config.spec) {
        let text =
            "mounts, devices and paths to mask need a mount namespace of the container's own";
        return Err(RuntimeError::Unsupported(text.to_owned()));
    }
    let ahead = Ahead::of(config.spec, &config.rootfs, &namespaces)?;
    if namespaces.has_user()
        && let Some(maps) = maps_of(config.spec)
    {
        terminal::give_to_root(&config.io, maps.root());
    }
    let (ours, theirs) = sync::pair().map_err(RuntimeError::system("make a socket"))?;
    let staged = stage::is_needed(config.spec, &namespaces);
    let made_later = config.make_cgroup.is_some() && {
        let can_wait = child::joins_late(config.spec, &namespaces);
        if !can_wait && let Some(make) = config.make_cgroup {
            make()?;
        }
        can_wait
    };
    let birthplace = config.cgroup.and_then(Cgroup::birthplace);
    let waiting = config.cgroup.filter(|_| !made_later);
    let entrance = waiting.map(Cgroup::entrance).transpose()?.flatten();
    let plan = Plan {
        spec: config.spec,
        rootfs: config.rootfs,
        ahead,
        staged,
        cgroup: config.cgroup,
        born_in_cgroup: birthplace.is_some(),
        entrance: entrance.as_ref(),
        joins_late: made_later,
        namespaces: &namespaces,
        seccomp: config.seccomp,
        io: config.io,
        user: config.user,
        groups: config.groups,
        init: config.init,
        die_with_caller: config.die_with_caller,
        start_fifo: config.start_fifo,
        preserve_fds: config.preserve_fds,
        keyring: config.keyring,
        no_pivot: config.no_pivot,
        state: config.state,
    };
    let options = CloneOptions {
        namespaces: if staged { 0 } else { namespaces.new },
        cgroup: birthplace,
        sibling: false,
    };
    let cloned = clone(options).map_err(RuntimeError::system("clone a process"))?;
    let (pid, pidfd) = match cloned {
        Cloned::Child => {
            drop(ours);
            child::run(plan, theirs)
        }
        Cloned::Parent { pid, .. } if staged => {
            drop(theirs);
            let process = ours.take_process();
            // The one between ends as soon as it has told.
            let _ = waitpid(Some(pid), WaitOptions::empty());
            process?
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            (pid, pidfd)
        }
    };
    if made_later && let Some(make) = config.make_cgroup {
        make().inspect_err(|_| discard(pid, &pidfd))?;
    }
    let new_user = namespaces.has_new(namespace::USER);
    let maps = maps_of(config.spec);
    let help = Help {
        cgroup: waiting.filter(|_| birthplace.is_none() && entrance.is_none()),
        beside: None,
        maps: maps.filter(|_| new_user),
        process: config
            .spec
            .process()
            .as_ref()
            .filter(|_| namespaces.has_user()),
        devices: Some((config.spec, namespaces.network())),
        hooks: config.spec.hooks().as_ref().zip(plan.state.as_ref()),
        listener: plan
            .seccomp
            .as_ref()
            .and_then(|filter| filter.listener.as_ref()),
    };
    help.finish(ours, pid, pidfd)
}

/// Whether there is anything to do in the container's mount namespace, which in somebody else's nobody does.
fn builds_anything(spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let any = |paths: &Option<Vec<String>>| paths.as_ref().is_some_and(|all| !all.is_empty());
    let of_linux = linux.is_some_and(|linux| {
        let devices = linux.devices().iter().flatten().count();
        devices > 0 || any(linux.masked_paths()) || any(linux.readonly_paths())
    });
    of_linux || spec.mounts().iter().flatten().count() > 0
}

fn maps_of(spec: &Spec) -> Option<Maps<'_>> {
    let linux = spec.linux().as_ref()?;
    Maps::of(linux.uid_mappings(), linux.gid_mappings())
}

/// What the caller does while the child makes its way; [`create`] and [`crate::exec`] share it.
#[derive(Default)]
pub(crate) struct Help<'a> {
    /// To move the process into.
    pub(crate) cgroup: Option<&'a Cgroup>,
    /// Whose group takes it if that one does not.
    pub(crate) beside: Option<i32>,
    /// For its new user namespace.
    pub(crate) maps: Option<Maps<'a>>,
    /// What its user namespace takes the right to: limits and scores.
    pub(crate) process: Option<&'a Process>,
    /// The spec, for its network devices, and the namespace that they go to; the process's own if `None`.
    pub(crate) devices: Option<(&'a Spec, Option<&'a OwnedFd>)>,
    /// Hooks of the runtime, and the container's state.
    pub(crate) hooks: Option<(&'a Hooks, &'a Value)>,
    /// Who decides about its calls.
    pub(crate) listener: Option<&'a Listener>,
}

/// What [`Help::hear`] has heard.
pub(crate) enum Heard {
    /// A word that there are more after.
    Something,
    /// The last one, with the process's terminal, if it has one.
    Ready(Option<OwnedFd>),
}

impl Help<'_> {
    /// Gets the process as far as it goes before its start.
    pub(crate) fn finish(
        &self,
        sync: sync::Caller,
        pid: Pid,
        pidfd: OwnedFd,
    ) -> Result<Created, RuntimeError> {
        let attended = self.begin(&sync, pid).and_then(|()| {
            loop {
                if let Heard::Ready(terminal) = self.hear(&sync, pid, &pidfd)? {
                    return Ok(terminal);
                }
            }
        });
        match attended {
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

    /// All that the process waits for.
    pub(crate) fn begin(&self, sync: &sync::Caller, pid: Pid) -> Result<(), RuntimeError> {
        if let Some(process) = self.process {
            rlimits::apply_to(process, pid).map_err(RuntimeError::Child)?;
        }
        if let Some(maps) = self.maps {
            maps.write(pid)?;
            sync.mapped();
        }
        let number = pid.as_raw_nonzero().get();
        let added = self.cgroup.map_or(Ok(()), |cgroup| match self.beside {
            Some(other) => cgroup.add_beside(number, other),
            None => cgroup.add(number),
        });
        match added {
            // It has ended already, and says why.
            Err(CgroupError::File { source, .. }) if source.raw_os_error() == Some(ESRCH) => {}
            other => other?,
        }
        if let Some((spec, namespace)) = self.devices {
            give_devices(spec, namespace, pid)?;
        }
        // A child that has ended already has said why.
        let _ = sync.go();
        Ok(())
    }

    /// Waits for the process's next word.
    pub(crate) fn hear(
        &self,
        sync: &sync::Caller,
        pid: Pid,
        pidfd: &OwnedFd,
    ) -> Result<Heard, RuntimeError> {
        match sync.word()? {
            Word::Ready(terminal) => return Ok(Heard::Ready(terminal)),
            Word::Hooks => {
                self.run_hooks(pid)?;
                sync.hooked();
            }
            Word::Listener(number) => {
                self.hand_over(number, pid, pidfd)?;
                sync.heard();
            }
        }
        Ok(Heard::Something)
    }

    fn run_hooks(&self, pid: Pid) -> Result<(), RuntimeError> {
        let Some((hooks, state)) = self.hooks else {
            return Ok(());
        };
        let mut state = state.clone();
        state["pid"] = pid.as_raw_nonzero().get().into();
        state["status"] = "creating".into();
        hooks::run_in_runtime(hooks, &state).map_err(RuntimeError::Child)
    }

    fn hand_over(&self, number: i32, pid: Pid, pidfd: &OwnedFd) -> Result<(), RuntimeError> {
        let taken = pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty());
        let taken = taken.map_err(|error| {
            RuntimeError::system("take the seccomp listener's descriptor")(error.into())
        })?;
        let Some(listener) = self.listener else {
            return Ok(());
        };
        let told = listener.hand_over(taken.as_fd(), pid.as_raw_nonzero().get());
        told.map_err(RuntimeError::system("reach the seccomp listener"))
    }
}

/// Network devices are moved while the process waits: it is in its namespaces already.
fn give_devices(spec: &Spec, namespace: Option<&OwnedFd>, pid: Pid) -> Result<(), RuntimeError> {
    let linux = spec.linux().as_ref();
    let any = linux.and_then(|linux| linux.net_devices().as_ref());
    if any.is_none_or(|all| all.is_empty()) {
        return Ok(());
    }
    let given = match namespace {
        Some(namespace) => crate::net_devices::give(spec, namespace.as_fd()),
        None => {
            let path = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
            let own = File::open(path).map_err(RuntimeError::system("open a namespace"))?;
            crate::net_devices::give(spec, own.as_fd())
        }
    };
    given.map_err(RuntimeError::Child)
}

const ESRCH: i32 = 3;

/// Kills and reaps a process that will not be used.
pub(crate) fn discard(pid: Pid, pidfd: &OwnedFd) {
    let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
    let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
}

/// Readable when the process has said something.
impl AsFd for Created {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sync.0.as_fd()
    }
}

impl Created {
    /// Leaves the process to whoever reads its FIFO ([`Config::start_fifo`]). If the caller dies before, so does it.
    pub fn release(&self) {
        self.sync.release();
    }

    /// Lets the process execute its program, and returns when it has.
    ///
    /// # Errors
    /// [`RuntimeError::Child`] if it could not; the process has ended then, and is the caller's to reap.
    pub fn start(&self) -> Result<(), RuntimeError> {
        self.release();
        self.started()
    }

    /// After [`Created::release`]: waits until the process has executed its program. Its [descriptor](AsFd) is readable when
    /// there is nothing to wait for.
    ///
    /// # Errors
    /// As [`Created::start`].
    pub fn started(&self) -> Result<(), RuntimeError> {
        self.sync.started()
    }

    /// Kills and reaps the process.
    pub fn discard(self) {
        discard(self.pid, &self.pidfd);
    }
}
