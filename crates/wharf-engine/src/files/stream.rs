//! An archive on its way from a thread that writes it to whoever reads it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use wharf_sys::words::chain;

use super::Evicted;
use crate::EngineError;

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

/// An archive that `write` writes ([`Sink::carry`]), on a thread of its own: it goes as fast as the reader takes it, and a few
/// slow ones would hold all threads that the runtime has.
///
/// # Errors
/// If no thread can be started.
pub(crate) fn stream<E: std::error::Error>(
    evicted: Option<Evicted>,
    write: impl FnOnce(&mut Sink) -> Result<(), E> + Send + 'static,
) -> Result<FileStream, EngineError> {
    let (sink, stream) = channel(evicted);
    let thread = std::thread::Builder::new().name("client".to_owned());
    let started = thread.spawn(move || sink.carry(write));
    started.map_err(|error| EngineError::Failed(format!("start a thread: {error}")))?;
    Ok(stream)
}

impl Sink {
    /// Has `write` write the archive. If that fails, or ends in a panic, the reader is told so: there is no end of an archive
    /// that is not whole. Blocks.
    pub(crate) fn carry<E: std::error::Error>(
        mut self,
        write: impl FnOnce(&mut Sink) -> Result<(), E>,
    ) {
        self.is_at_fault(Some("the archive was not finished".to_owned()));
        let fault = write(&mut self).err().map(|error| chain(&error));
        if let Some(error) = &fault {
            tracing::debug!(error, "an archive is not whole");
        }
        self.is_at_fault(fault);
    }

    fn is_at_fault(&self, text: Option<String>) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        *fault = text;
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    async fn read(mut stream: FileStream) -> (usize, Option<String>) {
        let mut count = 0;
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(bytes) => count += bytes.len(),
                Err(error) => return (count, Some(error.to_string())),
            }
        }
        (count, None)
    }

    #[tokio::test]
    async fn what_is_not_whole_does_not_end_like_what_is() {
        let whole = stream(None, |sink| sink.write_all(b"whole")).unwrap();
        assert_eq!(read(whole).await, (5, None));
        let failed = stream(None, |sink| {
            sink.write_all(b"half")?;
            Err(io::Error::other("the disk is gone"))
        });
        let reason = Some("the disk is gone".to_owned());
        assert_eq!(read(failed.unwrap()).await, (4, reason));
        let panics = stream(None, |sink| -> io::Result<()> {
            sink.write_all(b"half")?;
            panic!("oh");
        });
        let reason = Some("the archive was not finished".to_owned());
        assert_eq!(read(panics.unwrap()).await, (4, reason));
    }
}
