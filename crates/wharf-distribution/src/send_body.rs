//! Request bodies that are read from a file while they are sent.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Bytes that are read and sent at a time.
const PIECE: usize = 128 * 1024;

/// The body of a request.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// Part of a file, from `offset` on.
#[derive(Clone)]
pub(crate) struct FileBody {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    /// Told how many bytes of the whole file are on their way.
    pub(crate) progress: Arc<dyn Fn(u64) + Send + Sync>,
}

/// The body, and how many bytes of it were handed to the connection.
pub(crate) fn stream(body: &FileBody) -> (RequestBody, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let (sender, receiver) = mpsc::channel(4);
    let (source, count) = (body.clone(), sent.clone());
    tokio::task::spawn_blocking(move || feed(&source, &count, &sender));
    let frames = stream::unfold(receiver, |mut receiver| async move {
        let piece: std::io::Result<Bytes> = receiver.recv().await?;
        Some((piece.map(Frame::data), receiver))
    });
    (StreamBody::new(frames).boxed_unsync(), sent)
}

fn feed(body: &FileBody, sent: &AtomicU64, sender: &mpsc::Sender<std::io::Result<Bytes>>) {
    let (mut at, end) = (body.offset, body.offset + body.size);
    while at < end {
        let mut piece = vec![0; PIECE.min(usize::try_from(end - at).unwrap_or(PIECE))];
        let read = body.file.read_exact_at(&mut piece, at);
        let failed = read.is_err();
        let length = piece.len() as u64;
        // A receiver that is gone is a connection that broke: whoever sent the request knows why.
        if sender
            .blocking_send(read.map(|()| Bytes::from(piece)))
            .is_err()
            || failed
        {
            return;
        }
        at += length;
        sent.store(at - body.offset, Ordering::Relaxed);
        (body.progress)(at);
    }
}
