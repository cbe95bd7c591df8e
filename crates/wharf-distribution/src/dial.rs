//! TCP connections whose failures read like Go's, because users search the web for those texts.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::host_of;

/// Why no connection could be made. `Display` is what Go's `net` package prints after the URL.
#[derive(Debug, thiserror::Error)]
#[error("dial tcp{0}")]
pub(crate) struct DialError(String);

/// Makes TCP connections for the HTTP client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialer {
    pub(crate) timeout: Duration,
}

impl tower::Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let timeout = self.timeout;
        Box::pin(async move {
            let authority = uri.authority().map_or("", |a| a.as_str()).to_owned();
            let port = uri
                .port_u16()
                .unwrap_or(if uri.scheme_str() == Some("http") {
                    80
                } else {
                    443
                });
            let host = host_of(&authority).trim_matches(['[', ']']).to_owned();
            tokio::time::timeout(timeout, dial(&host, port))
                .await
                .unwrap_or_else(|_| Err(DialError(format!(": lookup {host}: i/o timeout"))))
        })
    }
}

async fn dial(host: &str, port: u16) -> Result<TokioIo<TcpStream>, DialError> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| DialError(format!(": lookup {host}: {}", lookup_text(&error))))?
        .collect();
    let mut last = DialError(format!(": lookup {host}: no such host"));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and answered at once.
                let _ = stream.set_nodelay(true);
                return Ok(TokioIo::new(stream));
            }
            Err(error) => last = DialError(format!(" {address}: connect: {}", os_text(&error))),
        }
    }
    Err(last)
}

/// Rust wraps getaddrinfo's text; Go says "no such host" for an unknown name.
fn lookup_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(&text);
    match text {
        "Name or service not known" | "No address associated with hostname" => {
            "no such host".to_owned()
        }
        other => other.to_owned(),
    }
}

/// "Connection refused (os error 111)" → "connection refused".
pub(crate) fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}
