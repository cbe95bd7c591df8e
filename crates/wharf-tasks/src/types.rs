//! What goes in and what comes out.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use jiff::Timestamp;
use oci_spec::runtime::{Process, Spec};
use wharf_shim_api::{Log, Runtime};

/// Everything that a task is made of.
#[derive(Debug)]
pub struct TaskConfig {
    /// The OCI configuration. `linux.cgroupsPath` is the control group, from the hierarchies' root.
    pub spec: Spec,
    /// Where its root file system comes from.
    pub rootfs: RootfsSource,
    /// What its standard streams are.
    pub stdio: Stdio,
    /// Where its output goes beside those who are attached.
    pub log: Log,
    /// The network namespace to join; else what the spec says.
    pub netns: Option<OwnedFd>,
    /// The system-call filter, compiled: the bytes of its `struct sock_filter` array. `None`: from the spec.
    pub seccomp: Option<Vec<u8>>,
    /// `user[:group]` by name or number, looked up inside the root file system; empty: the spec's numbers.
    pub user: String,
    /// Further groups by name or number (`--group-add`).
    pub groups: Vec<String>,
    /// Run the process below our small init, which reaps and forwards signals (`--init`).
    pub init: bool,
    /// The OCI runtime that makes the processes; the shim itself if `None`. Its seccomp filter is the spec's.
    pub runtime: Option<Runtime>,
}

/// A root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootfsSource {
    /// Layers, mounted by the shim where only the container sees it.
    Overlay {
        /// Read-only layers, the topmost first.
        lowers: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// Overlay's own folder, on the same file system as `upper`.
        work: PathBuf,
    },
    /// A folder that is there.
    Path(PathBuf),
}

/// What a process's standard streams are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stdio {
    /// One terminal instead of three pipes.
    pub terminal: bool,
    /// Input is held open for those who attach; else it is `/dev/null`.
    pub open_stdin: bool,
    /// Input ends when the first one attached to it ends.
    pub stdin_once: bool,
}

/// A further process in a container.
#[derive(Clone, Debug)]
pub struct ExecConfig {
    /// Its id, unique among those of the task that run.
    pub id: String,
    /// What to run; `terminal` inside says whether it has one.
    pub process: Process,
    /// `user[:group]` as [`TaskConfig::user`].
    pub user: String,
    /// The streams that [`crate::ExecTask::take_stream`] carries; `None`: all go to `/dev/null`.
    pub attach: Option<AttachOptions>,
}

/// Which streams are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// What is written to the stream is the process's input.
    pub stdin: bool,
    /// Its output is wanted.
    pub stdout: bool,
    /// Its error output is wanted.
    pub stderr: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// When.
    pub at: Timestamp,
    /// The kernel killed a process of the container for lack of memory.
    pub oom_killed: bool,
}

impl ExitStatus {
    /// Of a process whose end nobody saw, as its shim was killed: 137, now.
    pub(crate) fn lost() -> Self {
        Self {
            code: 137,
            at: Timestamp::now(),
            oom_killed: false,
        }
    }
}

impl From<&wharf_shim_api::ExitStatus> for ExitStatus {
    fn from(status: &wharf_shim_api::ExitStatus) -> Self {
        Self {
            code: status.code,
            at: Timestamp::from_nanosecond(status.at).unwrap_or_else(|_| Timestamp::now()),
            oom_killed: status.oom_killed,
        }
    }
}

impl From<AttachOptions> for wharf_shim_api::Streams {
    fn from(options: AttachOptions) -> Self {
        Self {
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr,
        }
    }
}
