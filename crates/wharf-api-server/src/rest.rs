//! What is left of a request when its answer is ready.
//!
//! A client may say all of its request before it listens. If the connection is closed under it, it
//! reports a broken pipe instead of the answer. As Go's `net/http`, the server therefore reads what is
//! left of a body, up to a limit, before the answer goes out.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, SizeHint};

/// The most that is read of a body that nobody wants: `maxPostHandlerReadBytes` of `net/http`.
const MOST: usize = 256 << 10;

/// How long a body may take that nobody wants.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a request's body comes to lie when its reader is done with it.
#[derive(Clone, Default)]
pub(crate) struct Rest(Arc<Mutex<Option<Body>>>);

impl Rest {
    /// `body`, to be read by a handler, and to be finished by [`Rest::drain`].
    pub(crate) fn lend(&self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Lent {
            body,
            back: self.clone(),
        })
    }

    /// Reads what the handler has left, if it comes soon. A body that is still being read is let be.
    pub(crate) async fn drain(self) {
        // A client that says nothing more, and does not end either, waits for the answer.
        let _ = tokio::time::timeout(PATIENCE, self.read()).await;
    }

    /// The same for a body whose length was told, as its client sends it whatever the answer is: what comes after the answer has begun
    /// would cost the connection (docker-py's `push` says `{}` in a packet of its own).
    pub(crate) async fn drain_announced(self) {
        let most = u64::try_from(MOST).unwrap_or(u64::MAX);
        if self.announced().is_some_and(|length| length <= most) {
            self.drain().await;
        }
    }

    /// How much is left, if that was told.
    fn announced(&self) -> Option<u64> {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.as_ref()?.size_hint().exact()
    }

    async fn read(self) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else { return };
        let mut read = 0;
        while read < MOST {
            let Some(Ok(frame)) = body.frame().await else {
                return;
            };
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    }
}

struct Lent {
    body: Body,
    back: Rest,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            let body = std::mem::take(&mut self.body);
            let mut slot = self.back.0.lock().unwrap_or_else(PoisonError::into_inner);
            *slot = Some(body);
        }
    }
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
