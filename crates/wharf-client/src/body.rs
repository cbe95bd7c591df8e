//! Request and answer bodies.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, ReadBuf};

use crate::{Error, Result};

/// A request body.
pub type Body = BoxBody<Bytes, std::io::Error>;

/// A body that is in memory.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A body that is read as it is sent, in chunks (`load`).
pub fn upload<R: AsyncRead + Send + Sync + Unpin + 'static>(reader: R) -> Body {
    BodyExt::boxed(Upload {
        reader,
        buffer: vec![0; 64 * 1024],
    })
}

struct Upload<R> {
    reader: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> hyper::body::Body for Upload<R> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let mut space = ReadBuf::new(&mut this.buffer);
        match Pin::new(&mut this.reader).poll_read(cx, &mut space) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Ok(())) if space.filled().is_empty() => Poll::Ready(None),
            Poll::Ready(Ok(())) => Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(
                space.filled(),
            ))))),
        }
    }
}

/// An answer that arrives piece by piece.
pub struct BodyStream {
    incoming: Incoming,
    pending: BytesMut,
    content_type: String,
}

impl BodyStream {
    pub(crate) fn new(incoming: Incoming, content_type: String) -> BodyStream {
        BodyStream {
            incoming,
            pending: BytesMut::new(),
            content_type,
        }
    }

    /// The answer's `Content-Type`, empty when there is none.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The next bytes as they came, `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if !self.pending.is_empty() {
            return Ok(Some(self.pending.split().freeze()));
        }
        self.receive().await
    }

    /// The next JSON document of a stream of them, `None` at the end.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(found) = self.take_document()? {
                return Ok(Some(found));
            }
            match self.receive().await? {
                Some(bytes) => self.pending.extend_from_slice(&bytes),
                None => return self.take_last(),
            }
        }
    }

    /// Reads all that is left.
    pub async fn collect(mut self) -> Result<Bytes> {
        let mut all = std::mem::take(&mut self.pending);
        while let Some(bytes) = self.receive().await? {
            if all.is_empty() && self.incoming_ended() {
                return Ok(bytes);
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    fn incoming_ended(&self) -> bool {
        hyper::body::Body::is_end_stream(&self.incoming)
    }

    async fn receive(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.incoming.frame().await {
            if let Ok(data) = frame?.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    // Documents are separated by line ends, but dockerd also sends them back to back, so the parser decides.
    fn take_document<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let (found, used) = {
            let mut documents =
                serde_json::Deserializer::from_slice(&self.pending).into_iter::<T>();
            let found = documents.next();
            (found, documents.byte_offset())
        };
        match found {
            Some(Ok(document)) => {
                let _ = self.pending.split_to(used);
                Ok(Some(document))
            }
            Some(Err(error)) if error.is_eof() => Ok(None),
            Some(Err(source)) => Err(Error::Decode { source }),
            None => {
                self.pending.clear();
                Ok(None)
            }
        }
    }

    fn take_last<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        match self.take_document()? {
            None if !self.pending.is_empty() => Err(Error::Io(std::io::Error::from(
                std::io::ErrorKind::UnexpectedEof,
            ))),
            found => Ok(found),
        }
    }
}
