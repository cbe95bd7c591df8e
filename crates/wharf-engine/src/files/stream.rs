//! An archive on its way from a thread that writes it to whoever reads it.

use std::io::{self, Write};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Bytes of an archive as they are made. Dropping it ends the work.
#[derive(Debug)]
pub struct FileStream(mpsc::Receiver<io::Result<Bytes>>);

impl FileStream {
    /// The next bytes; an error if the archive could not be finished. Cancel-safe.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        self.0.recv().await
    }
}

/// The writing end. It blocks while the reader has enough.
pub(crate) struct Sink(mpsc::Sender<io::Result<Bytes>>);

pub(crate) fn channel() -> (Sink, FileStream) {
    let (sender, receiver) = mpsc::channel(4);
    (Sink(sender), FileStream(receiver))
}

impl Sink {
    /// Tells the reader that what it has is not the whole.
    pub(crate) fn fail(&self, text: String) {
        // A reader that is gone needs no word.
        let _ = self.0.blocking_send(Err(io::Error::other(text)));
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
