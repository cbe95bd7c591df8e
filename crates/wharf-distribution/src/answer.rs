//! Refusals: `{"errors":[{"code","message","detail"}]}` (distribution specification, "Error Codes"), and what
//! comes in its place from broken registries and proxies.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode, Uri};
use hyper::body::Incoming;
use serde::Deserialize;

use crate::RegistryError;
use crate::challenge::{self, Challenge};
use crate::http_client::Http;

const MAX_REFUSAL_SIZE: u64 = 64 * 1024;
/// A registry that wants to be left alone for longer is asked again after this time.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A refusal, read and understood as far as it can be.
#[derive(Debug)]
pub(crate) struct RegistryAnswer {
    pub(crate) status: StatusCode,
    /// `MANIFEST_UNKNOWN` and the like; empty if there was none.
    pub(crate) code: String,
    message: String,
    /// When the registry wants to be asked again.
    retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Item>,
    /// Docker Hub's other form.
    #[serde(default)]
    details: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl RegistryAnswer {
    pub(crate) async fn read(
        http: &Http,
        url: &Uri,
        response: Response<Incoming>,
    ) -> Result<RegistryAnswer, RegistryError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = http
            .body(url, response, MAX_REFUSAL_SIZE)
            .await
            .unwrap_or_default();
        let seconds = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        Ok(RegistryAnswer {
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT)),
            ..RegistryAnswer::parse(status, &headers, &body)
        })
    }

    fn parse(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> RegistryAnswer {
        if !status.is_client_error() {
            return RegistryAnswer::plain(
                status,
                format!("received unexpected HTTP status: {status}"),
            );
        }
        if let Some(answer) = from_challenge(status, headers) {
            return answer;
        }
        match serde_json::from_slice::<Body>(body) {
            Ok(Body { mut errors, .. }) if !errors.is_empty() => {
                let Item { code, message } = errors.swap_remove(0);
                let message = match message.as_str() {
                    "" => default_message(&code).to_owned(),
                    _ => message,
                };
                RegistryAnswer {
                    retry_after: None,
                    status,
                    code,
                    message,
                }
            }
            _ if status == StatusCode::UNAUTHORIZED => RegistryAnswer {
                retry_after: None,
                status,
                code: "UNAUTHORIZED".to_owned(),
                message: "authentication required".to_owned(),
            },
            Ok(Body {
                details: Some(details),
                ..
            }) => RegistryAnswer::plain(status, details),
            Ok(_) => RegistryAnswer::plain(
                status,
                format!(
                    "error parsing HTTP {} response body: no error details found in HTTP response body: {:?}",
                    status.as_u16(),
                    excerpt(body)
                ),
            ),
            Err(error) => RegistryAnswer::plain(
                status,
                format!(
                    "error parsing HTTP {} response body: {error}: {:?}",
                    status.as_u16(),
                    excerpt(body)
                ),
            ),
        }
    }

    fn plain(status: StatusCode, message: String) -> RegistryAnswer {
        RegistryAnswer {
            retry_after: None,
            status,
            code: String::new(),
            message,
        }
    }

    /// `manifest unknown: manifest unknown`, as Docker writes an error code and its message.
    pub(crate) fn text(&self) -> String {
        if self.code.is_empty() {
            return self.message.clone();
        }
        let code = self.code.to_ascii_lowercase().replace('_', " ");
        format!("{code}: {}", self.message)
    }

    pub(crate) fn into_error(self) -> RegistryError {
        RegistryError::Status {
            status: self.status.as_u16(),
            message: self.text(),
            retry_after: self.retry_after,
        }
    }
}

/// A bearer challenge that says what was wrong with the token wins over the body.
fn from_challenge(status: StatusCode, headers: &HeaderMap) -> Option<RegistryAnswer> {
    let bearer = challenge::parse(headers)
        .into_iter()
        .find_map(|challenge| match challenge {
            Challenge::Bearer(bearer) => Some(bearer),
            Challenge::Basic => None,
        })?;
    let code = match bearer.error.as_str() {
        "invalid_token" => "UNAUTHORIZED",
        "insufficient_scope" => "DENIED",
        _ => return None,
    };
    let message = match bearer.error_description.as_str() {
        "" => default_message(code).to_owned(),
        description => description.to_owned(),
    };
    Some(RegistryAnswer {
        retry_after: None,
        status,
        code: code.to_owned(),
        message,
    })
}

fn default_message(code: &str) -> &'static str {
    match code {
        "UNAUTHORIZED" => "authentication required",
        "DENIED" => "requested access to the resource is denied",
        "MANIFEST_UNKNOWN" => "manifest unknown",
        "NAME_UNKNOWN" => "repository name not known to registry",
        "TOOMANYREQUESTS" => "too many requests",
        _ => "unknown error",
    }
}

/// The beginning of a body that is not what it should be.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(300)]);
    text.trim().to_owned()
}

/// `a=b&c=d` with everything but unreserved characters escaped.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let escaped: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={}", escape(value)))
        .collect();
    escaped.join("&")
}

/// Percent-encodes everything but unreserved characters (RFC 3986 section 2.3).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: u16, body: &str) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        RegistryAnswer::parse(status, &HeaderMap::new(), body.as_bytes()).text()
    }

    #[test]
    fn speaks_as_docker_does() {
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        assert_eq!(text(404, unknown), "manifest unknown: manifest unknown");
        assert_eq!(text(401, "<html>"), "unauthorized: authentication required");
        assert_eq!(
            text(500, "oops"),
            "received unexpected HTTP status: 500 Internal Server Error"
        );
        assert!(text(404, "<html>").starts_with("error parsing HTTP 404 response body: "));
        assert!(text(404, "{}").contains("no error details found"));
    }

    #[test]
    fn escapes_forms() {
        assert_eq!(
            form(&[("a", "b c"), ("scope", "repository:x/y:pull")]),
            "a=b%20c&scope=repository%3Ax%2Fy%3Apull"
        );
    }
}
