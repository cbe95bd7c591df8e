//! An archive on its way from a thread that writes it to whoever reads it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Evicted;

/// Why an archive is not whole.
type Fault = Arc<Mutex<Option<String>>>;

/// Bytes of an archive as they are made. Dropping it ends the work.
#[derive(Debug)]
pub struct FileStream {
    bytes: mpsc::Receiver<Bytes>,
    fault: Fault,
}

impl FileStream {
    /// The next bytes; an error if the archive could not be finished. Cancel-safe.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if let Some(bytes) = self.bytes.recv().await {
            return Some(Ok(bytes));
        }
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.take().map(|text| Err(io::Error::other(text)))
    }
}

/// The writing end. It blocks while the reader has enough, but no longer than it may.
pub(crate) struct Sink {
    bytes: mpsc::Sender<Bytes>,
    fault: Fault,
    runtime: Handle,
    evicted: Option<Evicted>,
}

/// Needs a runtime; its [`Sink`] is for a thread that is none of that one's workers. What is `evicted` writes no more.
pub(crate) fn channel(evicted: Option<Evicted>) -> (Sink, FileStream) {
    let (sender, bytes) = mpsc::channel(4);
    let fault = Fault::default();
    let sink = Sink {
        bytes: sender,
        fault: fault.clone(),
        runtime: Handle::current(),
        evicted,
    };
    (sink, FileStream { bytes, fault })
}

impl Sink {
    /// Tells the reader that what it has is not the whole.
    pub(crate) fn fail(&self, text: String) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        *fault = Some(text);
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let chunk = Bytes::copy_from_slice(bytes);
        match &self.evicted {
            None => self.bytes.blocking_send(chunk).map_err(|_| gone())?,
            Some(evicted) => self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = evicted.clone().wait() => Err(Evicted::error()),
                    sent = self.bytes.send(chunk) => sent.map_err(|_| gone()),
                }
            })?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
