//! What can go wrong with a control group.

use std::io;
use std::path::{Path, PathBuf};

/// An error of a control group.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No hierarchy is mounted below `/sys/fs/cgroup`.
    #[error("no cgroup hierarchy is mounted on /sys/fs/cgroup")]
    NoHierarchy,
    /// A path that means the top of the hierarchy.
    #[error("a control group needs a path below the top")]
    Top,
    /// The host lacks the controller that a limit needs.
    #[error("the host has no {0} controller")]
    NoController(&'static str),
    /// A file or folder could not be made, read or written.
    #[error("{operation} {path}")]
    File {
        /// `make`, `read`, `failed to write "VALUE": write` (as runc has it), `remove`.
        operation: String,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// More memory is in use than the new limit, and cannot be given back.
    #[error("unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})")]
    InUse {
        /// Bytes.
        limit: i64,
        /// Bytes.
        usage: u64,
        /// Bytes.
        peak: u64,
    },
    /// As much memory is in use as the new limit, which was to be compared.
    #[error("rejecting {what} limit {limit} <= usage {usage}")]
    BelowUsage {
        /// `memory` or `memory+swap`.
        what: &'static str,
        /// Bytes.
        limit: u64,
        /// Bytes.
        usage: u64,
    },
    /// A share of the processor that v1 does not know.
    #[error("the {bound} allowed cpu-shares is {kept}")]
    Shares {
        /// `minimum` or `maximum`.
        bound: &'static str,
        /// That number.
        kept: u64,
    },
    /// A limit of swap alone.
    #[error("unable to set swap limit without memory limit")]
    SwapWithoutMemory,
    /// The limit of memory and swap together is below that of memory.
    #[error("memory+swap limit should be >= memory limit")]
    SwapBelowMemory,
    /// `unified` is asked for on v1.
    #[error("cannot use unified settings with cgroup v1")]
    NotUnified,
    /// A key of `unified` is no file name.
    #[error("unified resource \"{0}\" must be a file name (no slashes)")]
    BadFile(String),
    /// A scope's name is no name of one.
    #[error("invalid unit name: {0}")]
    BadUnit(String),
    /// A slice's name is no name of one.
    #[error("invalid slice name: {0}")]
    BadSlice(String),
    /// A list of processors or memory nodes that is none.
    #[error("invalid list of numbers: \"{0}\"")]
    BadSet(String),
    /// An annotation that is to be a property of a unit.
    #[error("Annotation {annotation}: {why}")]
    BadAnnotation {
        /// `NAME=VALUE`.
        annotation: String,
        /// What is wrong.
        why: &'static str,
    },
    /// systemd is asked for, and does not run.
    #[error("systemd not running on this host, cannot use systemd cgroups manager")]
    NoSystemd,
    /// systemd cannot be reached, or does not answer.
    #[error("talk to systemd")]
    Bus(#[source] io::Error),
    /// systemd has refused.
    #[error("unable to {verb} unit \"{unit}\": {text}")]
    Systemd {
        /// `start`, `stop`, `set properties of`.
        verb: &'static str,
        /// The unit's name.
        unit: String,
        /// Its own words.
        text: String,
    },
    /// The process that holds a new scope could not be made.
    #[error("make a process that holds the scope")]
    Keeper(#[source] io::Error),
    /// A device filter could not be loaded.
    #[error("load the device filter")]
    DeviceFilter(#[source] io::Error),
}

impl CgroupError {
    pub(crate) fn file(
        operation: impl Into<String>,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> Self {
        let (operation, path) = (operation.into(), path.to_owned());
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }
}
