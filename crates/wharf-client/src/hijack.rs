//! A connection that left HTTP behind: `Upgrade: tcp`.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Raw bytes in both directions. Shutting the write half down ends the container's standard input
/// and leaves the output open.
pub struct Hijacked {
    io: TokioIo<hyper::upgrade::Upgraded>,
    /// True for Docker's 8-byte-framed stdout/stderr, false for the raw bytes of a terminal. Taken from the
    /// answer's `Content-Type`; a daemon that does not say is trusted to have done what `tty` asks for.
    pub multiplexed: Option<bool>,
}

impl Hijacked {
    pub(crate) fn new(upgraded: hyper::upgrade::Upgraded, content_type: &str) -> Hijacked {
        let multiplexed = match content_type {
            "application/vnd.docker.multiplexed-stream" => Some(true),
            _ => None,
        };
        Hijacked {
            io: TokioIo::new(upgraded),
            multiplexed,
        }
    }
}

impl AsyncRead for Hijacked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Hijacked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
