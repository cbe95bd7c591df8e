//! Connections to a daemon, and the calls made over them.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};

use crate::body::full;
use crate::{Body, BodyStream, Endpoint, Error, Hijacked, Result, Url};

/// The newest version of the API that this client was written for.
pub const API_VERSION: &str = "1.51";

/// A client of one daemon. Cheap to make: nothing is connected before the first call. Must be used inside a
/// tokio runtime.
pub struct Client {
    endpoint: Endpoint,
    headers: Vec<(String, String)>,
    tls: Option<Arc<rustls::ClientConfig>>,
    idle: Mutex<Vec<SendRequest<Body>>>,
    version: Mutex<Version>,
}

/// The version of the API that is spoken.
struct Version {
    /// `1.51`
    number: String,
    /// The daemon took it, or the user wants no other.
    is_settled: bool,
}

impl Client {
    /// A client of the daemon at `endpoint`.
    pub fn new(endpoint: Endpoint) -> Client {
        Client {
            endpoint,
            headers: Vec::new(),
            tls: None,
            idle: Mutex::new(Vec::new()),
            version: Mutex::new(Version {
                number: API_VERSION.to_owned(),
                is_settled: false,
            }),
        }
    }

    /// Speaks this version of the API and no other (`DOCKER_API_VERSION`).
    #[must_use]
    pub fn with_version(mut self, number: &str) -> Client {
        self.version = Mutex::new(Version {
            number: number.to_owned(),
            is_settled: true,
        });
        self
    }

    /// The version of the API that is spoken: ours, until a daemon has said that it is older.
    pub fn api_version(&self) -> String {
        self.version().number.clone()
    }

    /// Sends these headers with each request (`HttpHeaders` of Docker's config.json).
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(String, String)>) -> Client {
        self.headers = headers;
        self
    }

    /// Speaks TLS over TCP.
    ///
    /// # Errors
    /// If one of the files cannot be used.
    pub fn with_tls(mut self, tls: &crate::Tls) -> Result<Client> {
        self.tls = Some(Arc::new(tls.config()?));
        Ok(self)
    }

    /// The address this client talks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects now, so that the first call finds a connection; says whether a daemon listens.
    pub async fn connect(&self) -> Result<()> {
        let sender = self.dial().await?;
        self.keep(sender);
        Ok(())
    }

    /// A call whose answer is a JSON document. `body` is `None` for a request without one.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<&impl Serialize>,
    ) -> Result<T> {
        let bytes = self.bytes(method, url, body).await?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Decode { source })
    }

    /// `GET` of a JSON document.
    pub async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T> {
        self.json(Method::GET, url, NO_BODY).await
    }

    /// A call whose answer's body is taken as it is (empty for most).
    pub async fn bytes(
        &self,
        method: Method,
        url: Url,
        body: Option<&impl Serialize>,
    ) -> Result<bytes::Bytes> {
        let request = || self.request(method.clone(), &url, body);
        let (response, sender) = self.call(request).await?;
        let bytes = BodyStream::new(response.into_body(), String::new())
            .collect()
            .await?;
        self.keep(sender);
        Ok(bytes)
    }

    /// A `POST` without a body whose answer does not matter.
    pub async fn post(&self, url: Url) -> Result<()> {
        self.bytes(Method::POST, url, NO_BODY).await.map(drop)
    }

    /// A call whose answer is read as it arrives. Its connection is not used again.
    pub async fn stream(
        &self,
        method: Method,
        url: Url,
        body: Option<&impl Serialize>,
    ) -> Result<BodyStream> {
        let request = || self.request(method.clone(), &url, body);
        self.send_stream(request).await
    }

    /// [`Client::stream`] with extra request headers, such as `X-Registry-Auth`.
    pub async fn stream_with_headers(
        &self,
        method: Method,
        url: Url,
        headers: &[(&'static str, String)],
    ) -> Result<BodyStream> {
        let request = || {
            let mut request = self.request(method.clone(), &url, NO_BODY)?;
            for (name, value) in headers {
                let value = http::HeaderValue::from_str(value).map_err(http::Error::from)?;
                request.headers_mut().insert(*name, value);
            }
            Ok(request)
        };
        self.send_stream(request).await
    }

    /// A `POST` that sends `body` while the answer is awaited (`load`).
    pub async fn upload(&self, url: Url, content_type: &str, body: Body) -> Result<BodyStream> {
        self.upload_with_headers(url, content_type, body, &[]).await
    }

    /// As [`Client::upload`], with headers of its own (`build`).
    pub async fn upload_with_headers(
        &self,
        url: Url,
        content_type: &str,
        body: Body,
        headers: &[(&'static str, String)],
    ) -> Result<BodyStream> {
        self.settle().await?;
        let mut request = self
            .builder(Method::POST, &url)
            .header(CONTENT_TYPE, content_type);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let (response, _) = self.send(request.body(body)?).await?;
        Ok(stream_of(response))
    }

    /// A `PUT` that sends `body` while the answer is awaited; the answer does not matter.
    pub async fn put(&self, url: Url, content_type: &str, body: Body) -> Result<()> {
        self.settle().await?;
        let request = self
            .builder(Method::PUT, &url)
            .header(CONTENT_TYPE, content_type)
            .body(body)?;
        self.send(request).await.map(drop)
    }

    /// The value of one header of the answer to a `HEAD`.
    pub async fn head(&self, url: Url, header: &str) -> Result<Option<String>> {
        self.settle().await?;
        let request = || self.request(Method::HEAD, &url, NO_BODY);
        let (response, sender) = self.call(request).await?;
        let value = value_of(&response, header);
        self.keep(sender);
        Ok(value)
    }

    /// A `GET` whose answer is read as it arrives, and one of its headers.
    pub async fn get_with_header(
        &self,
        url: Url,
        header: &str,
    ) -> Result<(Option<String>, BodyStream)> {
        let request = || self.request(Method::GET, &url, NO_BODY);
        let (response, _) = self.call(request).await?;
        let value = value_of(&response, header);
        Ok((value, stream_of(response)))
    }

    /// A `POST` that turns its connection into a raw stream: `101 UPGRADED`, or `200` as before API 1.24.
    pub async fn hijack(&self, url: Url, body: Option<&impl Serialize>) -> Result<Hijacked> {
        let request = || {
            let mut request = self.request(Method::POST, &url, body)?;
            let headers = request.headers_mut();
            headers.insert(CONNECTION, http::HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, http::HeaderValue::from_static("tcp"));
            Ok(request)
        };
        let (response, _sender) = self.call(request).await?;
        let kind = content_type(&response);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let message = "the daemon did not switch protocols".to_owned();
            return Err(Error::Api {
                status: response.status().as_u16(),
                message,
            });
        }
        Ok(Hijacked::new(hyper::upgrade::on(response).await?, &kind))
    }

    /// A session (`POST /session`) that the daemon asks things of, on a connection that goes on as HTTP/2; `None` if its builds without
    /// BuildKit ask none.
    pub async fn session(&self, headers: &[(&'static str, String)]) -> Result<Option<Hijacked>> {
        let url = Url::new(["session"]);
        let request = || {
            let mut request = self.request(Method::POST, &url, NO_BODY)?;
            let own = request.headers_mut();
            own.insert(CONNECTION, http::HeaderValue::from_static("Upgrade"));
            own.insert(UPGRADE, http::HeaderValue::from_static("h2c"));
            for (name, value) in headers {
                if let Ok(value) = http::HeaderValue::from_str(value) {
                    own.insert(*name, value);
                }
            }
            Ok(request)
        };
        let (response, _sender) = match self.call(request).await {
            Err(Error::Api { .. }) => return Ok(None),
            called => called?,
        };
        let is_ours = response.headers().contains_key("wharf-session");
        if !is_ours || response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(None);
        }
        Ok(Some(Hijacked::new(hyper::upgrade::on(response).await?, "")))
    }

    async fn send_stream(&self, request: impl Fn() -> Result<Request<Body>>) -> Result<BodyStream> {
        let (response, _) = self.call(request).await?;
        Ok(stream_of(response))
    }

    /// Sends a request that can be made again: once more in the daemon's version if it is older than ours. That saves
    /// the `_ping` that Docker's client begins with.
    async fn call(
        &self,
        request: impl Fn() -> Result<Request<Body>>,
    ) -> Result<(Response<Incoming>, SendRequest<Body>)> {
        match self.send(request()?).await {
            Err(error) if self.became_older(&error) => self.send(request()?).await,
            sent => sent,
        }
    }

    async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, SendRequest<Body>)> {
        let mut sender = self.take().await?;
        let response = succeed(sender.send_request(request).await?).await?;
        self.version().is_settled = true;
        Ok((response, sender))
    }

    fn version(&self) -> MutexGuard<'_, Version> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the version that a daemon names that knows ours not yet; says whether that is another one.
    fn became_older(&self, error: &Error) -> bool {
        const NEWEST: &str = "Maximum supported API version is ";
        let Error::Api {
            status: 400,
            message,
        } = error
        else {
            return false;
        };
        let Some((_, rest)) = message.split_once(NEWEST) else {
            return false;
        };
        let known = |letter: char| letter.is_ascii_digit() || letter == '.';
        let number: String = rest.chars().take_while(|letter| known(*letter)).collect();
        let mut version = self.version();
        if version.is_settled || number.is_empty() || number == version.number {
            return false;
        }
        version.number = number;
        true
    }

    /// Before a request that cannot be sent twice, as its body is read while it is sent, or whose refusal has no text.
    async fn settle(&self) -> Result<()> {
        if self.version().is_settled {
            return Ok(());
        }
        let ping = || self.request(Method::GET, &Url::new(["_ping"]), NO_BODY);
        let (response, sender) = self.call(ping).await?;
        stream_of(response).collect().await?;
        self.keep(sender);
        Ok(())
    }

    fn builder(&self, method: Method, url: &Url) -> http::request::Builder {
        // Docker's clients send the host of the address, or this word over a Unix socket.
        let host = match &self.endpoint {
            Endpoint::Unix(_) | Endpoint::Ssh(_) => "api.moby.localhost",
            Endpoint::Tcp { address, .. } => address.as_str(),
        };
        let base = match &self.endpoint {
            Endpoint::Tcp { base, .. } => base.as_str(),
            Endpoint::Unix(_) | Endpoint::Ssh(_) => "",
        };
        let version = self.version().number.clone();
        let mut builder = Request::builder()
            .method(method)
            .uri(format!("{base}/v{version}{}", url.as_str()))
            .header(HOST, host);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        builder.header(
            USER_AGENT,
            concat!("Wharf-Client/", env!("CARGO_PKG_VERSION"), " (linux)"),
        )
    }

    fn request(
        &self,
        method: Method,
        url: &Url,
        body: Option<&impl Serialize>,
    ) -> Result<Request<Body>> {
        let builder = self.builder(method, url);
        let Some(body) = body else {
            return Ok(builder.body(full(bytes::Bytes::new()))?);
        };
        let json = serde_json::to_vec(body).map_err(|source| Error::Decode { source })?;
        Ok(builder
            .header(CONTENT_TYPE, "application/json")
            .body(full(json))?)
    }

    async fn take(&self) -> Result<SendRequest<Body>> {
        loop {
            let kept = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let Some(mut sender) = kept else {
                return self.dial().await;
            };
            // A kept connection that the daemon closed meanwhile is dropped, and the next one tried.
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
    }

    fn keep(&self, sender: SendRequest<Body>) {
        if !sender.is_closed() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(sender);
        }
    }

    async fn dial(&self) -> Result<SendRequest<Body>> {
        let failed = |source: std::io::Error| match source.kind() {
            ErrorKind::PermissionDenied => Error::Forbidden {
                endpoint: self.endpoint.clone(),
            },
            _ => Error::Connect {
                endpoint: self.endpoint.clone(),
                source,
            },
        };
        match &self.endpoint {
            Endpoint::Unix(path) => {
                handshake(UnixStream::connect(path).await.map_err(failed)?).await
            }
            Endpoint::Ssh(host) => handshake(crate::ssh::connect(host).map_err(failed)?).await,
            Endpoint::Tcp { address, .. } => {
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                stream.set_nodelay(true)?;
                match &self.tls {
                    None => handshake(stream).await,
                    Some(config) => handshake(secure(config, address, stream).await?).await,
                }
            }
        }
    }
}

/// TLS over `stream`, with who is at `address`.
async fn secure(
    config: &Arc<rustls::ClientConfig>,
    address: &str,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let failed = |error: &dyn std::fmt::Display| {
        Error::Tls(format!(
            "error during connect: https://{address}: tls: {error}"
        ))
    };
    let name = rustls::pki_types::ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| failed(&error))?;
    let connector = tokio_rustls::TlsConnector::from(config.clone());
    let connected = connector.connect(name, stream).await;
    connected.map_err(|error| failed(&error))
}

/// What to pass as the body of a request that has none.
pub(crate) const NO_BODY: Option<&()> = None;

async fn handshake<S>(stream: S) -> Result<SendRequest<Body>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // An error of the connection reaches the caller through the sender.
    tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

fn value_of(response: &Response<Incoming>, header: &str) -> Option<String> {
    let value = response.headers().get(header)?;
    value.to_str().ok().map(str::to_owned)
}

fn stream_of(response: Response<Incoming>) -> BodyStream {
    let kind = content_type(&response);
    BodyStream::new(response.into_body(), kind)
}

fn content_type(response: &Response<Incoming>) -> String {
    let value = response.headers().get(CONTENT_TYPE);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

// An answer of 400 or more becomes an error with the daemon's `message`, or its text when it is no JSON.
async fn succeed(response: Response<Incoming>) -> Result<Response<Incoming>> {
    let status = response.status();
    if status.as_u16() < 400 {
        return Ok(response);
    }
    let bytes = BodyStream::new(response.into_body(), String::new())
        .collect()
        .await?;
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    let message = match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(refusal) => refusal.message.trim().to_owned(),
        Err(_) if bytes.is_empty() => {
            format!("request returned {status} without an explanation")
        }
        Err(_) => String::from_utf8_lossy(&bytes).trim().to_owned(),
    };
    Err(Error::Api {
        status: status.as_u16(),
        message,
    })
}
