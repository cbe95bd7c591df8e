//! Errors as Docker answers them: a status and `{"message": …}`.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use wharf_api_types::{ErrorDetail, ErrorResponse, JsonMessage};
use wharf_engine::{EngineError, ErrorKind};
use wharf_sys::words::plain;

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

    /// The same, said to have happened in the middle of something.
    pub(crate) fn within(self, what: &str) -> Self {
        Self::new(self.status, format!("{what}: {}", self.message))
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

/// The last line of a stream of messages that did not end well.
pub(crate) fn last_line(message: &str, code: i64) -> JsonMessage {
    let message = plain(message);
    JsonMessage {
        error_detail: Some(ErrorDetail {
            code,
            message: message.clone(),
        }),
        error: Some(message),
        ..JsonMessage::default()
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
            message: plain(&self.message),
        };
        let mut response = reply::json(self.status, &body);
        if unrouted {
            response.extensions_mut().insert(Unrouted);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever error of the kernel's a message is made of: users know Go's words.
    #[tokio::test]
    async fn errors_of_the_kernel_are_in_gos_words() {
        let full = std::io::Error::from_raw_os_error(28);
        let said = format!("write /x: {full}");
        let response = ApiError::bad(&said).into_response();
        let body = axum::body::to_bytes(response.into_body(), 1000).await;
        let words = "write /x: no space left on device";
        assert_eq!(body.unwrap(), format!("{{\"message\":\"{words}\"}}\n"));
        assert_eq!(last_line(&said, 0).error.as_deref(), Some(words));
    }
}
