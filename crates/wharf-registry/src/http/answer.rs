//! Answers: status, headers, body; and how a refusal looks.

use bytes::Bytes;
use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::{Body, Context};
use crate::Error;

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// An answer to be sent.
pub(crate) struct Answer(Response<Body>);

impl Answer {
    /// An answer without a body.
    pub(crate) fn empty(status: StatusCode) -> Answer {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        // 204 and 304 have no body to be long.
        if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Answer(response)
    }

    /// An answer with a JSON document.
    pub(crate) fn json(status: StatusCode, document: impl Into<Bytes>) -> Answer {
        Answer::document(status, JSON, document.into())
    }

    /// An answer with a document of a type.
    pub(crate) fn document(status: StatusCode, kind: HeaderValue, document: Bytes) -> Answer {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, document.len().into());
        response.headers_mut().insert(CONTENT_TYPE, kind);
        *response.body_mut() = Body::from(document);
        Answer(response)
    }

    /// The same with another body; `Content-Length` is the caller's to set.
    pub(crate) fn with_body(mut self, body: Body) -> Answer {
        *self.0.body_mut() = body;
        self
    }

    /// The same with a header. A value that cannot be one is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Answer {
        if let Ok(value) = value.try_into() {
            self.0.headers_mut().insert(name, value);
        }
        self
    }

    /// The response, with what every one carries.
    pub(super) fn into_response(self, context: &Context) -> Response<Body> {
        let mut response = self.0;
        let headers = response.headers_mut();
        headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        headers.insert(NO_SNIFF, HeaderValue::from_static("nosniff"));
        for (name, value) in &context.shared.settings.headers {
            headers.insert(name.clone(), value.clone());
        }
        if context.method == http::Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }
}

/// How a refused request is answered.
pub(super) fn refusal(error: &Error, context: &Context, path: &str) -> Response<Body> {
    let (status, code, detail) = error.answer();
    if error.is_ours() {
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(method = %context.method, path, %error, source, "request failed");
    }
    if matches!(error, Error::NoRoute) {
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        return Answer::document(status, text, "404 page not found\n".into())
            .into_response(context);
    }
    // Paths of this machine are for its log.
    let message = match error {
        Error::Io { .. } | Error::Config(_) => "unknown error".to_owned(),
        error => error.to_string(),
    };
    let mut entry = json!({ "code": code, "message": message });
    if !detail.is_null() {
        entry["detail"] = detail;
    }
    let mut answer = Answer::json(status, format!("{}\n", json!({ "errors": [entry] })));
    match error {
        Error::Unauthorized { challenge, .. } => {
            answer = answer.with(WWW_AUTHENTICATE, challenge.as_str())
        }
        Error::RangeInvalid { upload, size } => {
            if let Some((location, offset)) = upload {
                answer = answer
                    .with(LOCATION, location.as_str())
                    .with(RANGE, came(*offset));
            }
            if let Some(size) = size {
                answer = answer.with(CONTENT_RANGE, format!("bytes */{size}"));
            }
        }
        Error::Unsupported(_) => answer = answer.with(ALLOW, "GET, HEAD"),
        _ => {}
    }
    answer.into_response(context)
}

/// How far an upload came, as docker-registry says it: the last byte's position, and `0-0` for none as well.
pub(super) fn came(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}
