//! The messages between daemon and shim, versioned.
//!
//! A connection is a `SOCK_SEQPACKET` Unix socket: one packet is one JSON document. The daemon sends
//! [`Request`]s, the shim answers each with a [`Reply`] in the same order, and sends [`Message::Exited`] to
//! every connection in between whenever a process ends. Descriptors travel with the packet they belong to.
//!
//! The first connection is inherited by the shim as descriptor [`CONTROL_FD`], its task's folder as [`FOLDER_FD`]; later
//! ones (a daemon that was started again) come through the socket [`SOCKET`] in the folder.
//!
//! A shim outlives the daemon that started it, so both sides must understand the other's older versions: a
//! field may be added with a default, never changed; what cannot be done that way raises [`VERSION`].

mod log;

use std::path::PathBuf;

pub use log::{
    Files, Fluentd, Gelf, GelfCompression, GelfTransport, Journald, Log, Remote, RemoteLog, Socket,
    Syslog, SyslogFormat,
};
use oci_spec::runtime::Process;
use serde::{Deserialize, Serialize};

/// The version of this protocol.
pub const VERSION: u32 = 1;
/// The descriptor that a shim finds its first connection at: its standard input, as that is what can be given
/// to a program without running anything between fork and exec.
pub const CONTROL_FD: i32 = 0;
/// The descriptor that a shim finds its task's folder at, whatever its name is by then: its standard output.
pub const FOLDER_FD: i32 = 1;
/// The name of the shim's socket in its task's folder.
pub const SOCKET: &str = "shim.sock";
/// The name of the file that holds the init's [`ExitStatus`] once it has ended; one that was never started leaves none.
pub const EXIT_FILE: &str = "exit.json";
/// The longest packet, in bytes. Longer documents (a spec) travel as a memory file.
pub const MAX_PACKET: usize = 160 * 1024;
/// The longest document in a memory file, in bytes.
pub const MAX_FILE: u64 = 64 * 1024 * 1024;

/// What a daemon asks of a shim.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Make the container: its init exists afterwards and waits for [`Request::Start`]. Legal once, first.
    /// Descriptors: the OCI spec as a JSON memory file; then those that [`Create`] announces.
    Create(Box<Create>),
    /// Let the init execute its program.
    Start,
    /// What is there? Legal at any time.
    State,
    /// Send `signal` to the init, or to an exec.
    Kill {
        /// The exec; the init if none.
        exec: Option<String>,
        /// The signal's number.
        signal: i32,
    },
    /// Run another process in the container. Descriptor: the stream of its stdio, if any is attached.
    Exec(Box<Exec>),
    /// Connect a stream to the init's stdio. Descriptor: the stream.
    Attach(Streams),
    /// Set the size of a terminal.
    Resize {
        /// The exec; the init if none.
        exec: Option<String>,
        /// Rows of characters.
        rows: u16,
        /// Columns of characters.
        columns: u16,
    },
    /// Freeze all processes.
    Pause,
    /// Let them go on.
    Resume,
    /// List all processes of the container, as the shim's pid namespace counts.
    Pids,
    /// Throw away what the log holds. An older shim ends the connection; the daemon connects again.
    ClearLog,
    /// Standard input ends for the process, if it is one that ends with a client's ([`Create::stdin_once`]) and no terminal, when it
    /// has what clients have sent. An older shim ends the connection; the daemon connects again.
    CloseStdin,
    /// A request longer than [`MAX_PACKET`]. Descriptors: the request as a JSON memory file; then its own. An older shim ends the
    /// connection; the daemon connects again.
    Long,
}

/// Everything a container is made of, but for its spec.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Create {
    /// [`VERSION`] of the daemon.
    pub version: u32,
    /// The task's id.
    pub id: String,
    /// The task's folder, if it is no more where the shim was started; an older shim was started there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// The root filesystem.
    pub rootfs: Rootfs,
    /// One terminal instead of three pipes.
    #[serde(default)]
    pub terminal: bool,
    /// Whether stdin is a pipe that stays open, or `/dev/null`.
    pub stdin: bool,
    /// Whether stdin closes for the process when the first attached client ends its own, or at [`Request::CloseStdin`]. A stream that
    /// is closed altogether is a daemon's that has died; an older shim takes that for the client's end.
    pub stdin_once: bool,
    /// Where output goes besides attached clients.
    pub log: Log,
    /// User, group or both as text, resolved in the root filesystem; the spec's numbers if empty.
    pub user: String,
    /// Further groups as text, resolved in the root filesystem.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Whether our own init runs as the first process and the program below it.
    pub init: bool,
    /// A network namespace comes as a descriptor.
    pub netns_fd: bool,
    /// A compiled seccomp filter comes as a memory file, after the network namespace.
    pub seccomp_fd: bool,
    /// Another OCI runtime that makes the processes; an older shim makes them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
}

/// The command line of an OCI runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The program's file.
    pub path: PathBuf,
    /// Arguments before each command.
    pub arguments: Vec<String>,
    /// Whether it is to leave control groups to systemd.
    pub systemd_cgroup: bool,
}

/// A container's root filesystem.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// Layers with a writable one on top.
    Overlay {
        /// Lower folders, topmost first.
        lowers: Vec<PathBuf>,
        /// The writable folder.
        upper: PathBuf,
        /// Overlay's scratch folder, on the same filesystem as `upper`.
        work: PathBuf,
    },
    /// A folder as it is.
    Folder(PathBuf),
}

/// Another process in the container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exec {
    /// Its id, unique in the task.
    pub id: String,
    /// The process, as OCI writes it.
    pub process: Process,
    /// User as text; see [`Create::user`].
    pub user: String,
    /// Which streams of it are connected.
    pub streams: Streams,
    /// Answer with [`Reply::Begun`] at once, as what the process needs (a file system that does not answer) may keep it from its
    /// program for ever; an older shim answers when its program runs.
    #[serde(default)]
    pub behind: bool,
}

/// Which standard streams a client is connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// What the client writes.
    pub stdin: bool,
    /// What the process writes to descriptor 1 (all, on a terminal).
    pub stdout: bool,
    /// What the process writes to descriptor 2.
    pub stderr: bool,
}

/// What a shim sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The answer to the oldest request that has none yet.
    Reply(Reply),
    /// A process has ended.
    Exited {
        /// The exec; the init if none.
        exec: Option<String>,
        /// How.
        status: ExitStatus,
    },
    /// Memory has run out, for this many times by now. Older daemons log it and go on.
    OutOfMemory(u64),
    /// An exec that had [begun](Reply::Begun) runs its program, or could not be made.
    Made {
        /// The exec.
        exec: String,
        /// [`Reply::Process`] or [`Reply::Failed`].
        reply: Reply,
    },
    /// A message longer than [`MAX_PACKET`]. Descriptor: the message as a JSON memory file.
    Long,
}

/// The answer to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done,
    /// The init or the exec exists.
    Process {
        /// Its pid, as the shim's pid namespace counts.
        pid: i32,
    },
    /// The exec is being made; [`Message::Made`] follows.
    Begun,
    /// See [`Request::State`].
    State {
        /// [`VERSION`] of the shim.
        version: u32,
        /// The init's pid.
        pid: i32,
        /// Whether its program runs.
        started: bool,
        /// The ids of the execs that run.
        execs: Vec<String>,
        /// How often memory has run out.
        #[serde(default)]
        out_of_memory: u64,
        /// What is known of execs; an older shim does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        known: Option<KnownExecs>,
    },
    /// See [`Request::Pids`].
    Pids(Vec<i32>),
    /// It could not be done; the container is as before.
    Failed {
        /// What kind of failure.
        kind: FailureKind,
        /// In runc's words where runc has them.
        message: String,
    },
}

/// Where execs stand, for a daemon that has missed what was told of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownExecs {
    /// Those that are being made or run, and those whose end could not be told to everybody.
    pub execs: Vec<KnownExec>,
    /// Nothing was forgotten: an exec that is not among them, and of which no more was told, has never come.
    pub whole: bool,
}

/// An exec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownExec {
    /// Its id.
    pub id: String,
    /// How far it is.
    pub stage: ExecStage,
}

/// How far an exec is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecStage {
    /// It has no program yet; [`Message::Made`] follows.
    Making,
    /// Its program runs; [`Message::Exited`] follows.
    Running {
        /// Its pid, as the shim's pid namespace counts.
        pid: i32,
    },
    /// It has run.
    Ended {
        /// What its pid was.
        pid: i32,
        /// How it ended.
        status: ExitStatus,
    },
    /// It could not be made.
    Failed {
        /// What kind of failure.
        kind: FailureKind,
        /// As of [`Reply::Failed`].
        message: String,
    },
}

/// Kinds of failure that a daemon treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The program is not there (exit code 127).
    NotFound,
    /// The program cannot be executed (exit code 126).
    NotExecutable,
    /// No such process, or it has ended.
    Gone,
    /// Anything else.
    Other,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Its exit code; 128 plus the number of the signal that killed it.
    pub code: i32,
    /// Whether the kernel killed a process of the container for lack of memory.
    pub oom_killed: bool,
    /// When, in nanoseconds since 1970.
    pub at: i128,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shim of this version has written must be understood by every later daemon.
    #[test]
    fn the_exit_file_keeps_its_shape() {
        let status = ExitStatus {
            code: 137,
            oom_killed: true,
            at: 1,
        };
        let text = r#"{"code":137,"oom_killed":true,"at":1}"#;
        assert_eq!(serde_json::to_string(&status).expect("write"), text);
        assert_eq!(
            serde_json::from_str::<ExitStatus>(text).expect("read"),
            status
        );
    }

    #[test]
    fn messages_survive_the_wire() {
        let message = Message::Exited {
            exec: Some("e".into()),
            status: ExitStatus {
                code: 0,
                oom_killed: false,
                at: 2,
            },
        };
        let text = serde_json::to_string(&message).expect("write");
        assert!(
            matches!(serde_json::from_str(&text), Ok(Message::Exited { exec: Some(id), .. }) if id == "e")
        );
        let request: Request =
            serde_json::from_str(r#"{"kill":{"exec":null,"signal":9}}"#).expect("read");
        assert!(matches!(
            request,
            Request::Kill {
                exec: None,
                signal: 9
            }
        ));
    }
}
