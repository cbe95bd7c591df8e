//! What can go wrong, and how a client of BuildKit is told: a gRPC status, with the lines of the Dockerfile as a detail.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::google::protobuf::Any;
use bollard_buildkit_proto::google::rpc;
use bollard_buildkit_proto::pb;
use prost::Message as _;
use serde_json::json;
use tonic::{Code, Status};
use wharf_engine::ErrorKind;
use wharf_solver::{SolveError, SourceRange};
use wharf_sys::words::plain;

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
    /// The solver failed.
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// The client that was asked said no.
    #[error("{}", .0.message())]
    Client(Status),
}

impl Error {
    /// A file operation that failed.
    pub(crate) fn io(what: &str) -> impl Fn(std::io::Error) -> Self + use<> {
        let what = what.to_owned();
        move |error| Self::Failed(format!("{what}: {error}"))
    }

    /// As a gRPC status.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Solve(error) => solve_status(error),
            Self::Client(status) => status.clone(),
            other => Status::new(other.code(), plain(&other.to_string())),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::NotFound(_) => Code::NotFound,
            Self::Unimplemented(_) => Code::Unimplemented,
            // Clients print any other code before the text.
            _ => Code::Unknown,
        }
    }
}

/// With the places in the files that it is about, which clients print as excerpts.
fn solve_status(error: &SolveError) -> Status {
    let code = match error.kind() {
        ErrorKind::NotImplemented => Code::Unimplemented,
        _ => Code::Unknown,
    };
    let message = plain(&error.to_string());
    let SolveError::At {
        vertex, sources, ..
    } = error
    else {
        return Status::new(code, message);
    };
    let mut details: Vec<Any> = sources.iter().map(source_detail).collect();
    if !vertex.is_empty() {
        details.push(detail("Vertex", &json!({ "digest": vertex })));
    }
    let details = with_details(code, &message, details);
    Status::with_details(code, message, details.into())
}

/// `errdefs.Source` of BuildKit.
fn source_detail(source: &SourceRange) -> Any {
    let position = |position: Option<pb::Position>| {
        let position = position.unwrap_or_default();
        json!({ "line": position.line, "character": position.character })
    };
    let ranges = source.ranges.iter();
    let ranges =
        ranges.map(|range| json!({ "start": position(range.start), "end": position(range.end) }));
    let info = json!({
        "filename": source.info.filename,
        "data": STANDARD.encode(&source.info.data),
        "language": source.info.language,
    });
    let ranges: Vec<serde_json::Value> = ranges.collect();
    detail("Source", &json!({ "info": info, "ranges": ranges }))
}

fn detail(kind: &str, value: &serde_json::Value) -> Any {
    Any {
        type_url: format!("github.com/moby/buildkit/errdefs.{kind}+json"),
        value: value.to_string().into_bytes(),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        error.status()
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
