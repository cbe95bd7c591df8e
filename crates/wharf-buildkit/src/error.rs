//! What can go wrong, and how a client of BuildKit is told: a gRPC status, with the lines of the Dockerfile as a detail.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::google::protobuf::Any;
use bollard_buildkit_proto::google::rpc;
use prost::Message as _;
use serde_json::json;
use tonic::{Code, Status};
use wharf_builder::BuildError;
use wharf_dockerfile::Span;
use wharf_engine::{EngineError, ErrorKind};
use wharf_images::ImageError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// There is nothing of that name.
    #[error("{0}")]
    NotFound(String),
    /// Something that is not built.
    #[error("{0}")]
    Unimplemented(String),
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
    /// The builder failed.
    #[error("{}", words(.0))]
    Build(BuildError),
    /// The client that was asked said no.
    #[error("{}", .0.message())]
    Client(Status),
    /// An error with the place in the Dockerfile that it is about.
    #[error("{error}")]
    At {
        /// What.
        error: Box<Error>,
        /// Where.
        place: Place,
    },
}

/// Lines of a Dockerfile.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The Dockerfile's name.
    pub(crate) filename: String,
    /// Its text.
    pub(crate) text: String,
    /// The lines.
    pub(crate) span: Span,
}

impl Error {
    /// A file operation that failed.
    pub(crate) fn io(what: &str) -> impl Fn(std::io::Error) -> Self + use<> {
        let what = what.to_owned();
        move |error| Self::Failed(format!("{what}: {error}"))
    }

    /// The same, at a place.
    pub(crate) fn at(self, place: Place) -> Self {
        Self::At {
            error: Box::new(self),
            place,
        }
    }

    /// As a gRPC status.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::At { error, place } => {
                let inner = error.status();
                let details = with_details(inner.code(), inner.message(), vec![place.detail()]);
                Status::with_details(inner.code(), inner.message(), details.into())
            }
            Self::Client(status) => status.clone(),
            other => Status::new(other.code(), other.to_string()),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::NotFound(_) => Code::NotFound,
            Self::Unimplemented(_) => Code::Unimplemented,
            Self::Build(error) if error.kind() == ErrorKind::NotImplemented => Code::Unimplemented,
            // Clients print any other code before the text.
            _ => Code::Unknown,
        }
    }
}

/// BuildKit's words for what a command did.
fn words(error: &BuildError) -> String {
    match error {
        BuildError::Command { command, code } => {
            format!("process {command:?} did not complete successfully: exit code: {code}")
        }
        BuildError::Missing { path, .. } => {
            let reference = format!("{:032x}", rand::random::<u128>());
            format!(
                "failed to compute cache key: failed to calculate checksum of ref {reference}: \"/{path}\": not found"
            )
        }
        other => other.to_string(),
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        Self::Build(BuildError::Engine(error))
    }
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        Self::Build(error.into())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        error.status()
    }
}

impl Place {
    /// `errdefs.Source` of BuildKit, which its clients print as an excerpt.
    fn detail(&self) -> Any {
        let source = json!({
            "info": {
                "filename": self.filename,
                "data": STANDARD.encode(&self.text),
                "language": "Dockerfile",
            },
            "ranges": [{
                "start": { "line": self.span.start },
                "end": { "line": self.span.end },
            }],
        });
        Any {
            type_url: "github.com/moby/buildkit/errdefs.Source+json".to_owned(),
            value: source.to_string().into_bytes(),
        }
    }
}

/// `google.rpc.Status`, as it stands in `grpc-status-details-bin`.
pub(crate) fn with_details(code: Code, message: &str, details: Vec<Any>) -> Vec<u8> {
    let status = rpc::Status {
        code: code.into(),
        message: message.to_owned(),
        details,
    };
    status.encode_to_vec()
}

/// What a client's frontend ended with.
pub(crate) fn from_rpc(status: rpc::Status) -> Status {
    let code = Code::from_i32(status.code);
    let code = if code == Code::Ok {
        Code::Unknown
    } else {
        code
    };
    let message = status.message.clone();
    Status::with_details(code, message, status.encode_to_vec().into())
}
