//! One HTTP client per host (its TLS settings differ), and one request with redirects on it.

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, LOCATION, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::dial::{DialError, Dialer};
use crate::send_body::{self, FileBody, RequestBody};
use crate::{Config, RegistryError, tls};

const MAX_REDIRECTS: usize = 10;
/// Bytes that are read from a connection at a time, at most. A piece of a blob is that long, and some of them wait for each layer
/// that is unpacked.
const READ_SIZE: usize = 128 * 1024;

type HyperClient = Client<HttpsConnector<Dialer>, RequestBody>;

/// HTTP for all registries.
pub(crate) struct Http {
    config: Config,
    clients: Mutex<HashMap<String, HyperClient>>,
}

/// A request that can be sent again.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// A part of a file that is sent instead of `body`.
    pub(crate) file: Option<FileBody>,
    /// Whether the body is for the eyes of this server alone.
    pub(crate) secret: bool,
}

/// The address that an answer came from, at the end of all redirects.
#[derive(Clone)]
pub(crate) struct AnsweredBy(pub(crate) Uri);

/// Whether two addresses are of one server: what is told one is known to the other.
pub(crate) fn same_server(one: &Uri, other: &Uri) -> bool {
    one.scheme() == other.scheme() && one.authority() == other.authority()
}

impl Call {
    pub(crate) fn get(uri: Uri) -> Call {
        Call {
            method: Method::GET,
            uri,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            file: None,
            secret: false,
        }
    }

    pub(crate) fn new(method: Method, uri: Uri) -> Call {
        Call {
            method,
            ..Call::get(uri)
        }
    }

    /// The method as Go spells it in errors.
    pub(crate) fn verb(&self) -> &'static str {
        match self.method {
            Method::HEAD => "Head",
            Method::POST => "Post",
            Method::PUT => "Put",
            Method::PATCH => "Patch",
            _ => "Get",
        }
    }
}

impl Http {
    pub(crate) fn new(config: Config) -> Http {
        Http {
            config,
            clients: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Sends the call, and follows redirects; `Authorization` goes to no other host than the first, nor does a body
    /// with a secret in it. Who answered in the end is in the answer's extensions ([`AnsweredBy`]).
    pub(crate) async fn send(&self, call: &Call) -> Result<Response<Incoming>, RegistryError> {
        let mut call = call.clone();
        for _ in 0..MAX_REDIRECTS {
            let mut response = self.send_one(&call).await?;
            let target = match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => response.headers().get(LOCATION),
                _ => {
                    response.extensions_mut().insert(AnsweredBy(call.uri));
                    return Ok(response);
                }
            };
            let broken = |message: String| RegistryError::Protocol {
                url: call.uri.to_string(),
                message,
            };
            let target = target
                .and_then(|value| value.to_str().ok())
                .ok_or_else(|| broken("redirect without a Location".to_owned()))?;
            let target = join(&call.uri, target)
                .ok_or_else(|| broken(format!("redirect to {target:?}, which is no address")))?;
            if call.uri.scheme_str() == Some("https") && target.scheme_str() != Some("https") {
                return Err(broken(format!("redirect from https to {target} refused")));
            }
            if !same_server(&target, &call.uri) {
                if call.secret {
                    return Err(broken(format!("redirect to {target} refused")));
                }
                call.headers.remove(AUTHORIZATION);
            }
            call.uri = target;
        }
        Err(RegistryError::Protocol {
            url: call.uri.to_string(),
            message: format!("stopped after {MAX_REDIRECTS} redirects"),
        })
    }

    async fn send_one(&self, call: &Call) -> Result<Response<Incoming>, RegistryError> {
        let (body, sent) = match &call.file {
            Some(file) => send_body::stream(file),
            None => (
                Full::new(call.body.clone())
                    .map_err(|never| match never {})
                    .boxed_unsync(),
                Default::default(),
            ),
        };
        let mut request = Request::new(body);
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = call.uri.clone();
        *request.headers_mut() = call.headers.clone();
        if let Ok(agent) = self.config.user_agent.parse() {
            request.headers_mut().insert(USER_AGENT, agent);
        }
        if call.uri.scheme_str() == Some("http")
            && let Some(auth) = self
                .config
                .proxies
                .of(&call.uri)
                .and_then(|proxy| proxy.auth)
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, auth);
        }
        let unreachable = |message: String| RegistryError::Unreachable {
            method: call.verb(),
            url: call.uri.to_string(),
            message,
        };
        let client = self.client(&call.uri)?;
        // The connection has its own limit; what stalls after that is a server that does not answer.
        let limit = self.config.connect_timeout + self.config.stall_timeout;
        let mut answer = std::pin::pin!(client.request(request));
        loop {
            let before = sent.load(Ordering::Relaxed);
            match tokio::time::timeout(limit, &mut answer).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(unreachable(cause(&error))),
                // A long upload is alive while bytes go out.
                Err(_) if sent.load(Ordering::Relaxed) != before => {}
                Err(_) => return Err(unreachable(
                "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"
                    .to_owned(),
            )),
            }
        }
    }

    fn client(&self, uri: &Uri) -> Result<HyperClient, RegistryError> {
        let authority = uri.authority().map_or("", |a| a.as_str());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(authority) {
            return Ok(client.clone());
        }
        let verify = !self.config.is_insecure(authority);
        let tls = tls::client_config(authority, &self.config.certs_dir, verify)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Dialer {
                timeout: self.config.connect_timeout,
                proxies: self.config.proxies.clone(),
            });
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(15))
            .http1_max_buf_size(READ_SIZE)
            .build(connector);
        clients.insert(authority.to_owned(), client.clone());
        Ok(client)
    }

    /// The whole body, if it is at most `limit` bytes long.
    pub(crate) async fn body(
        &self,
        url: &Uri,
        response: Response<Incoming>,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        let mut body = response.into_body();
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.chunk(url, &mut body).await? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(RegistryError::Protocol {
                    url: url.to_string(),
                    message: format!("answer is longer than the {limit} bytes allowed"),
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// The next piece of a body; an error if none comes for the stall time.
    pub(crate) async fn chunk(
        &self,
        url: &Uri,
        body: &mut Incoming,
    ) -> Result<Option<Bytes>, RegistryError> {
        let broken = |message: String| RegistryError::Unreachable {
            method: "Get",
            url: url.to_string(),
            message,
        };
        loop {
            let frame = tokio::time::timeout(self.config.stall_timeout, body.frame()).await;
            match frame {
                Err(_) => return Err(broken("connection stalled: i/o timeout".to_owned())),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(broken(cause(&error))),
                Ok(Some(Ok(frame))) => {
                    // Trailers say nothing that we need.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// Resolves a `Location` against the address that it came from.
pub(crate) fn join(base: &Uri, target: &str) -> Option<Uri> {
    let target = target.split('#').next().unwrap_or(target);
    // A query may name another address.
    let path = target.split('?').next().unwrap_or(target);
    if path.contains("://") {
        return target.parse().ok();
    }
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    if let Some(rest) = target.strip_prefix("//") {
        return format!("{scheme}://{rest}").parse().ok();
    }
    let path = if target.starts_with('/') {
        target.to_owned()
    } else {
        let folder = base
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        format!("{folder}/{target}")
    };
    format!("{scheme}://{authority}{path}").parse().ok()
}

/// The innermost reason, in Go's words where Go has some.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut current = Some(error);
    let mut last = error.to_string();
    while let Some(error) = current {
        if let Some(dial) = error.downcast_ref::<DialError>() {
            return dial.to_string();
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            let io = innermost(io);
            if let Some(tls) = io.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
                return tls_text(tls);
            }
            last = wharf_sys::words::of(io);
        } else if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return tls_text(tls);
        } else if error
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_incomplete_message)
        {
            return "EOF".to_owned();
        } else {
            last = error.to_string();
        }
        current = error.source();
    }
    last
}

/// An error of the system's may be wrapped in another one, whose source it is not.
fn innermost(error: &std::io::Error) -> &std::io::Error {
    let mut inner = error;
    while let Some(next) = inner.get_ref().and_then(|one| one.downcast_ref()) {
        inner = next;
    }
    inner
}

fn tls_text(error: &rustls::Error) -> String {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidMessage(_) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(reason) => {
            format!("tls: failed to verify certificate: x509: {reason}")
        }
        other => format!("remote error: tls: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_locations() {
        let base: Uri = "https://a.lan/v2/x/blobs/y?z=1".parse().unwrap();
        let cases = [
            ("https://b.lan/q", "https://b.lan/q"),
            ("//b.lan/q", "https://b.lan/q"),
            ("/q?r=1", "https://a.lan/q?r=1"),
            ("/q?r=http://b.lan/", "https://a.lan/q?r=http://b.lan/"),
            ("q", "https://a.lan/v2/x/blobs/q"),
        ];
        for (target, whole) in cases {
            assert_eq!(join(&base, target).unwrap().to_string(), whole);
        }
    }
}
