//! What can go wrong on the way to a process.

use std::fmt;
use std::io;

/// An error of the runtime, on the caller's side.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A system call of the caller failed.
    #[error("{operation}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The control group could not be made or filled.
    #[error("control group")]
    Cgroup(#[from] wharf_cgroups::CgroupError),
    /// The spec asks for what we do not do.
    #[error("{0}")]
    Unsupported(String),
    /// The child could not become the container's process.
    #[error("{0}")]
    Child(Failure),
}

impl RuntimeError {
    pub(crate) fn system(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { operation, source }
    }
}

/// Why a child gave up, in runc's words where it has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// The words.
    pub message: String,
}

/// Kinds of failure that a caller treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The program is not there.
    NotFound,
    /// The program cannot be executed.
    NotExecutable,
    /// Anything else.
    Other,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Other,
            message: message.into(),
        }
    }

    /// A failed step: `what: error`.
    pub(crate) fn at(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |error| Self::other(format!("{what}: {}", wharf_sys::words::of(&error)))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            FailureKind::NotFound => b'n',
            FailureKind::NotExecutable => b'x',
            FailureKind::Other => b'o',
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(self.message.as_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let kind = match bytes.first() {
            Some(b'n') => FailureKind::NotFound,
            Some(b'x') => FailureKind::NotExecutable,
            _ => FailureKind::Other,
        };
        let message = String::from_utf8_lossy(bytes.get(1..).unwrap_or_default()).into_owned();
        Self { kind, message }
    }
}
