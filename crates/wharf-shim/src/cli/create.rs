//! `run` and `create`.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::Spec;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::process::{WaitOptions, waitpid};
use wharf_cgroups::Cgroup;
use wharf_runtime::{Config, Created, ProcessIo, Rootfs};

use super::arguments::Arguments;
use super::container::{Container, FIFO, start_time};
use super::{Outcome, devices, terminal};

/// `create`: made, and waiting for `start`.
pub(crate) fn create(arguments: &Arguments) -> Outcome {
    let made = Made::new(arguments, true)?;
    made.hand_over_terminal(arguments)?;
    Ok(0)
}

/// `run`: made, started, and with `--detach` left alone, else waited for.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let mut made = Made::new(arguments, false)?;
    if arguments.detach {
        made.hand_over_terminal(arguments)?;
        made.start()?;
        return Ok(0);
    }
    let master = match arguments.console_socket {
        Some(_) => {
            made.hand_over_terminal(arguments)?;
            None
        }
        None => made.created.terminal.take(),
    };
    made.start()?;
    let relayed = master.map(|master| terminal::relay(&master, &made.created.pidfd));
    let waited = waitpid(Some(made.created.pid), WaitOptions::empty());
    made.container.remove();
    relayed
        .transpose()
        .map_err(|error| format!("terminal: {error}"))?;
    let (_, status) = waited
        .ok()
        .flatten()
        .ok_or("the container's process is lost")?;
    let killed = status.terminating_signal().map(|signal| 128 + signal);
    Ok(status.exit_status().or(killed).unwrap_or(255))
}

struct Made {
    container: Container,
    created: Created,
}

impl Made {
    fn new(arguments: &Arguments, fifo: bool) -> Result<Self, String> {
        let id = arguments.id()?.to_owned();
        let bundle = arguments
            .bundle
            .canonicalize()
            .map_err(|error| format!("bundle: {error}"))?;
        let spec = read_spec(&bundle)?;
        let folder = arguments.root.join(&id);
        std::fs::create_dir_all(&arguments.root).map_err(|error| format!("root: {error}"))?;
        std::fs::create_dir(&folder).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                "container with given ID already exists".to_owned()
            }
            _ => error.to_string(),
        })?;
        let named = spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.cgroups_path().as_ref());
        let cgroup = named.map_or_else(|| format!("/{id}"), |path| path.display().to_string());
        let mut container = Container {
            id,
            pid: 0,
            start_time: 0,
            bundle,
            cgroup,
            folder,
        };
        match make(&container, &spec, arguments, fifo) {
            Ok(created) => {
                container.pid = created.pid.as_raw_nonzero().get();
                container.start_time = start_time(container.pid).unwrap_or(0);
                container.save()?;
                write_pid(arguments, container.pid)?;
                Ok(Self { container, created })
            }
            Err(error) => {
                container.remove();
                Err(error)
            }
        }
    }

    fn start(&self) -> Result<(), String> {
        self.created.start().map_err(|error| error.to_string())
    }

    fn hand_over_terminal(&self, arguments: &Arguments) -> Result<(), String> {
        let (Some(master), Some(socket)) = (&self.created.terminal, &arguments.console_socket)
        else {
            return Ok(());
        };
        terminal::hand_over(master, socket).map_err(|error| format!("console socket: {error}"))
    }
}

fn make(
    container: &Container,
    spec: &Spec,
    arguments: &Arguments,
    fifo: bool,
) -> Result<Created, String> {
    let cgroup = Cgroup::create(&container.cgroup).map_err(|error| error.to_string())?;
    let resources = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.resources().as_ref());
    if let Some(resources) = resources {
        let resources = devices::with_defaults(resources)?;
        cgroup
            .apply(&resources)
            .map_err(|error| error.to_string())?;
    }
    let start_fifo = fifo
        .then(|| make_fifo(&container.folder.join(FIFO)))
        .transpose()?;
    let root = spec
        .root()
        .as_ref()
        .map(|root| root.path().clone())
        .unwrap_or_default();
    let has_terminal = spec
        .process()
        .as_ref()
        .and_then(|process| process.terminal())
        == Some(true);
    let config = Config {
        spec,
        rootfs: Rootfs::Folder(container.bundle.join(root)),
        cgroup: Some(&cgroup),
        network: None,
        seccomp: crate::filter::of(spec)?,
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
        preserve_fds: arguments.preserve_fds,
    };
    wharf_runtime::create(config)
        .map_err(|error| format!("unable to start container process: {error}"))
}

/// Anybody in the container may write to it: that is how its process, whoever it is, says that it goes on.
fn make_fifo(path: &Path) -> Result<OwnedFd, String> {
    let made = rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o622), 0);
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    made.and_then(|()| rustix::fs::chmod(path, Mode::from_raw_mode(0o622)))
        .and_then(|()| rustix::fs::open(path, flags, Mode::empty()))
        .map_err(|error| format!("make the FIFO: {error}"))
}

fn read_spec(bundle: &Path) -> Result<Spec, String> {
    let path = bundle.join("config.json");
    let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let read = serde_json::from_reader(std::io::BufReader::new(file));
    read.map_err(|error| format!("{}: {error}", path.display()))
}

fn write_pid(arguments: &Arguments, pid: i32) -> Result<(), String> {
    let Some(path) = &arguments.pid_file else {
        return Ok(());
    };
    std::fs::write(path, pid.to_string()).map_err(|error| format!("pid file: {error}"))
}
