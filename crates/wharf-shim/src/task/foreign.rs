//! Another OCI runtime in our place: the shim keeps the streams, the log and the end of the container, and a command line
//! as runc's makes its processes.
//!
//! The bundle is the task's folder. Its root file system is mounted in a mount namespace of the shim's own, so that
//! nothing of it outlives the shim; the runtime, a child, sees it there. What the runtime leaves running becomes a child
//! of ours, as we are its subreaper. Its state is in the task's folder too, and goes with it.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci_spec::runtime::{Process as OciProcess, Spec};
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, getpid, pidfd_open, set_child_subreaper, waitid,
};
use serde_json::{Value, json};
use wharf_runtime::{Failure, FailureKind, ProcessIo, Rootfs};
use wharf_shim_api::{Create, Exec, Runtime};
use wharf_sys::mount::{Change, Propagation};
use wharf_sys::signals::SignalFd;

use super::client::Client;
use super::process::{InputEnd, Process, Streams};

/// Where our init is in the container.
const INIT: &str = "/sbin/docker-init";
/// `SIGCHLD`
const CHILD: i32 = 17;
/// Its socket's name in the folder: the runtime works there, so that the path is short enough for a socket.
const CONSOLE: &str = "console.sock";

/// The runtime of one container.
pub(crate) struct Foreign {
    runtime: Runtime,
    id: String,
    folder: PathBuf,
    groups: Vec<String>,
    /// It was told to let the first process go.
    pub(crate) started: bool,
    /// Readable when a child of ours has ended: orphans of the container become that where it has no pid namespace of its own.
    children: SignalFd,
}

type Result<T> = std::result::Result<T, Failure>;

impl Foreign {
    pub(crate) fn new(runtime: Runtime, folder: &Path, config: &Create) -> io::Result<Self> {
        Ok(Self {
            runtime,
            id: config.id.clone(),
            folder: folder.to_owned(),
            groups: config.groups.clone(),
            started: false,
            children: SignalFd::new(&[CHILD])?,
        })
    }

    /// Readable when [`Foreign::reap`] may find something.
    pub(crate) fn children(&self) -> BorrowedFd<'_> {
        self.children.as_fd()
    }

    /// Reaps what has ended and is none of the `known` processes, whose turn comes by itself.
    pub(crate) fn reap(&self, known: &[Process]) {
        while let Ok(Some(_)) = self.children.read() {}
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        for pid in children() {
            if !known.iter().any(|process| process.pid == pid) {
                let _ = waitid(WaitId::Pid(pid), ended);
            }
        }
    }

    /// Writes the bundle and has the first process made, which waits.
    pub(crate) fn create(
        &self,
        config: &Create,
        spec: &Spec,
        network: Option<OwnedFd>,
    ) -> Result<Process> {
        set_child_subreaper(Some(getpid()))
            .map_err(|error| at("become a subreaper", error.into()))?;
        self.mount_root(config)?;
        let mut document =
            serde_json::to_value(spec).map_err(|error| at("write the bundle", error.into()))?;
        let empty = OciProcess::default();
        let process = spec.process().as_ref().unwrap_or(&empty);
        self.complete(
            &mut document["process"],
            process,
            &config.user,
            config.terminal,
        )?;
        document["root"]["path"] = json!(self.path("rootfs"));
        // Older runtimes refuse a version that they do not know, and all know this one.
        document["ociVersion"] = json!("1.0.2");
        if let Some(network) = &network {
            join(&mut document, network);
        }
        self.mounts_of_processes(&mut document)?;
        if config.init {
            self.add_init(&mut document)
                .map_err(|error| at("add the init", error))?;
        }
        self.write("config.json", &document)?;
        let bundle = self.folder.display().to_string();
        let (io, mut streams) = streams(config.terminal, config.stdin, true)?;
        streams.input_end = InputEnd::of_first(config.stdin_once);
        self.make(None, io, streams, &["create", "--bundle", &bundle])
    }

    /// Lets the first process go.
    pub(crate) fn start(&mut self) -> Result<()> {
        if self.started {
            return Err(other("there is nothing to start"));
        }
        self.run(&["start", &self.id], None)?;
        self.started = true;
        Ok(())
    }

    pub(crate) fn kill(&self, signal: i32) -> Result<()> {
        self.run(&["kill", &self.id, &signal.to_string()], None)
    }

    pub(crate) fn freeze(&self, freeze: bool) -> Result<()> {
        let word = if freeze { "pause" } else { "resume" };
        self.run(&[word, &self.id], None)
    }

    /// Runs another process in the container.
    pub(crate) fn exec(&self, config: &Exec, descriptors: Vec<OwnedFd>) -> Result<Process> {
        let terminal = config.process.terminal() == Some(true);
        let mut document = serde_json::to_value(&config.process)
            .map_err(|error| at("write the process", error.into()))?;
        self.complete(&mut document, &config.process, &config.user, terminal)?;
        let name = format!("exec-{}.json", config.id);
        self.write(&name, &document)?;
        let wanted = config.streams;
        let (io, mut streams) = streams(terminal, wanted.stdin, wanted.stdout || wanted.stderr)?;
        streams.input_end = InputEnd::WithClient;
        if let Some(socket) = descriptors.into_iter().next() {
            let client = Client::new(socket, wanted, terminal);
            streams
                .clients
                .push(client.map_err(|error| at("attach", error))?);
        }
        let path = self.path(&name);
        let words = ["exec", "--detach", "--process", &path];
        let made = self.make(Some(&config.id), io, streams, &words);
        let _ = std::fs::remove_file(path);
        made
    }

    /// Whatever is left of it.
    pub(crate) fn delete(&self) {
        if let Err(failure) = self.run(&["delete", "--force", &self.id], None) {
            eprintln!("wharf-shim: {failure}");
        }
    }

    /// The shim's own view of the mounts, with the root file system in it. What the host mounts later still comes in.
    fn mount_root(&self, config: &Create) -> Result<()> {
        wharf_sys::process::unshare(wharf_sys::process::namespace::MOUNT)
            .map_err(|error| at("make a mount namespace", error))?;
        let slave = Change {
            propagation: Some(Propagation::Slave),
            recursive: true,
            ..Change::default()
        };
        wharf_sys::mount::change_path("/", slave).map_err(|error| at("separate mounts", error))?;
        let target = self.folder.join("rootfs");
        std::fs::create_dir_all(&target).map_err(|error| at("make the bundle", error))?;
        let rootfs = match config.rootfs.clone() {
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
        };
        rootfs.mount_at(&target)
    }

    /// What other containers have: cloned from their mount namespaces into ours, where the runtime finds a path.
    fn mounts_of_processes(&self, document: &mut Value) -> Result<()> {
        let mounts = document["mounts"].as_array_mut();
        for (number, mount) in mounts.into_iter().flatten().enumerate() {
            let process = |option: &Value| {
                let pid = option.as_str()?.strip_prefix("x-wharf.process=")?;
                pid.parse::<u32>().ok()
            };
            let options = mount["options"].as_array().cloned().unwrap_or_default();
            let Some(pid) = options.iter().find_map(process) else {
                continue;
            };
            let source = PathBuf::from(mount["source"].as_str().unwrap_or_default());
            let cloned = wharf_runtime::of_process(pid, &source)?;
            let place = self.folder.join(format!("mount-{number}"));
            let attached = std::fs::create_dir_all(&place)
                .and_then(|()| std::fs::File::open(&place))
                .and_then(|place| wharf_sys::mount::attach(&cloned, &place));
            attached.map_err(|error| at("mount what another container has", error))?;
            let kept = options.iter().filter(|option| process(option).is_none());
            mount["options"] = kept.cloned().collect();
            mount["source"] = json!(place);
        }
        Ok(())
    }

    /// What our own runtime finds out by itself, and others want to be told: who the process is, and its terminal.
    fn complete(
        &self,
        document: &mut Value,
        process: &OciProcess,
        user: &str,
        terminal: bool,
    ) -> Result<()> {
        let root = self.folder.join("rootfs");
        let user = super::process::who(user);
        let identity = wharf_runtime::identify(&root, process, user, &self.groups)?;
        document["user"]["uid"] = json!(identity.uid);
        document["user"]["gid"] = json!(identity.gid);
        document["user"]["additionalGids"] = json!(identity.groups);
        document["terminal"] = json!(terminal);
        let has_home = process
            .env()
            .iter()
            .flatten()
            .any(|variable| variable.starts_with("HOME="));
        if let (false, Some(variables)) = (has_home, document["env"].as_array_mut()) {
            variables.push(json!(format!("HOME={}", identity.home)));
        }
        Ok(())
    }

    /// Our init in a file of its own, bound into the container: we run from memory, which cannot be bound.
    fn add_init(&self, document: &mut Value) -> io::Result<()> {
        let path = self.folder.join("docker-init");
        std::fs::copy("/proc/self/exe", &path)?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let mount = json!({
            "destination": INIT,
            "type": "bind",
            "source": path,
            "options": ["bind", "ro"],
        });
        if let Some(mounts) = document["mounts"].as_array_mut() {
            mounts.push(mount);
        }
        if let Some(arguments) = document["process"]["args"].as_array_mut() {
            arguments.splice(0..0, [json!(INIT), json!("--")]);
        }
        Ok(())
    }

    /// Has a process made with these streams, and takes it over.
    fn make(
        &self,
        exec: Option<&str>,
        io: ProcessIo,
        mut streams: Streams,
        words: &[&str],
    ) -> Result<Process> {
        let pid_file = self.path(&format!("{}.pid", exec.unwrap_or("init")));
        let mut words = [words, &["--pid-file", &pid_file]].concat();
        let console = match io {
            ProcessIo::Terminal { .. } => {
                words.extend(["--console-socket", CONSOLE]);
                Some(
                    self.listen()
                        .map_err(|error| at("listen for the terminal", error))?,
                )
            }
            ProcessIo::Streams(_) | ProcessIo::Inherit => None,
        };
        words.push(&self.id);
        self.run(&words, Some(io))?;
        if let Some(console) = console {
            let master = receive(&console).map_err(|error| at("take the terminal", error))?;
            let taken = streams.take_terminal(master);
            taken.map_err(|error| at("take the terminal", error))?;
        }
        let text =
            std::fs::read_to_string(&pid_file).map_err(|error| at("read the process id", error))?;
        let _ = std::fs::remove_file(&pid_file);
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| other(format!("the runtime says {text:?} is a process id")))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty());
        let pidfd = pidfd.map_err(|error| at("open the process", error.into()))?;
        Ok(Process::new(exec.map(str::to_owned), pid, pidfd, streams))
    }

    /// Runs the command line; an error has the runtime's own words.
    fn run(&self, words: &[&str], io: Option<ProcessIo>) -> Result<()> {
        let log = self.path("runtime.log");
        let _ = std::fs::remove_file(&log);
        let mut command = Command::new(&self.runtime.path);
        command
            .args(&self.runtime.arguments)
            .args(["--root", &self.path("runtime")])
            .args(["--log", &log, "--log-format", "json"]);
        if self.runtime.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        // As containerd gives it to its runtimes.
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command
            .args(words)
            .current_dir(&self.folder)
            .env("PATH", path);
        match io {
            Some(ProcessIo::Streams([stdin, stdout, stderr])) => {
                command.stdin(stdin).stdout(stdout).stderr(stderr);
            }
            _ => {
                command
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
            }
        }
        let name = self.runtime.path.display().to_string();
        let status = wharf_sys::signals::unblocked(&mut command).status();
        let status = status.map_err(|error| at(&name, error))?;
        if status.success() {
            return Ok(());
        }
        let said = last_error(&std::fs::read_to_string(&log).unwrap_or_default());
        Err(other(said.unwrap_or_else(|| format!("{name}: {status}"))))
    }

    /// The socket that the terminal comes by, through the folder's descriptor (see [`super::control::listen_in`]).
    fn listen(&self) -> io::Result<UnixListener> {
        let _ = std::fs::remove_file(self.folder.join(CONSOLE));
        let folder = std::fs::File::open(&self.folder)?;
        UnixListener::bind(format!("/proc/self/fd/{}/{CONSOLE}", folder.as_raw_fd()))
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn write(&self, name: &str, document: &Value) -> Result<()> {
        std::fs::write(self.folder.join(name), document.to_string())
            .map_err(|error| at(&format!("write {name}"), error))
    }
}

fn streams(terminal: bool, stdin: bool, output: bool) -> Result<(ProcessIo, Streams)> {
    match terminal {
        true => Ok((ProcessIo::Terminal { size: None }, Streams::default())),
        false => Streams::pipes(stdin, output).map_err(|error| at("make pipes", error)),
    }
}

/// Puts the path of a network namespace that we hold into the specification.
fn join(document: &mut Value, network: &OwnedFd) {
    let path = format!(
        "/proc/{}/fd/{}",
        getpid().as_raw_nonzero(),
        network.as_raw_fd()
    );
    let Some(namespaces) = document["linux"]["namespaces"].as_array_mut() else {
        return;
    };
    namespaces.retain(|one| one["type"] != "network");
    namespaces.push(json!({"type": "network", "path": path}));
}

/// The descriptor that the runtime has sent. It has done so before it ended.
fn receive(console: &UnixListener) -> io::Result<OwnedFd> {
    console.set_nonblocking(true)?;
    let (connection, _) = console.accept()?;
    let mut name = [0; 4096];
    let (_, descriptors) = wharf_sys::socket::receive(connection.as_fd(), &mut name)?;
    let first = descriptors.into_iter().next();
    first.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// All our children, ended or not.
fn children() -> Vec<Pid> {
    let text = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    let numbers = text
        .split_whitespace()
        .filter_map(|number| number.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// The text of the last line of the log that is an error, without what the daemon says itself.
fn last_error(log: &str) -> Option<String> {
    let lines = log.lines().rev();
    let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["level"] == "error")?;
    let text = line["msg"].as_str()?.trim();
    let ours = text.split_once("unable to start container process: ");
    Some(ours.map_or(text, |(_, reason)| reason).to_owned())
}

fn other(message: impl Into<String>) -> Failure {
    Failure {
        kind: FailureKind::Other,
        message: message.into(),
    }
}

fn at(what: &str, error: io::Error) -> Failure {
    other(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_what_the_runtime_says() {
        let log = "{\"level\":\"error\",\"msg\":\"first\"}\n{\"level\":\"error\",\"msg\":\"runc create failed: unable to start container process: exec: \\\"x\\\"\"}\n{\"level\":\"warning\",\"msg\":\"w\"}\nno json";
        assert_eq!(last_error(log).as_deref(), Some("exec: \"x\""));
        assert_eq!(last_error(""), None);
    }

    #[test]
    fn a_network_namespace_takes_the_place_of_the_new_one() {
        let mut document = json!({"linux": {"namespaces": [{"type": "network"}, {"type": "pid"}]}});
        let null = std::fs::File::open("/dev/null").expect("open").into();
        join(&mut document, &null);
        let list = document["linux"]["namespaces"].as_array().expect("list");
        assert_eq!((list.len(), list[0]["type"].as_str()), (2, Some("pid")));
        assert!(
            list[1]["path"]
                .as_str()
                .is_some_and(|path| path.contains("/fd/"))
        );
    }
}
