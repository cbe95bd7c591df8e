//! `run` and `create`.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, LinuxResources, Spec};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use wharf_cgroups::{Cgroup, CgroupError};
use wharf_runtime::{Config, Created, ProcessIo, Rootfs, session_keyring};
use wharf_sys::words::chain;

use super::container::{Container, FIFO, start_time};
use super::flags::{Command, Flag, Said, Takes};
use super::global::Global;
use super::notify::{self, Notify};
use super::{Outcome, check, devices, foreground, group, load, log, terminal};

const BUNDLE: Flag = (
    "bundle",
    "b",
    Takes::Value,
    "path to the root of the bundle directory, defaults to the current directory",
);
const CONSOLE: Flag = (
    "console-socket",
    "",
    Takes::Value,
    "path to an AF_UNIX socket which will receive the master end of the console's pseudoterminal",
);
const PIDFD: Flag = (
    "pidfd-socket",
    "",
    Takes::Value,
    "path to an AF_UNIX socket which will receive a pidfd of the init process",
);
const PID_FILE: Flag = (
    "pid-file",
    "",
    Takes::Value,
    "specify the file to write the process id to",
);
const NO_PIVOT: Flag = (
    "no-pivot",
    "",
    Takes::Nothing,
    "do not use pivot root to jail process inside rootfs",
);
const NO_KEYRING: Flag = (
    "no-new-keyring",
    "",
    Takes::Nothing,
    "do not create a new session keyring for the container",
);
const PRESERVE: Flag = (
    "preserve-fds",
    "",
    Takes::Number,
    "Pass N additional file descriptors to the container (stdio + $LISTEN_FDS + N in total)",
);

pub(crate) const CREATE: Command = Command {
    name: "create",
    about: "create a container",
    usage: "[command options] <container-id>",
    words: (1, Some(1)),
    flags: &[
        BUNDLE, CONSOLE, PIDFD, PID_FILE, NO_PIVOT, NO_KEYRING, PRESERVE,
    ],
    stops: false,
};

pub(crate) const RUN: Command = Command {
    name: "run",
    about: "create and run a container",
    usage: "[command options] <container-id>",
    words: (1, Some(1)),
    flags: &[
        BUNDLE,
        CONSOLE,
        PIDFD,
        (
            "detach",
            "d",
            Takes::Nothing,
            "detach from the container's process",
        ),
        (
            "keep",
            "",
            Takes::Nothing,
            "do not delete the container after it exits",
        ),
        PID_FILE,
        (
            "no-subreaper",
            "",
            Takes::Nothing,
            "disable the use of the subreaper (there is none)",
        ),
        NO_PIVOT,
        NO_KEYRING,
        PRESERVE,
    ],
    stops: false,
};

/// `create`: made, and waiting for `start`.
pub(crate) fn create(global: &Global, said: &Said) -> Outcome {
    // The bundle is entered; what else is named is the caller's.
    let said = &said.with_absolute("pid-file");
    let asked = Asked::read(global, said, true)?;
    let (made, _) = Made::new(global, said, asked, true)?;
    made.created.release();
    Ok(0)
}

/// `run`: made, started, and with `--detach` left alone, else waited for.
pub(crate) fn run(global: &Global, said: &Said) -> Outcome {
    let said = &said.with_absolute("pid-file");
    let asked = Asked::read(global, said, false)?;
    if said.has("detach") {
        let (made, spec) = Made::new(global, said, asked, false)?;
        let notify = made.listen(global);
        made.start(global, &spec)?;
        if let Some(notify) = notify {
            notify.pass_on(made.created.pidfd.as_fd(), Some(made.container.pid))?;
        }
        return Ok(0);
    }
    // From here on our signals are the container's.
    let signals = foreground::listen()?;
    let (mut made, spec) = Made::new(global, said, asked, false)?;
    let master = made.created.terminal.take();
    let notify = made.listen(global);
    made.start(global, &spec)?;
    made.pass_on_beside(notify)?;
    let code = foreground::wait(&made.created, master, &signals);
    if !said.has("keep")
        && let Err(message) = made.container.remove_of(global, Some(&spec))
    {
        // How the program has ended is what the caller waits for. The rest is there for `delete`.
        log::warning(global, &message);
    }
    code
}

struct Made {
    container: Container,
    created: Created,
}

/// What is asked for: read, and found to be possible.
struct Asked {
    id: String,
    bundle: PathBuf,
    spec: Spec,
    text: Vec<u8>,
    /// How many descriptors from 3 on go along.
    extra: u32,
}

impl Asked {
    /// `waits`: for a `start`.
    fn read(global: &Global, said: &Said, waits: bool) -> Result<Self, String> {
        let id = said.id()?.to_owned();
        let bundle = enter_bundle(said)?;
        let (mut spec, text) = load::spec(global, &bundle)?;
        notify::tell(&mut spec, &global.root.join(&id))?;
        check::spec(global, &spec, &bundle)?;
        if spec.process().is_none() && !waits {
            return Err("process property must not be empty".to_owned());
        }
        check_terminal(said, &spec, waits || said.has("detach"))?;
        let extra = extra_descriptors(said, &mut spec)?;
        Ok(Self {
            id,
            bundle,
            spec,
            text,
            extra,
        })
    }
}

impl Made {
    /// With the spec that it was made of.
    fn new(
        global: &Global,
        said: &Said,
        asked: Asked,
        waits: bool,
    ) -> Result<(Self, Spec), String> {
        let Asked {
            id,
            bundle,
            spec,
            text,
            extra,
        } = asked;
        let prepare = || Prepared::new(global, said, &spec, bundle, id, &text);
        let (prepared, network) = match makes_network(global, &spec) {
            true => {
                let (prepared, network) = wharf_sys::netns::create_beside(prepare);
                // Whatever kept us from it is said where the process is made.
                (prepared?, network.ok())
            }
            false => (prepare()?, None),
        };
        let made = prepared.into_made(global, said, &spec, network, (waits, extra));
        log::debug(global, || "the container is made".to_owned());
        Ok((made?, spec))
    }

    /// What remains to do once its process is there.
    fn settle(&mut self, said: &Said) -> Result<(), String> {
        self.container.pid = self.created.pid.as_raw_nonzero().get();
        self.container.start_time = start_time(self.container.pid).unwrap_or(0);
        self.container.save()?;
        if let Some(path) = said.path("pid-file") {
            write_pid(Path::new(path), self.container.pid)?;
        }
        if let Some(socket) = said.path("pidfd-socket") {
            terminal::send(self.created.pidfd.as_fd(), "pidfd", Path::new(socket))
                .map_err(|error| format!("dial unix {socket}: connect: {error}"))?;
        }
        let (Some(master), Some(socket)) = (&self.created.terminal, said.path("console-socket"))
        else {
            return Ok(());
        };
        terminal::hand_over(master, Path::new(socket))
            .map_err(|error| format!("dial unix {socket}: connect: {error}"))
    }

    /// A manager that is not there keeps no container from running, as with runc.
    fn listen(&self, global: &Global) -> Option<Notify> {
        let warn = |message: &String| log::warning(global, message);
        let listening = Notify::listen(&self.container).inspect_err(warn);
        listening.unwrap_or_default()
    }

    /// As long as the process lives, while it is waited for. The thread holds no lock that a hook of the end, which is started beside it, could want. The manager watches us, and so is told of no
    /// other process.
    fn pass_on_beside(&self, notify: Option<Notify>) -> Result<(), String> {
        let Some(notify) = notify else {
            return Ok(());
        };
        let pidfd = self.created.pidfd.try_clone();
        let pidfd = pidfd.map_err(|error| format!("NOTIFY_SOCKET: {error}"))?;
        std::thread::spawn(move || {
            if let Err(message) = notify.pass_on(pidfd.as_fd(), None) {
                eprintln!("wharf-shim: {message}");
            }
        });
        Ok(())
    }

    fn start(&self, global: &Global, spec: &Spec) -> Result<(), String> {
        let started = self.created.start().map_err(|error| error.to_string());
        let started = started.and_then(|()| super::start::poststart(&self.container, spec));
        started.map_err(|message| discard(global, &self.container, message))
    }
}

/// What was begun is taken back; `message` is why.
fn discard(global: &Global, container: &Container, message: String) -> String {
    if let Err(also) = container.remove(global) {
        log::warning(global, &also);
    }
    message
}

fn enter_bundle(said: &Said) -> Result<PathBuf, String> {
    if let Some(bundle) = said.value("bundle").filter(|bundle| !bundle.is_empty()) {
        std::env::set_current_dir(bundle).map_err(|error| format!("chdir {bundle}: {error}"))?;
    }
    std::env::current_dir().map_err(|error| format!("getwd: {error}"))
}

fn check_terminal(said: &Said, spec: &Spec, detached: bool) -> Result<(), String> {
    let process = spec.process().as_ref();
    let terminal = process.and_then(|process| process.terminal()) == Some(true);
    terminal_fits(
        terminal,
        detached,
        said.value("console-socket").unwrap_or_default(),
    )
}

/// runc's rule: who leaves a terminal behind must hand it to somebody, and nobody else may.
pub(super) fn terminal_fits(terminal: bool, detached: bool, socket: &str) -> Result<(), String> {
    if detached && terminal && socket.is_empty() {
        let text = "cannot allocate tty if runc will detach without setting console socket";
        return Err(text.to_owned());
    }
    if (!detached || !terminal) && !socket.is_empty() {
        let text = "cannot use console socket if runc will not detach or allocate tty";
        return Err(text.to_owned());
    }
    Ok(())
}

/// How many descriptors from 3 on go along: those of socket activation, which the program is told of, and those
/// of `--preserve-fds`.
fn extra_descriptors(said: &Said, spec: &mut Spec) -> Result<u32, String> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text: String| text.parse().ok())
    };
    let ours = number("LISTEN_PID") == Some(std::process::id());
    let listening: u32 = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
    if let Some(process) = spec.process_mut().as_mut().filter(|_| listening > 0) {
        let mut env = process.env().clone().unwrap_or_default();
        env.push(format!("LISTEN_FDS={listening}"));
        env.push("LISTEN_PID=1".to_owned());
        process.set_env(Some(env));
    }
    preserved(said, 3 + listening).map(|count| listening + count)
}

/// `--preserve-fds`, if they are there.
pub(super) fn preserved(said: &Said, first: u32) -> Result<u32, String> {
    let count: u32 = said.number("preserve-fds")?.unwrap_or(0);
    for number in first..first.saturating_add(count) {
        if !wharf_sys::process::is_open(number) {
            return Err(format!(
                "unable to stat preserved-fd {} (of {count}): bad file descriptor",
                number - first
            ));
        }
    }
    Ok(count)
}

fn begin(
    global: &Global,
    said: &Said,
    spec: &Spec,
    bundle: PathBuf,
    id: String,
) -> Result<Container, String> {
    let folder = global.root.join(&id);
    let cgroup = group::name(global, spec, &id)?;
    let used = group::used(&cgroup)?;
    make_folder(&global.root, &folder)?;
    if used > 0 {
        let _ = std::fs::remove_dir(&folder);
        return Err(format!(
            "container's cgroup is not empty: {used} process(es) found"
        ));
    }
    notify::make_folder(&folder).inspect_err(|_| {
        let _ = std::fs::remove_dir(&folder);
    })?;
    let root = spec.root().as_ref().map(|root| bundle.join(root.path()));
    let annotations = spec.annotations().iter().flatten();
    let namespaces = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_ref());
    let own_pids = namespaces
        .into_iter()
        .flatten()
        .any(|one| one.typ() == LinuxNamespaceType::Pid && one.path().is_none());
    Ok(Container {
        id,
        oci_version: spec.version().clone(),
        pid: 0,
        start_time: 0,
        rootfs: root.unwrap_or_default(),
        bundle,
        created: jiff::Timestamp::now().to_string(),
        annotations: annotations
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        cgroup: Some(cgroup),
        own_pids,
        keyring: !said.has("no-new-keyring"),
        folder,
    })
}

/// The container's folder: nobody else may look at who there is; who is told of one may pass through it, as its process
/// in a user namespace does to the FIFO. Two that are made at once by one name: the second fails.
fn make_folder(root: &Path, folder: &Path) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(root);
    made.map_err(|error| format!("mkdir {}: {error}", root.display()))?;
    let made = builder.recursive(false).mode(0o711).create(folder);
    made.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => "container with given ID already exists".to_owned(),
        _ => format!("mkdir {}: {error}", folder.display()),
    })
}

/// What stands before there is a process: the record, so that whoever dies from here on leaves word of what is to be removed,
/// and the control group.
struct Prepared {
    container: Container,
    cgroup: Option<Cgroup>,
    /// The group is to be made yet, with these limits.
    to_make: Option<Option<LinuxResources>>,
}

impl Prepared {
    fn new(
        global: &Global,
        said: &Said,
        spec: &Spec,
        bundle: PathBuf,
        id: String,
        text: &[u8],
    ) -> Result<Self, String> {
        let container = begin(global, said, spec, bundle, id)?;
        let recorded = container.begin(text);
        let mut prepared = Self {
            container,
            cgroup: None,
            to_make: None,
        };
        match recorded.and_then(|()| prepared.make_cgroup(global, spec)) {
            Ok(()) => Ok(prepared),
            Err(message) => Err(discard(global, &prepared.container, message)),
        }
    }

    fn make_cgroup(&mut self, global: &Global, spec: &Spec) -> Result<(), String> {
        let linux = spec.linux().as_ref();
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        let resources = match resources {
            // Who may make no groups may filter no devices either.
            None if global.rootless => None,
            resources => Some(devices::with_defaults(resources)?),
        };
        let path = self.container.cgroup.as_deref().unwrap_or_default();
        let unmade = Cgroup::open(path).map_err(|error| chain(&error));
        match unmade {
            Ok(unmade) if !global.rootless && unmade.can_be_made_later() => {
                self.cgroup = Some(unmade);
                self.to_make = Some(resources);
            }
            _ => {
                self.cgroup = group::make(global, path, resources.as_ref(), spec)?;
                if self.cgroup.is_none() {
                    self.container.cgroup = None;
                }
            }
        }
        Ok(())
    }

    /// `asked`: whether it waits for a `start`, and how many descriptors from 3 on go along.
    fn into_made(
        self,
        global: &Global,
        said: &Said,
        spec: &Spec,
        network: Option<OwnedFd>,
        asked: (bool, u32),
    ) -> Result<Made, String> {
        let kills = self.kills();
        let created = match self.create_process(said, spec, network, asked) {
            Ok(created) => created,
            Err(message) => {
                let message = self.with_kills(message, kills);
                return Err(discard(global, &self.container, message));
            }
        };
        // What holds systemd's scope while it is empty goes with the group's handle.
        let Self {
            container, cgroup, ..
        } = self;
        drop(cgroup);
        let mut made = Made { container, created };
        match made.settle(said) {
            Ok(()) => Ok(made),
            Err(message) => {
                let _ = wharf_sys::process::send_signal(made.created.pidfd.as_fd(), 9);
                let options = rustix::process::WaitOptions::empty();
                let _ = rustix::process::waitpid(Some(made.created.pid), options);
                Err(discard(global, &made.container, message))
            }
        }
    }

    fn create_process(
        &self,
        said: &Said,
        spec: &Spec,
        network: Option<OwnedFd>,
        (create, extra): (bool, u32),
    ) -> Result<Created, String> {
        let container = &self.container;
        let start_fifo = create
            .then(|| make_fifo(&container.folder.join(FIFO)))
            .transpose()?;
        let process = spec.process().as_ref();
        let has_terminal = process.and_then(|process| process.terminal()) == Some(true);
        let state = container.oci_state("creating", 0);
        let make = || self.make_and_limit();
        let config = Config {
            spec,
            rootfs: Rootfs::Folder(container.rootfs.clone()),
            cgroup: self.cgroup.as_ref(),
            make_cgroup: self.to_make.as_ref().map(|_| &make as &dyn Fn() -> _),
            network,
            seccomp: crate::filter::of(spec, &state)?,
            io: if has_terminal {
                ProcessIo::Terminal { size: None }
            } else {
                ProcessIo::Inherit
            },
            user: String::new(),
            groups: Vec::new(),
            init: None,
            die_with_caller: false,
            start_fifo,
            preserve_fds: extra,
            keyring: container.keyring.then(|| session_keyring(&container.id)),
            no_pivot: said.has("no-pivot"),
            state: Some(state),
        };
        wharf_runtime::create(config).map_err(|error| not_started(&error))
    }

    /// A process that has died without a word may have been the kernel's victim: a limit that is too low for a start.
    /// `before`: the kills in a group that was there already.
    fn with_kills(&self, message: String, before: u64) -> String {
        let killed = message.ends_with("died while it was made") && self.kills() > before;
        match killed {
            true => format!("container init was OOM-killed (memory limit too low?): {message}"),
            false => message,
        }
    }

    fn kills(&self) -> u64 {
        self.cgroup.as_ref().map_or(0, Cgroup::oom_kills)
    }

    fn make_and_limit(&self) -> Result<(), CgroupError> {
        let (Some(cgroup), Some(resources)) = (&self.cgroup, &self.to_make) else {
            return Ok(());
        };
        cgroup.make()?;
        resources
            .as_ref()
            .map_or(Ok(()), |resources| cgroup.apply(resources))
    }
}

/// In runc's words: what has failed in the container's process, but for a program that is not there, has failed in its init.
pub(super) fn not_started(error: &wharf_runtime::RuntimeError) -> String {
    use wharf_runtime::{FailureKind, RuntimeError};
    if let RuntimeError::Cgroup(error) = error {
        return chain(error);
    }
    let inside = match error {
        RuntimeError::Child(failure) if failure.kind == FailureKind::Other => {
            "error during container init: "
        }
        _ => "",
    };
    format!(
        "unable to start container process: {inside}{}",
        chain(error)
    )
}

/// Whether its network namespace can be made while its record and its group are: it is new, it belongs to our own user namespace, and nothing
/// forks meanwhile, as what holds systemd's scope does.
fn makes_network(global: &Global, spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let listed = linux.and_then(|linux| linux.namespaces().as_deref());
    let find = |kind| {
        listed
            .unwrap_or_default()
            .iter()
            .find(|one| one.typ() == kind)
    };
    let is_new = find(LinuxNamespaceType::Network).is_some_and(|one| one.path().is_none());
    is_new && find(LinuxNamespaceType::User).is_none() && !global.systemd
}

/// Anybody in the container may write to it: that is how its process, whoever it is, says that it goes on.
fn make_fifo(path: &Path) -> Result<OwnedFd, String> {
    let made = rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o622), 0);
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    made.and_then(|()| rustix::fs::chmod(path, Mode::from_raw_mode(0o622)))
        .and_then(|()| rustix::fs::open(path, flags, Mode::empty()))
        .map_err(|error| format!("make the FIFO: {error}"))
}

/// Whole or not at all, as somebody may wait for it.
pub(super) fn write_pid(path: &Path, pid: i32) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}"));
    std::fs::write(&new, pid.to_string())
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|error| format!("open {}: {error}", new.display()))
}
