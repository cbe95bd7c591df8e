//! What a daemon asks, done.

use std::os::fd::{AsFd as _, OwnedFd};

use oci_spec::runtime::{LinuxNamespaceType, Spec};
use wharf_cgroups::{Cgroup, Wanted};
use wharf_runtime::{Config, Filter, ProcessIo, Rootfs, RuntimeError, create, session_keyring};
use wharf_shim_api::{Create, FailureKind, MAX_FILE, Reply, Request, VERSION};
use wharf_sys::words::chain;

use super::client::Client;
use super::foreign::Foreign;
use super::output::Log;
use super::process::{InputEnd, Process, Streams};
use super::state::{Container, Shim};

/// A request that failed.
pub(super) struct Refusal {
    kind: FailureKind,
    message: String,
}

impl Refusal {
    pub(super) fn other(message: impl ToString) -> Self {
        Self {
            kind: FailureKind::Other,
            message: message.to_string(),
        }
    }

    pub(super) fn into_reply(self) -> Reply {
        let Self { kind, message } = self;
        Reply::Failed { kind, message }
    }

    pub(super) fn gone() -> Self {
        Self {
            kind: FailureKind::Gone,
            message: "no such process".to_owned(),
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::other(error)
    }
}

impl From<wharf_cgroups::CgroupError> for Refusal {
    fn from(error: wharf_cgroups::CgroupError) -> Self {
        Self::other(chain(&error))
    }
}

impl From<RuntimeError> for Refusal {
    fn from(error: RuntimeError) -> Self {
        let kind = match &error {
            RuntimeError::Child(failure) => match failure.kind {
                wharf_runtime::FailureKind::NotFound => FailureKind::NotFound,
                wharf_runtime::FailureKind::NotExecutable => FailureKind::NotExecutable,
                wharf_runtime::FailureKind::Other => FailureKind::Other,
            },
            _ => FailureKind::Other,
        };
        Self {
            kind,
            message: chain(&error),
        }
    }
}

impl From<wharf_runtime::Failure> for Refusal {
    fn from(failure: wharf_runtime::Failure) -> Self {
        RuntimeError::Child(failure).into()
    }
}

impl Shim {
    /// Does what is asked.
    pub(crate) fn answer(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> Reply {
        let done = match request {
            Request::Create(config) => {
                let made = self.make(*config, descriptors);
                self.failed = made.is_err();
                made
            }
            Request::Start => self.start(),
            Request::State => Ok(self.state()),
            Request::Kill { exec, signal } => self.kill(exec.as_deref(), signal),
            Request::Exec(config) => self.exec(*config, descriptors),
            Request::Attach(streams) => self.attach(streams, descriptors),
            Request::Resize {
                exec,
                rows,
                columns,
            } => self.resize(exec.as_deref(), rows, columns),
            Request::Pause => self.freeze(true),
            Request::Resume => self.freeze(false),
            Request::Pids => self
                .cgroup()
                .and_then(|cgroup| Ok(cgroup.processes()?))
                .map(Reply::Pids),
            Request::ClearLog => self.log.clear().map(done).map_err(Refusal::other),
            Request::CloseStdin => self.close_stdin(),
            // It is opened where requests are received.
            Request::Long => Err(Refusal::other("a request in a request")),
        };
        done.unwrap_or_else(Refusal::into_reply)
    }

    fn make(&mut self, config: Create, descriptors: Vec<OwnedFd>) -> Result<Reply, Refusal> {
        if self.container.is_some() {
            return Err(Refusal::other("the container is there already"));
        }
        if let Some(folder) = &config.folder {
            self.folder.clone_from(folder);
            super::name::of_process(folder);
        }
        let mut descriptors = descriptors.into_iter();
        let mut next = || {
            descriptors
                .next()
                .ok_or_else(|| Refusal::other("a descriptor is missing"))
        };
        let spec: Spec = serde_json::from_slice(&read(next()?)?).map_err(Refusal::other)?;
        let network = config.netns_fd.then(&mut next).transpose()?;
        let seccomp = config
            .seccomp_fd
            .then(&mut next)
            .transpose()?
            .map(read)
            .transpose()?;
        if let Some(runtime) = config.runtime.clone() {
            return self.make_foreign(runtime, &config, &spec, network);
        }
        let state = serde_json::json!({
            "ociVersion": spec.version(),
            "id": config.id,
            "status": "creating",
            "pid": 0,
            "bundle": self.folder,
            "annotations": spec.annotations().clone().unwrap_or_default(),
        });
        self.show_bundle(&spec)
            .map_err(|error| Refusal::other(format!("write the bundle for hooks: {error}")))?;
        let seccomp = match seccomp {
            None => crate::filter::of(&spec, &state).map_err(Refusal::other)?,
            compiled => compiled.map(Into::into),
        };
        self.log = Log::open(&config.log).map_err(|error| {
            Refusal::other(format!("failed to initialize logging driver: {error}"))
        })?;
        let mut cgroup = cgroup_of(&spec)?;
        let made = self.make_process(
            &config,
            &spec,
            network,
            seccomp.clone(),
            state.clone(),
            cgroup.as_ref(),
        );
        if let Some(cgroup) = &mut cgroup {
            cgroup.settle();
            if made.is_err() {
                // What matters is why the process could not be made.
                let _ = cgroup.remove();
            }
        }
        let (created, streams) = made?;
        let pid = created.pid;
        let pidfd = created.pidfd.try_clone()?;
        let (exec, ended, announced) = (None, None, false);
        self.processes.push(Process {
            exec,
            pid,
            pidfd,
            streams,
            ended,
            announced,
        });
        let waiting = Some(created);
        let (groups, own_pids) = (config.groups, has_own_pids(&spec));
        let hooks = spec.hooks().clone().zip(Some(state));
        let keyring = session_keyring(&config.id);
        let oom = cgroup.as_ref().and_then(|cgroup| cgroup.watch_oom().ok());
        self.container = Some(Container {
            cgroup,
            waiting,
            seccomp,
            groups,
            keyring,
            hooks,
            own_pids,
            foreign: None,
            oom,
        });
        Ok(Reply::Process {
            pid: pid.as_raw_nonzero().get(),
        })
    }

    /// Hooks are told of a bundle, and look there for the spec and the root: while they run, the root is attached there.
    fn show_bundle(&self, spec: &Spec) -> std::io::Result<()> {
        let Some(hooks) = spec.hooks() else {
            return Ok(());
        };
        if wharf_runtime::hooks::all(hooks).is_empty() {
            return Ok(());
        }
        if let Some(root) = spec.root() {
            std::fs::create_dir_all(self.folder.join(root.path()))?;
        }
        std::fs::write(self.folder.join("config.json"), serde_json::to_vec(spec)?)
    }

    /// As [`Shim::make`], by another runtime.
    fn make_foreign(
        &mut self,
        runtime: wharf_shim_api::Runtime,
        config: &Create,
        spec: &Spec,
        network: Option<OwnedFd>,
    ) -> Result<Reply, Refusal> {
        self.log = Log::open(&config.log).map_err(|error| {
            Refusal::other(format!("failed to initialize logging driver: {error}"))
        })?;
        let foreign = Foreign::new(runtime, &self.folder, config)?;
        let made = foreign.create(config, spec, network).inspect_err(|_| {
            foreign.delete();
        })?;
        let pid = made.pid;
        self.processes.push(made);
        let linux = spec.linux().as_ref();
        let path = linux.and_then(|linux| linux.cgroups_path().as_ref());
        // Where it is not where the spec says (systemd's), the runtime is asked instead.
        let cgroup = path.and_then(|path| Cgroup::open(&path.to_string_lossy()).ok());
        let oom = cgroup.as_ref().and_then(|cgroup| cgroup.watch_oom().ok());
        self.container = Some(Container {
            cgroup,
            waiting: None,
            seccomp: None,
            groups: config.groups.clone(),
            keyring: String::new(),
            hooks: None,
            own_pids: has_own_pids(spec),
            foreign: Some(foreign),
            oom,
        });
        Ok(Reply::Process {
            pid: pid.as_raw_nonzero().get(),
        })
    }

    fn foreign(&mut self) -> Option<&mut Foreign> {
        self.container.as_mut().and_then(|one| one.foreign.as_mut())
    }

    fn freeze(&mut self, freeze: bool) -> Result<Reply, Refusal> {
        if let Some(foreign) = self.foreign() {
            foreign.freeze(freeze)?;
            return Ok(Reply::Done);
        }
        let cgroup = self.cgroup()?;
        match freeze {
            true => cgroup.freeze()?,
            false => cgroup.thaw()?,
        }
        Ok(Reply::Done)
    }

    fn make_process(
        &self,
        config: &Create,
        spec: &Spec,
        network: Option<OwnedFd>,
        seccomp: Option<Filter>,
        state: serde_json::Value,
        cgroup: Option<&Cgroup>,
    ) -> Result<(wharf_runtime::Created, Streams), Refusal> {
        let (io, mut streams) = match config.terminal {
            true => (ProcessIo::Terminal { size: None }, Streams::default()),
            false => Streams::pipes(config.stdin, true)?,
        };
        streams.input_end = InputEnd::of_first(config.stdin_once);
        let init = config
            .init
            .then(|| std::fs::File::open("/proc/self/exe"))
            .transpose()?;
        let mut created = create(Config {
            spec,
            rootfs: match config.rootfs.clone() {
                wharf_shim_api::Rootfs::Overlay {
                    lowers,
                    upper,
                    work,
                } => Rootfs::Overlay {
                    lowers,
                    upper,
                    work,
                },
                wharf_shim_api::Rootfs::Folder(folder) => Rootfs::Folder(folder),
            },
            cgroup,
            make_cgroup: None,
            network,
            seccomp,
            io,
            user: super::process::who(&config.user).to_owned(),
            groups: config.groups.clone(),
            init: init.map(Into::into),
            die_with_caller: true,
            start_fifo: None,
            preserve_fds: 0,
            keyring: Some(session_keyring(&config.id)),
            no_pivot: false,
            state: Some(state),
        })?;
        if let Some(master) = created.terminal.take() {
            streams.take_terminal(master)?;
        }
        Ok((created, streams))
    }

    fn start(&mut self) -> Result<Reply, Refusal> {
        if let Some(foreign) = self.foreign() {
            foreign.start()?;
            return Ok(Reply::Done);
        }
        let waiting = self
            .container
            .as_mut()
            .and_then(|container| container.waiting.take());
        let created = waiting.ok_or_else(|| Refusal::other("there is nothing to start"))?;
        created.start()?;
        self.run_poststart()?;
        // Who lists processes sees whose shim this is; that it cannot be told matters to nobody else.
        let _ = super::name::show(&self.folder);
        Ok(Reply::Done)
    }

    /// As runc: one that fails ends the container.
    fn run_poststart(&self) -> Result<(), Refusal> {
        let container = self.container.as_ref();
        let hooks = container.and_then(|container| container.hooks.as_ref());
        let (Some((hooks, state)), Some(first)) = (hooks, self.processes.first()) else {
            return Ok(());
        };
        let mut state = state.clone();
        state["status"] = "running".into();
        state["pid"] = first.pid.as_raw_nonzero().get().into();
        let done = wharf_runtime::hooks::run_all("poststart", hooks.poststart().as_deref(), &state);
        done.map_err(|failure| {
            let _ = wharf_sys::process::send_signal(first.pidfd.as_fd(), SIGKILL);
            failure.into()
        })
    }

    fn state(&self) -> Reply {
        let container = self.container.as_ref();
        let first = self.processes.first();
        Reply::State {
            version: VERSION,
            pid: first.map_or(0, |process| process.pid.as_raw_nonzero().get()),
            started: container.is_some_and(Container::is_started),
            out_of_memory: self.out_of_memory,
            known: Some(self.known_execs()),
            execs: self
                .processes
                .iter()
                .filter_map(|process| process.exec.clone())
                .collect(),
        }
    }

    pub(super) fn kill(&mut self, exec: Option<&str>, signal: i32) -> Result<Reply, Refusal> {
        let process = self.living(exec)?;
        let foreign = self.container.as_ref().and_then(|one| one.foreign.as_ref());
        if let Some(foreign) = foreign.filter(|_| exec.is_none()) {
            // The process that we know may stand for something that only the runtime can reach.
            return match foreign.kill(signal) {
                Ok(()) => Ok(Reply::Done),
                Err(_) if process.has_ended() => Err(Refusal::gone()),
                Err(failure) => Err(failure.into()),
            };
        }
        match wharf_sys::process::send_signal(process.pidfd.as_fd(), signal) {
            Ok(()) => Ok(Reply::Done),
            Err(error) if error.raw_os_error() == Some(ESRCH) => Err(Refusal::gone()),
            Err(error) => Err(error.into()),
        }
    }

    fn attach(
        &mut self,
        wanted: wharf_shim_api::Streams,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Reply, Refusal> {
        let socket = descriptors.into_iter().next();
        let socket = socket.ok_or_else(|| Refusal::other("a descriptor is missing"))?;
        let process = self
            .processes
            .first_mut()
            .filter(|process| !process.announced);
        let streams = &mut process.ok_or_else(Refusal::gone)?.streams;
        let raw = streams.terminal.is_some();
        streams.clients.push(Client::new(socket, wanted, raw)?);
        Ok(Reply::Done)
    }

    fn close_stdin(&mut self) -> Result<Reply, Refusal> {
        let process = self
            .processes
            .first_mut()
            .filter(|process| !process.announced);
        process.ok_or_else(Refusal::gone)?.streams.close_input();
        Ok(Reply::Done)
    }

    fn resize(&mut self, exec: Option<&str>, rows: u16, columns: u16) -> Result<Reply, Refusal> {
        let terminal = self.living(exec)?.streams.terminal.as_ref();
        let terminal = terminal.ok_or_else(|| Refusal::other("the process has no terminal"))?;
        wharf_runtime::resize(terminal, rows, columns)?;
        Ok(Reply::Done)
    }

    pub(super) fn living(&self, exec: Option<&str>) -> Result<&Process, Refusal> {
        let found = self
            .processes
            .iter()
            .find(|process| process.exec.as_deref() == exec);
        found
            .filter(|process| process.ended.is_none())
            .ok_or_else(Refusal::gone)
    }

    pub(super) fn cgroup(&self) -> Result<&Cgroup, Refusal> {
        let cgroup = self
            .container
            .as_ref()
            .and_then(|container| container.cgroup.as_ref());
        cgroup.ok_or_else(|| Refusal::other("the container has no control group"))
    }
}

/// `ESRCH`
const ESRCH: i32 = 3;
/// `SIGKILL`
const SIGKILL: i32 = 9;

fn done((): ()) -> Reply {
    Reply::Done
}

/// A spec or a filter.
fn read(file: OwnedFd) -> std::io::Result<Vec<u8>> {
    wharf_sys::memfd::read(file, MAX_FILE)
}

/// Makes the control group that the spec names, with its limits.
fn cgroup_of(spec: &Spec) -> Result<Option<Cgroup>, Refusal> {
    let Some(linux) = spec.linux() else {
        return Ok(None);
    };
    let Some(path) = linux.cgroups_path() else {
        return Ok(None);
    };
    let wanted = Wanted {
        resources: linux.resources().as_ref(),
        annotations: spec.annotations().as_ref(),
    };
    let mut cgroup = Cgroup::create(&path.to_string_lossy(), wanted)?;
    if let Some(resources) = linux.resources()
        && let Err(error) = cgroup.apply(resources)
    {
        cgroup.settle();
        let _ = cgroup.remove();
        return Err(error.into());
    }
    Ok(Some(cgroup))
}

fn has_own_pids(spec: &Spec) -> bool {
    let listed = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_ref());
    let own = |one: &oci_spec::runtime::LinuxNamespace| {
        one.typ() == LinuxNamespaceType::Pid && one.path().is_none()
    };
    listed.is_some_and(|listed| listed.iter().any(own))
}
