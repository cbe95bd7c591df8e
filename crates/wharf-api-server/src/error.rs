//! Errors as Docker answers them: a status and `{"message": …}`.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use wharf_api_types::ErrorResponse;
use wharf_engine::{EngineError, ErrorKind};

use crate::reply;

const NO_PAGE: &str = "page not found";

/// Marks an answer that no route gave: it says nothing of the daemon.
#[derive(Clone, Copy)]
pub(crate) struct Unrouted;

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// 400.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404 for a path that the API does not have.
    pub(crate) fn no_page() -> Self {
        Self::new(StatusCode::NOT_FOUND, NO_PAGE)
    }

    /// 501: what is not built yet says so.
    pub(crate) fn not_implemented(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("{what} is not supported by wharf yet"),
        )
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        Self::new(status_of(error.kind()), error.message())
    }
}

impl From<wharf_images::ImageError> for ApiError {
    fn from(error: wharf_images::ImageError) -> Self {
        EngineError::from(error).into()
    }
}

/// The one place where a kind of error becomes a status (moby `api/server/httpstatus`).
pub(crate) fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        ErrorKind::InvalidParameter => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::System => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status == StatusCode::NOT_MODIFIED {
            return self.status.into_response();
        }
        let unrouted = self.status == StatusCode::NOT_FOUND && self.message == NO_PAGE;
        let body = ErrorResponse {
            message: self.message,
        };
        let mut response = reply::json(self.status, &body);
        if unrouted {
            response.extensions_mut().insert(Unrouted);
        }
        response
    }
}
