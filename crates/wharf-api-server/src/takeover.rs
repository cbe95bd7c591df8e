//! Streams for clients that do not ask to upgrade: a `200` after which the connection is raw.
//!
//! The oldest way to attach: `POST …/attach` or `…/exec/{id}/start` without `Upgrade`, answered by dockerd with
//! `200 OK`, after which either side writes what it likes. hyper gives a connection away for `101` alone. So
//! each request of a connection is looked at before hyper reads it: one of that kind is made to ask for
//! an upgrade, and the head of the `101` becomes that of a `200` on its way out. Any other request passes
//! untouched. Where a later request begins is told by who answers ([`Turn`]); one that was sent before the answer to that
//! before it is not looked at, and gets what it asks for as a body.
//!
//! The line of each request is mended as well: curl sends `?filters={"label":["a"]}` as it was typed, systeminformation
//! `http:/info`; Go's server takes both, and hyper would refuse them without a word.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::target;

/// The longest head that is looked at.
const MOST: usize = 16 << 10;
/// The longest line of a request that is looked at: hyper takes no longer target.
const LONGEST_LINE: usize = 64 << 10;
/// The longest head: `DefaultMaxHeaderBytes` of `net/http`.
pub(crate) const LONGEST_HEAD: usize = 1 << 20;
/// As many headers has a head that hyper reads without further ado.
const FEW: usize = 100;
const END: &[u8] = b"\r\n\r\n";
const UPGRADED: &[u8] = b"HTTP/1.1 101 ";
const RAW: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n";

/// Whose turn it is on a connection: what comes next is a part of a request, the beginning of one, or nothing of HTTP/1.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn(Arc<AtomicU8>);

/// Values of a [`Turn`].
const WITHIN: u8 = 0;
const BETWEEN: u8 = 1;
const OTHERWISE: u8 = 2;

impl Turn {
    /// An answer has been given: another request may begin.
    pub(crate) fn answered(&self) {
        // What is no HTTP/1 any more does not become it again.
        let _ = self
            .0
            .compare_exchange(WITHIN, BETWEEN, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The connection does not go on with requests of HTTP/1.
    pub(crate) fn leave(&self) {
        self.0.store(OTHERWISE, Ordering::SeqCst);
    }

    fn is_between(&self) -> bool {
        self.0.load(Ordering::SeqCst) == BETWEEN
    }

    /// A request is being answered: what is read from now on is of it.
    pub(crate) fn begun(&self) {
        let _ = self
            .0
            .compare_exchange(BETWEEN, WITHIN, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// A connection, its requests perhaps rewritten.
pub(crate) struct Connection<S> {
    stream: S,
    turn: Turn,
    /// What was read of a request and hyper has not read.
    front: Vec<u8>,
    read: usize,
    /// What is known of the beginning of a further request.
    next: Vec<u8>,
    head: Head,
    has_long_head: bool,
}

/// What becomes of the next bytes that are written.
enum Head {
    /// They pass.
    Pass,
    /// They are the head of an answer, of which this much is known.
    Wait(Vec<u8>),
    /// This goes out first.
    Flush(Vec<u8>, usize),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Reads the head of the first request on `stream`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) async fn open(mut stream: S) -> io::Result<Self> {
        let mut front = Vec::with_capacity(1024);
        while is_open(&front) && stream.read_buf(&mut front).await? > 0 {}
        let head = match ask_for_stream(&mut front) {
            true => Head::Wait(Vec::new()),
            false => Head::Pass,
        };
        target::mend(&mut front);
        let mut looked = 0;
        while is_head_open(&front, looked) {
            looked = front.len();
            if stream.read_buf(&mut front).await? == 0 {
                break;
            }
        }
        let has_long_head = is_long(&front);
        let turn = Turn::default();
        if front.starts_with(b"PRI ") {
            turn.leave();
        }
        Ok(Self {
            turn,
            has_long_head,
            stream,
            front,
            read: 0,
            next: Vec::new(),
            head,
        })
    }

    /// To be told when a request has been answered.
    pub(crate) fn turn(&self) -> Turn {
        self.turn.clone()
    }

    /// Whether the first request has more headers than few have: to be ready for that costs each request of a connection.
    pub(crate) fn has_long_head(&self) -> bool {
        self.has_long_head
    }

    #[cfg(test)]
    pub(crate) fn is_raw(&self) -> bool {
        !matches!(self.head, Head::Pass)
    }
}

/// Whether more of a request has to be known before it is mended: its line, or its head if it may be one for a stream.
fn is_open(front: &[u8]) -> bool {
    front.is_empty() || is_attach_open(front) || is_line_open(front)
}

fn is_attach_open(front: &[u8]) -> bool {
    could_attach(front) && front.len() < MOST && find(front, END).is_none()
}

/// Makes a request for a stream, if this is the beginning of one, ask for an upgrade; whether it is one.
fn ask_for_stream(front: &mut Vec<u8>) -> bool {
    let end = could_attach(front).then(|| find(front, END)).flatten();
    let Some(end) = end else { return false };
    let Some(asking) = ask_to_upgrade(&front[..end]) else {
        return false;
    };
    front.splice(..end, asking);
    true
}

/// Whether this is a part of a request's line, and not the beginning of HTTP/2.
fn is_line_open(front: &[u8]) -> bool {
    let is_text = front.first().is_some_and(u8::is_ascii_alphabetic);
    is_text && !front.starts_with(b"PRI ") && !front.contains(&b'\n') && front.len() < LONGEST_LINE
}

/// Whether this is a part of a request's head, of which `looked` bytes were looked at before.
fn is_head_open(front: &[u8], looked: usize) -> bool {
    let is_text = front.first().is_some_and(u8::is_ascii_alphabetic);
    is_text && front.len() < LONGEST_HEAD && head_end(front, looked.saturating_sub(2)).is_none()
}

/// Where the blank line is, from there on; hyper takes lines without a carriage return, too.
fn head_end(front: &[u8], from: usize) -> Option<usize> {
    let breaks = (from..front.len()).filter(|at| front[*at] == b'\n');
    let mut ends = breaks
        .filter(|at| front[at + 1..].starts_with(b"\n") || front[at + 1..].starts_with(b"\r\n"));
    ends.next()
}

fn is_long(front: &[u8]) -> bool {
    let head = &front[..head_end(front, 0).unwrap_or(front.len())];
    head.iter().filter(|byte| **byte == b'\n').count() > FEW || head.len() > LONGEST_LINE
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Whether what begins like this may still be such a request: few connections are held up for a second read.
fn could_attach(front: &[u8]) -> bool {
    let line = front.split(|byte| *byte == b'\r').next().unwrap_or(front);
    let method = b"POST ";
    if line.len() < method.len() {
        return method.starts_with(line);
    }
    if !line.starts_with(method) {
        return false;
    }
    // The request's line is whole: is it the path of a stream?
    if line.len() == front.len() {
        return true;
    }
    let path = line[method.len()..].split(|byte| matches!(byte, b' ' | b'?'));
    path.clone().next().is_some_and(|path| {
        path.ends_with(b"/attach") || (path.ends_with(b"/start") && find(path, b"/exec/").is_some())
    })
}

/// The head of a request (without its last line end) that asks for an upgrade; none if this one does so itself.
fn ask_to_upgrade(head: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(head).ok()?;
    let (line, headers) = text.split_once("\r\n")?;
    let named = |header: &str, name: &str| {
        header
            .split_once(':')
            .is_some_and(|(key, _)| key.trim().eq_ignore_ascii_case(name))
    };
    let headers = headers.split("\r\n");
    if headers.clone().any(|header| named(header, "upgrade")) {
        return None;
    }
    // A body without a known length has no end at which the stream could begin.
    if headers
        .clone()
        .any(|header| named(header, "transfer-encoding"))
    {
        return None;
    }
    // There are no upgrades before 1.1, and connections end with their first answer.
    let (line, end) = match line.strip_suffix("HTTP/1.0") {
        Some(line) => (format!("{line}HTTP/1.1"), "Connection: close\r\n"),
        None => (line.to_owned(), ""),
    };
    let kept: Vec<_> = headers.collect();
    let kept = kept.join("\r\n");
    // What the client says of the connection stands: it holds for an answer that is no stream.
    let asked = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    Some(format!("{line}\r\n{asked}{end}{kept}").into_bytes())
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read < this.front.len() {
            let left = &this.front[this.read..];
            let count = left.len().min(buffer.remaining());
            buffer.put_slice(&left[..count]);
            this.read += count;
            if this.read == this.front.len() {
                this.front = Vec::new();
                this.read = 0;
            }
            return Poll::Ready(Ok(()));
        }
        if !this.turn.is_between() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        ready!(this.poll_next(context))?;
        Pin::new(this).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + Unpin> Connection<S> {
    /// Reads the beginning of a further request, and what comes with it; less than that at the end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut piece = [0; 4096];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
            self.next.extend_from_slice(piece.filled());
            if piece.filled().is_empty() || !is_open(&self.next) {
                break;
            }
        }
        // The answer to the request before has gone out, or its client did not wait for it.
        if matches!(self.head, Head::Pass) && ask_for_stream(&mut self.next) {
            self.head = Head::Wait(Vec::new());
        }
        target::mend(&mut self.next);
        self.front = std::mem::take(&mut self.next);
        self.turn.begun();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Connection<S> {
    /// Writes what stands before the next bytes.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Head::Flush(bytes, written) = &mut self.head {
            if *written == bytes.len() {
                self.head = Head::Pass;
                break;
            }
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &bytes[*written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += count;
        }
        Poll::Ready(Ok(()))
    }
}

/// What goes out for an answer of which this much is known; none while its head has no end.
fn raw_head(known: &[u8]) -> Option<Vec<u8>> {
    let upgraded = known.starts_with(UPGRADED);
    if !upgraded && (known.len() >= UPGRADED.len() || !UPGRADED.starts_with(known)) {
        return Some(known.to_vec());
    }
    let end = find(known, END)? + END.len();
    Some([RAW, &known[end..]].concat())
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_head(context))?;
        if let Head::Wait(known) = &mut this.head {
            known.extend_from_slice(bytes);
            if let Some(out) = raw_head(known) {
                this.head = Head::Flush(out, 0);
                // What does not go out now goes with the next call.
                if let Poll::Ready(Err(error)) = this.poll_head(context) {
                    return Poll::Ready(Err(error));
                }
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_head(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_head(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    async fn opened(parts: &[&str]) -> (Connection<tokio::io::DuplexStream>, String) {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        let write = tokio::spawn(async move {
            for part in parts {
                theirs.write_all(part.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
            theirs.shutdown().await.unwrap();
            theirs
        });
        let mut connection = Connection::open(ours).await.unwrap();
        let mut read = String::new();
        connection.read_to_string(&mut read).await.unwrap();
        drop(write.await.unwrap());
        (connection, read)
    }

    #[tokio::test]
    async fn a_stream_without_upgrade_is_told_from_the_rest() {
        let (raw, read) = opened(&[
            "POST /v1.30/containers/a/attach?x=1 HTTP/1.0\r\nHo",
            "st: x\r\n\r\nearly",
        ])
        .await;
        assert!(raw.is_raw());
        let line = "POST /v1.30/containers/a/attach?x=1 HTTP/1.1\r\n";
        assert_eq!(
            read,
            format!(
                "{line}Connection: Upgrade\r\nUpgrade: tcp\r\nConnection: close\r\nHost: x\r\n\r\nearly"
            )
        );
        for other in [
            "GET /info HTTP/1.1\r\n\r\n",
            "POST /containers/a/start HTTP/1.1\r\n\r\n",
            "POST /exec/a/start HTTP/1.1\r\nupgrade: tcp\r\n\r\n",
            "POST /exec/a/start HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "PO",
        ] {
            let (connection, read) = opened(&[other]).await;
            assert!(!connection.is_raw() && read == other, "{other}");
        }
    }

    #[tokio::test]
    async fn a_target_may_come_in_pieces() {
        let (head, tail) = ("GET /containers/json?filters={", "\"a\"} HTTP/1.1\r\n\r\n");
        let (connection, read) = opened(&[head, tail]).await;
        assert!(!connection.is_raw());
        assert_eq!(
            read,
            "GET /containers/json?filters={%22a%22} HTTP/1.1\r\n\r\n"
        );
        let long = format!("GET /?{} HTTP/1.1\r\n\r\n", "\"".repeat(5000));
        let (_, read) = opened(&[long.as_str()]).await;
        assert_eq!(read.matches("%22").count(), 5000);
    }

    #[tokio::test]
    async fn a_later_request_is_mended_too() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        theirs.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
        let mut connection = Connection::open(ours).await.unwrap();
        let mut read = [0; 200];
        let mut next = async |connection: &mut Connection<_>| {
            let length = connection.read(&mut read).await.unwrap();
            String::from_utf8_lossy(&read[..length]).into_owned()
        };
        next(&mut connection).await;
        // Within a request all passes.
        theirs.write_all(b"POST \"x\" HTTP/1.1").await.unwrap();
        assert_eq!(next(&mut connection).await, "POST \"x\" HTTP/1.1");
        let turn = connection.turn();
        turn.answered();
        let (head, tail) = (b"GET /\"", b"b\" HTTP/1.1\r\nA: \"b\"\r\n\r\n");
        theirs.write_all(head).await.unwrap();
        let write = async {
            tokio::task::yield_now().await;
            theirs.write_all(tail).await.unwrap();
        };
        let (said, ()) = tokio::join!(next(&mut connection), write);
        assert_eq!(said, "GET /%22b%22 HTTP/1.1\r\nA: \"b\"\r\n\r\n");
        // So is one for a stream, which need not be the first.
        turn.answered();
        let attach = b"POST /containers/a/attach HTTP/1.1\r\nHost: x\r\n\r\nearly";
        theirs.write_all(attach).await.unwrap();
        assert_eq!(
            next(&mut connection).await,
            "POST /containers/a/attach HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nHost: x\r\n\r\nearly"
        );
        assert!(connection.is_raw());
        // What has been taken over is let be.
        turn.leave();
        turn.answered();
        theirs.write_all(b"GET /\"").await.unwrap();
        assert_eq!(next(&mut connection).await, "GET /\"");
    }

    #[tokio::test]
    async fn a_long_head_is_known_before_it_is_read() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
        let (head, tail) = many.split_at(300);
        let (connection, read) = opened(&[head, tail]).await;
        assert!(connection.has_long_head() && read == many);
        let body = format!("POST / HTTP/1.1\n\n{}", "\n".repeat(500));
        for few in ["GET / HTTP/1.1\r\na: b\r\n\r\n", body.as_str(), "GET /"] {
            let (connection, read) = opened(&[few]).await;
            assert!(!connection.has_long_head() && read == few);
        }
    }

    #[test]
    fn only_a_101_becomes_a_200() {
        assert_eq!(raw_head(b"HTTP/1.1 10"), None);
        assert_eq!(raw_head(b"HTTP/1.1 101 UPGRADED\r\nA: b\r\n"), None);
        let out = raw_head(b"HTTP/1.1 101 UPGRADED\r\nA: b\r\n\r\nx").unwrap();
        assert_eq!(out, [RAW, b"x"].concat());
        let error = b"HTTP/1.1 404 Not Found\r\n\r\n";
        assert_eq!(raw_head(error).unwrap(), error);
    }
}
