//! TCP connections whose failures read like Go's, because users search the web for those texts.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Proxies;
use crate::config::host_of;

/// Why no connection could be made. `Display` is what Go's `net` package prints after the URL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// To the server itself.
    #[error("dial tcp{0}")]
    Direct(String),
    /// To a proxy, or through it.
    #[error("proxyconnect tcp: {0}")]
    Proxy(String),
}

/// Makes connections for the HTTP client: to the server, or to a proxy in front of it.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    pub(crate) timeout: Duration,
    pub(crate) proxies: Proxies,
}

/// A connection. By way of a proxy without a tunnel, requests name the whole address.
pub(crate) struct Stream {
    io: TokioIo<TcpStream>,
    by_proxy: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.by_proxy)
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, pieces)
    }
}

type Dialing = Pin<Box<dyn Future<Output = Result<Stream, DialError>> + Send>>;

impl tower::Service<Uri> for Dialer {
    type Response = Stream;
    type Error = DialError;
    type Future = Dialing;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Dialing {
        let mut direct = Direct(self.timeout);
        let Some(proxy) = self.proxies.of(&uri) else {
            return direct.call(uri);
        };
        let wrapped = |error: &dyn std::fmt::Display| DialError::Proxy(error.to_string());
        if uri.scheme_str() == Some("http") {
            let dialing = direct.call(proxy.uri);
            return Box::pin(async move {
                let stream = dialing.await.map_err(|error| wrapped(&error))?;
                Ok(Stream {
                    by_proxy: true,
                    ..stream
                })
            });
        }
        let mut tunnel = Tunnel::new(proxy.uri, direct);
        if let Some(auth) = proxy.auth {
            tunnel = tunnel.with_auth(auth);
        }
        let timeout = self.timeout;
        Box::pin(async move {
            match tokio::time::timeout(timeout, tunnel.call(uri)).await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => match std::error::Error::source(&error) {
                    Some(source) => Err(wrapped(&source)),
                    None => Err(wrapped(&error)),
                },
                Err(_) => Err(DialError::Proxy("i/o timeout".to_owned())),
            }
        })
    }
}

/// Connections to where an address says.
#[derive(Debug, Clone, Copy)]
struct Direct(Duration);

impl tower::Service<Uri> for Direct {
    type Response = Stream;
    type Error = DialError;
    type Future = Dialing;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Dialing {
        let timeout = self.0;
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
            let dialed = tokio::time::timeout(timeout, dial(&host, port)).await;
            let late = |_| Err(DialError::Direct(format!(": lookup {host}: i/o timeout")));
            let io = dialed.unwrap_or_else(late)?;
            Ok(Stream {
                io,
                by_proxy: false,
            })
        })
    }
}

async fn dial(host: &str, port: u16) -> Result<TokioIo<TcpStream>, DialError> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| DialError::Direct(format!(": lookup {host}: {}", lookup_text(&error))))?
        .collect();
    let mut last = DialError::Direct(format!(": lookup {host}: no such host"));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and answered at once.
                let _ = stream.set_nodelay(true);
                return Ok(TokioIo::new(stream));
            }
            Err(error) => {
                last = DialError::Direct(format!(
                    " {address}: connect: {}",
                    wharf_sys::words::of(&error)
                ))
            }
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
