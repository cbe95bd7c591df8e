//! Request bodies that are read from a file while they are sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::task::JoinHandle;

/// Bytes that are read and sent at a time.
const PIECE: usize = 128 * 1024;

/// The body of a request.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

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
    let reader = Reader::new(body.clone(), sent.clone());
    let frames = stream::try_unfold(reader, Reader::next);
    (StreamBody::new(frames).boxed_unsync(), sent)
}

/// Reads a file, a piece ahead of the connection. A thread is only needed while the disk is: a registry that takes its time
/// holds none.
struct Reader {
    body: FileBody,
    sent: Arc<AtomicU64>,
    /// Where the piece begins that is read ahead.
    at: u64,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Reader {
    fn new(body: FileBody, sent: Arc<AtomicU64>) -> Self {
        let at = body.offset;
        let ahead = read(&body, at);
        Self {
            body,
            sent,
            at,
            ahead,
        }
    }

    async fn next(mut self) -> io::Result<Option<(Frame<Bytes>, Self)>> {
        let Some(ahead) = self.ahead.take() else {
            return Ok(None);
        };
        let piece = ahead.await.map_err(io::Error::other)??;
        self.at += piece.len() as u64;
        self.ahead = read(&self.body, self.at);
        self.sent
            .store(self.at - self.body.offset, Ordering::Relaxed);
        (self.body.progress)(self.at);
        Ok(Some((Frame::data(piece), self)))
    }
}

/// Begins to read the piece at `at`; nothing at the end.
fn read(body: &FileBody, at: u64) -> Option<JoinHandle<io::Result<Bytes>>> {
    let left = (body.offset + body.size).checked_sub(at);
    let left = left.filter(|left| *left > 0)?;
    let length = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
    let file = body.file.clone();
    let work = move || {
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, at)?;
        Ok(Bytes::from(piece))
    };
    Some(tokio::task::spawn_blocking(work))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn body(bytes: &[u8], offset: u64, size: u64) -> FileBody {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        FileBody {
            file: Arc::new(file),
            offset,
            size,
            progress: Arc::new(|_| {}),
        }
    }

    #[test]
    fn a_registry_that_takes_its_time_holds_no_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let bytes: Vec<u8> = (0..PIECE * 7).map(|at| (at % 251) as u8).collect();
            let part = body(&bytes, 3, bytes.len() as u64 - 3);
            let (slow, _) = stream(&part);
            let (body, sent) = stream(&part);
            let taken = body.collect().await.unwrap().to_bytes();
            assert_eq!(taken, bytes[3..]);
            assert_eq!(sent.load(Ordering::Relaxed), part.size);
            drop(slow);
        });
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_no_end() {
        let (body, _) = stream(&body(b"short", 0, 9));
        let error = body.collect().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
