//! What callers hand to the verbs and get back.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{Filters, Resources, RestartPolicy, View};

/// What `create` made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The full id.
    pub id: String,
    /// Docker's warnings.
    pub warnings: Vec<String>,
}

/// How to stop.
#[derive(Clone, Debug, Default)]
pub struct StopOptions {
    /// Signal instead of the container's own, by name or number.
    pub signal: Option<String>,
    /// Seconds before the kill; negative: never. The container's own if `None`.
    pub timeout: Option<i64>,
}

/// How to remove.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Kill it if it runs.
    pub force: bool,
    /// Also its anonymous volumes.
    pub volumes: bool,
    /// Remove an old link instead of the container.
    pub link: bool,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// That it does not run; at once if it does not.
    #[default]
    NotRunning,
    /// The next end of a run, though it does not run yet.
    NextExit,
    /// That it is gone.
    Removed,
}

impl WaitCondition {
    /// Docker's word; `None` if it is none. Empty is `not-running`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "not-running" => Some(Self::NotRunning),
            "next-exit" => Some(Self::NextExit),
            "removed" => Some(Self::Removed),
            _ => None,
        }
    }
}

/// What a wait ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitResult {
    /// The exit code.
    pub code: i32,
    /// Why the start failed or the removal did.
    pub error: Option<String>,
}

/// What to attach.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// Write to its stdin.
    pub stdin: bool,
    /// Read its stdout.
    pub stdout: bool,
    /// Read its stderr.
    pub stderr: bool,
    /// First replay its log.
    pub logs: bool,
    /// Stay attached; without it only the log is replayed.
    pub stream: bool,
    /// Keys that detach, `ctrl-p,ctrl-q` if `None`.
    pub detach_keys: Option<String>,
}

/// How an attached session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachEnd {
    /// The container's output ended.
    Ended,
    /// The detach keys were typed.
    Detached,
    /// The client went.
    Gone,
}

/// Which log lines.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Lines of stdout.
    pub stdout: bool,
    /// Lines of stderr.
    pub stderr: bool,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Until then.
    pub until: Option<Timestamp>,
    /// The last so many lines; all if `None`.
    pub tail: Option<u64>,
    /// Go on while it runs.
    pub follow: bool,
}

/// `top`'s table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// Column titles.
    pub titles: Vec<String>,
    /// Rows.
    pub processes: Vec<Vec<String>>,
}

/// Which containers to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// The newest so many, in any state; 0 or `None`: no limit.
    pub limit: Option<usize>,
    /// Measure their sizes.
    pub size: bool,
    /// Docker's filters: `ancestor before expose exited health id is-task label name network publish since status volume`.
    pub filters: Filters,
}

/// A container in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The container.
    pub view: Arc<View>,
    /// `ps`'s image column: the name that was asked for while it still means the same image, else the id.
    pub image: String,
    /// Its sizes, if they were asked for.
    pub size: Option<Size>,
    /// What links of others call it: `web/db`.
    pub link_names: Vec<String>,
}

/// Bytes of a container on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// In its own layer.
    pub rw: u64,
    /// In all layers.
    pub root: u64,
}

/// What a prune removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Ids, or names of volumes and networks.
    pub deleted: Vec<String>,
    /// Bytes.
    pub reclaimed: u64,
}

/// One object that a prune has removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Its id, or its name if it is a volume.
    pub id: String,
    /// `Deleted`; `Untagged` for a name of an image.
    pub status: &'static str,
}

/// Who is told of objects as a prune removes them; nobody by default.
#[derive(Clone, Debug, Default)]
pub struct PruneWatcher(Option<UnboundedSender<Pruned>>);

impl PruneWatcher {
    /// One, and what it is told. That ends when the watcher is dropped.
    pub fn channel() -> (Self, UnboundedReceiver<Pruned>) {
        let (sender, receiver) = unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// Tells that the object is gone.
    pub fn deleted(&self, id: &str) {
        self.tell(id, "Deleted");
    }

    pub(crate) fn tell(&self, id: &str, status: &'static str) {
        let id = id.to_owned();
        if let Some(sender) = &self.0 {
            // Who does not listen any more is not told.
            let _ = sender.send(Pruned { id, status });
        }
    }
}

/// What `update` changes; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// The restart policy.
    pub restart_policy: Option<RestartPolicy>,
    /// Limits: fields that are 0, empty or `None` stay as they are.
    pub resources: Option<Resources>,
    /// Which of the resources' lists take the place of those that hold, even if they are empty; none without resources.
    pub lists: DeviceLists,
}

/// The lists of block I/O limits of single devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceLists {
    /// Weights.
    pub weights: bool,
    /// Bytes per second read.
    pub read_bps: bool,
    /// Bytes per second written.
    pub write_bps: bool,
    /// Reads per second.
    pub read_iops: bool,
    /// Writes per second.
    pub write_iops: bool,
}

/// A process to run in a container.
#[derive(Clone, Debug, Default)]
pub struct NewExec {
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// Environment beside the container's.
    pub env: Vec<String>,
    /// User instead of the container's.
    pub user: String,
    /// Directory instead of the container's.
    pub working_dir: String,
    /// A terminal.
    pub tty: bool,
    /// With all capabilities.
    pub privileged: bool,
    /// Stdin is attached.
    pub attach_stdin: bool,
    /// Stdout is attached.
    pub attach_stdout: bool,
    /// Stderr is attached.
    pub attach_stderr: bool,
    /// Keys that detach.
    pub detach_keys: Option<String>,
    /// Rows and columns of the terminal at the start.
    pub console_size: Option<(u16, u16)>,
}

/// How to start an exec.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecStartOptions {
    /// Nobody attaches.
    pub detach: bool,
    /// Whether the client reads it as a terminal's, raw; Docker wants it to equal that of the creation.
    pub tty: bool,
    /// Rows and columns of the terminal.
    pub console_size: Option<(u16, u16)>,
}

/// An exec session at one moment.
#[derive(Clone, Debug)]
pub struct ExecView {
    /// Its id.
    pub id: String,
    /// Its container's.
    pub container: String,
    /// What was asked for.
    pub spec: NewExec,
    /// Whether it runs.
    pub running: bool,
    /// Its exit code; `None` before it has ended.
    pub exit_code: Option<i32>,
    /// Its process as the host sees it; 0 before.
    pub pid: u32,
}
