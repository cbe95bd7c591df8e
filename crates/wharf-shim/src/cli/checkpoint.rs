//! `checkpoint` and `restore`: what runc has, and this runtime says it has not.

use super::Outcome;
use super::container::{Container, Status};
use super::flags::{Command, Flag, Said, Takes};
use super::global::Global;

const FLAGS: &[Flag] = &[
    ("image-path", "", Takes::Value, "path for criu image files"),
    (
        "work-path",
        "",
        Takes::Value,
        "path for work files and logs",
    ),
    (
        "parent-path",
        "",
        Takes::Value,
        "path for previous criu image files in pre-dump",
    ),
    (
        "leave-running",
        "",
        Takes::Nothing,
        "leave the process running after checkpointing",
    ),
    (
        "tcp-established",
        "",
        Takes::Nothing,
        "allow open tcp connections",
    ),
    (
        "ext-unix-sk",
        "",
        Takes::Nothing,
        "allow external unix sockets",
    ),
    ("shell-job", "", Takes::Nothing, "allow shell jobs"),
    (
        "lazy-pages",
        "",
        Takes::Nothing,
        "use userfaultfd to lazily restore memory pages",
    ),
    (
        "status-fd",
        "",
        Takes::Value,
        "criu writes \\0 to this FD once lazy-pages is ready",
    ),
    (
        "page-server",
        "",
        Takes::Value,
        "ADDRESS:PORT of the page server",
    ),
    (
        "file-locks",
        "",
        Takes::Nothing,
        "handle file locks, for safety",
    ),
    (
        "pre-dump",
        "",
        Takes::Nothing,
        "dump container's memory information only",
    ),
    (
        "manage-cgroups-mode",
        "",
        Takes::Value,
        "cgroups mode: soft|full|strict|ignore",
    ),
    (
        "empty-ns",
        "",
        Takes::Many,
        "create a namespace, but don't restore its properties",
    ),
    (
        "auto-dedup",
        "",
        Takes::Nothing,
        "enable auto deduplication of memory images",
    ),
    (
        "console-socket",
        "",
        Takes::Value,
        "path to an AF_UNIX socket for the console",
    ),
    (
        "detach",
        "d",
        Takes::Nothing,
        "detach from the container's process",
    ),
    (
        "pid-file",
        "",
        Takes::Value,
        "specify the file to write the process id to",
    ),
    (
        "no-subreaper",
        "",
        Takes::Nothing,
        "disable the use of the subreaper",
    ),
    ("no-pivot", "", Takes::Nothing, "do not use pivot root"),
    (
        "bundle",
        "b",
        Takes::Value,
        "path to the root of the bundle directory",
    ),
    (
        "lsm-profile",
        "",
        Takes::Value,
        "the LSM profile to be used on restore",
    ),
    (
        "lsm-mount-context",
        "",
        Takes::Value,
        "the LSM mount context to be used on restore",
    ),
];

pub(crate) const CHECKPOINT: Command = Command {
    name: "checkpoint",
    about: "checkpoint a running container (refused: there is no checkpointing)",
    usage: "[command options] <container-id>",
    words: (1, Some(1)),
    flags: FLAGS,
    stops: false,
};

pub(crate) const RESTORE: Command = Command {
    name: "restore",
    about: "restore a container from a previous checkpoint (refused: there is no checkpointing)",
    usage: "[command options] <container-id>",
    words: (1, Some(1)),
    flags: FLAGS,
    stops: false,
};

/// Refused, after what runc refuses itself. The container goes on.
pub(crate) fn checkpoint(global: &Global, said: &Said) -> Outcome {
    let container = Container::load(global, said)?;
    match container.status() {
        Status::Creating | Status::Created | Status::Stopped => {
            let status = container.status().word();
            Err(format!(
                "Container cannot be checkpointed in {status} state"
            ))
        }
        _ => Err("checkpoint failed: checkpointing is not supported".to_owned()),
    }
}

/// Refused.
pub(crate) fn restore(_: &Global, said: &Said) -> Outcome {
    said.id()?;
    Err("restore failed: checkpointing is not supported".to_owned())
}
