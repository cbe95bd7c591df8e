//! What can go wrong with a build.

use wharf_engine::{EngineError, ErrorKind};

/// An error of a build. Its `Display` is what Docker would say.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile or an option is wrong.
    #[error("{0}")]
    Invalid(String),
    /// A step could not be done.
    #[error("{0}")]
    Failed(String),
    /// Something that was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// A `RUN` ended with a code other than 0.
    #[error("The command '{command}' returned a non-zero code: {code}")]
    Command {
        /// The command, its words joined.
        command: String,
        /// Its exit code.
        code: i32,
    },
    /// Something that a later version will do.
    #[error("{0}")]
    NotImplemented(String),
    /// The engine refused.
    #[error("{}", .0.message())]
    Engine(#[from] EngineError),
}

impl BuildError {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::InvalidParameter,
            Self::Failed(_) | Self::Command { .. } => ErrorKind::System,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::NotImplemented(_) => ErrorKind::NotImplemented,
            Self::Engine(error) => error.kind(),
        }
    }

    /// The exit code of a command that failed, which Docker's `errorDetail` carries.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Command { code, .. } => Some(*code),
            _ => None,
        }
    }

    pub(crate) fn io(what: &str) -> impl Fn(std::io::Error) -> Self + use<> {
        let what = what.to_owned();
        move |error| Self::Failed(format!("{what}: {error}"))
    }
}

impl From<wharf_images::ImageError> for BuildError {
    fn from(error: wharf_images::ImageError) -> Self {
        Self::Engine(error.into())
    }
}

/// So that errors of the records read as the build's.
impl From<wharf_records::RecordError> for BuildError {
    fn from(error: wharf_records::RecordError) -> Self {
        Self::Engine(EngineError::from(error))
    }
}
