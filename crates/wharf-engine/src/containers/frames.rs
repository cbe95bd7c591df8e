//! Docker's frames (8 bytes: stream, 0, 0, 0, length), for a client that reads a stream otherwise than its process writes it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The most of a terminal's output in one frame.
const PIECE: usize = 32 << 10;
/// The stream of a frame.
const STDOUT: u8 = 1;

/// How a client reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reading {
    /// What comes.
    #[default]
    AsItComes,
    /// Frames, of a terminal's bytes.
    Framed,
    /// Bytes, of frames: as a terminal has one stream, the others are lost, as with dockerd.
    Plain,
}

impl Reading {
    /// Of a client that takes it for a terminal, or not.
    pub(super) fn of(is_terminal: bool, taken_for_one: bool) -> Self {
        match (is_terminal, taken_for_one) {
            (true, false) => Self::Framed,
            (false, true) => Self::Plain,
            _ => Self::AsItComes,
        }
    }

    /// Copies until the end.
    pub(super) async fn copy(
        self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        match self {
            Self::AsItComes => tokio::io::copy(from, to).await.map(drop),
            Self::Framed => framed(from, to).await,
            Self::Plain => plain(from, to).await,
        }
    }
}

async fn framed(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&head(STDOUT, read)).await?;
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
        // TLS keeps what it is given until it is told, or has more.
        to.flush().await?;
    }
}

async fn plain(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut head = [0; 8];
    loop {
        match from.read_exact(&mut head).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        };
        let [stream, _, _, _, length @ ..] = head;
        let mut piece = (&mut *from).take(u32::from_be_bytes(length).into());
        match stream {
            STDOUT => tokio::io::copy(&mut piece, to).await?,
            _ => tokio::io::copy(&mut piece, &mut tokio::io::sink()).await?,
        };
    }
}

/// The head of a frame.
pub(super) fn head(stream: u8, length: usize) -> [u8; 8] {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let [a, b, c, d] = length.to_be_bytes();
    [stream, 0, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(reading: Reading, text: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        reading.copy(&mut &text[..], &mut heard).await.unwrap();
        heard
    }

    #[tokio::test]
    async fn who_takes_it_for_what_it_is_not_gets_what_is_asked_for() {
        let frames = b"\x01\0\0\0\0\0\0\x02ab\x02\0\0\0\0\0\0\x01x\x01\0\0\0\0\0\0\x01c";
        assert_eq!(read(Reading::of(false, true), frames).await, b"abc");
        assert_eq!(read(Reading::of(false, false), frames).await, frames);
        let framed = read(Reading::of(true, false), b"ab").await;
        assert_eq!(framed, b"\x01\0\0\0\0\0\0\x02ab");
        assert_eq!(read(Reading::of(true, true), b"ab").await, b"ab");
        // A process that is killed in the middle of a frame.
        assert_eq!(read(Reading::Plain, &frames[..9]).await, b"a");
        assert_eq!(read(Reading::Plain, &frames[..5]).await, b"");
    }
}
