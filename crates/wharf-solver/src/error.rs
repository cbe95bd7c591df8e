//! What can go wrong with a solve.

use bollard_buildkit_proto::pb;
use wharf_builder::BuildError;
use wharf_engine::{EngineError, ErrorKind};

/// An error of a solve. Its `Display` is what BuildKit would say.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SolveError {
    /// The definition, the Dockerfile or an option is wrong.
    #[error("{0}")]
    Invalid(String),
    /// A step could not be done.
    #[error("{0}")]
    Failed(String),
    /// Something that was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// The client may not ask for this (`--allow`).
    #[error("{0}")]
    Forbidden(String),
    /// What is not built yet.
    #[error("{0}")]
    NotImplemented(String),
    /// A command ended with a code that it must not have.
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    Command {
        /// The command, its words joined.
        command: String,
        /// Its exit code.
        code: i32,
    },
    /// Nobody waits any more.
    #[error("context canceled")]
    Cancelled,
    /// One of the above, and where it happened.
    #[error("{error}")]
    At {
        /// What.
        error: Box<SolveError>,
        /// Digest of the vertex; empty if it was before there were any.
        vertex: String,
        /// Where in the Dockerfile.
        sources: Vec<SourceRange>,
    },
}

/// A place in a source file.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRange {
    /// The file.
    pub info: pb::SourceInfo,
    /// Where in it; positions are lines from 1.
    pub ranges: Vec<pb::Range>,
}

impl SolveError {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::InvalidParameter,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Forbidden(_) => ErrorKind::Forbidden,
            Self::NotImplemented(_) => ErrorKind::NotImplemented,
            Self::Failed(_) | Self::Command { .. } | Self::Cancelled => ErrorKind::System,
            Self::At { error, .. } => error.kind(),
        }
    }

    /// The exit code of a command that failed.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Command { code, .. } => Some(*code),
            Self::At { error, .. } => error.code(),
            _ => None,
        }
    }

    /// Adds where it happened, unless that is known.
    pub(crate) fn at(self, vertex: &str, sources: Vec<SourceRange>) -> Self {
        match self {
            Self::At { .. } | Self::Cancelled => self,
            error => Self::At {
                error: Box::new(error),
                vertex: vertex.to_owned(),
                sources,
            },
        }
    }

    /// With the kernel's errors as BuildKit words them.
    pub(crate) fn plain(self) -> Self {
        match self {
            Self::Failed(text) => Self::Failed(wharf_sys::words::plain(&text)),
            error => error,
        }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl Fn(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Failed(format!("{what}: {error}"))
    }
}

impl From<BuildError> for SolveError {
    fn from(error: BuildError) -> Self {
        match error.kind() {
            ErrorKind::InvalidParameter => Self::Invalid(error.to_string()),
            ErrorKind::NotFound => Self::NotFound(error.to_string()),
            ErrorKind::NotImplemented => Self::NotImplemented(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<EngineError> for SolveError {
    fn from(error: EngineError) -> Self {
        BuildError::from(error).into()
    }
}

impl From<wharf_images::ImageError> for SolveError {
    fn from(error: wharf_images::ImageError) -> Self {
        BuildError::from(error).into()
    }
}

impl From<wharf_records::RecordError> for SolveError {
    fn from(error: wharf_records::RecordError) -> Self {
        BuildError::from(error).into()
    }
}
