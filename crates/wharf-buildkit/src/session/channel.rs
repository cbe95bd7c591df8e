//! gRPC to a client, on a connection that the client has opened.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;

/// What may be on its way to us, of one stream and of all.
const STREAM_WINDOW: u32 = 2 << 20;
const WINDOW: u32 = 16 << 20;
/// Bytes of what is on its way that come in one piece.
const FRAME: u32 = 1 << 20;

/// A way to call the client. Clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Channel(SendRequest<Body>);

impl Channel {
    /// Opens HTTP/2 over `stream`, and gives what drives it until its end.
    ///
    /// # Errors
    /// If the other end does not speak it.
    pub(crate) async fn open<S>(
        stream: S,
    ) -> Result<(Self, BoxFuture<'static, Result<(), hyper::Error>>), hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_frame_size(FRAME)
            .max_header_list_size(64 << 10);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        Ok((Self(sender), Box::pin(connection)))
    }
}

impl tower::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, hyper::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
