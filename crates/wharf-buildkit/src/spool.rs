//! What a process is still to read: a little of it in memory, the rest in a file. So who tells it never waits for it, and what
//! else is said behind it, signals above all, comes through.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The most bytes of it in memory.
const MEMORY: usize = 1 << 20;
/// Bytes that are read from the file at once.
const CHUNK: usize = 64 << 10;

/// Makes the file for what is too much for memory.
type Disk = Box<dyn Fn() -> io::Result<File> + Send + Sync>;

/// A spool. Clones are the same.
#[derive(Clone)]
pub(crate) struct Spool(Arc<Inner>);

struct Inner {
    disk: Disk,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    parts: VecDeque<Part>,
    /// Bytes of the parts in memory.
    memory: usize,
    /// Made when it is needed first.
    file: Option<Arc<File>>,
    /// Where the file ends.
    end: u64,
    closed: bool,
}

enum Part {
    Memory(Vec<u8>),
    /// A place in the file, and how long it is.
    Disk(u64, u64),
}

impl Spool {
    /// An empty one; `disk` makes a file without a name.
    pub(crate) fn new(disk: impl Fn() -> io::Result<File> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            disk: Box::new(disk),
            state: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something more to read. There is one who says so.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) async fn write(&self, data: Vec<u8>) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let Some(data) = self.in_memory(data) else {
            self.0.changed.notify_one();
            return Ok(());
        };
        let spool = self.clone();
        let written = tokio::task::spawn_blocking(move || spool.on_disk(&data)).await;
        written.map_err(io::Error::other)??;
        self.0.changed.notify_one();
        Ok(())
    }

    /// Takes it into memory; gives it back if that is full.
    fn in_memory(&self, data: Vec<u8>) -> Option<Vec<u8>> {
        let mut state = self.state();
        if state.memory + data.len() > MEMORY {
            return Some(data);
        }
        state.memory += data.len();
        match state.parts.back_mut() {
            // Many small ones are one.
            Some(Part::Memory(last)) if last.len() < CHUNK => last.extend(data),
            _ => state.parts.push_back(Part::Memory(data)),
        }
        None
    }

    fn on_disk(&self, data: &[u8]) -> io::Result<()> {
        let (file, at) = {
            let state = self.state();
            (state.file.clone(), state.end)
        };
        let file = match file {
            Some(file) => file,
            None => Arc::new((self.0.disk)()?),
        };
        file.write_all_at(data, at)?;
        let length = data.len() as u64;
        let mut state = self.state();
        state.file = Some(file);
        state.end = at + length;
        match state.parts.back_mut() {
            Some(Part::Disk(start, known)) if *start + *known == at => *known += length,
            _ => state.parts.push_back(Part::Disk(at, length)),
        }
        Ok(())
    }

    /// Nothing more comes.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.0.changed.notify_one();
    }

    /// The next bytes, when there are some; none at the end. There is one who reads.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) async fn read(&self) -> io::Result<Option<Vec<u8>>> {
        loop {
            match self.next() {
                Next::Bytes(bytes) => return Ok(Some(bytes)),
                Next::End => return Ok(None),
                Next::Disk(file, at, length) => {
                    let read = move || {
                        let mut bytes = vec![0; length];
                        file.read_exact_at(&mut bytes, at)?;
                        Ok(bytes)
                    };
                    let read = tokio::task::spawn_blocking(read).await;
                    return read.map_err(io::Error::other)?.map(Some);
                }
                Next::Nothing => self.0.changed.notified().await,
            }
        }
    }

    fn next(&self) -> Next {
        let mut state = self.state();
        match (state.parts.pop_front(), &state.file) {
            (Some(Part::Memory(bytes)), _) => {
                state.memory -= bytes.len();
                Next::Bytes(bytes)
            }
            (Some(Part::Disk(at, length)), Some(file)) => {
                let file = file.clone();
                let first = length.min(CHUNK as u64);
                match length - first {
                    // All is read: what comes is in another file, and this one's room is free.
                    0 if state.parts.is_empty() && at + first == state.end => {
                        state.file = None;
                        state.end = 0;
                    }
                    0 => {}
                    rest => state.parts.push_front(Part::Disk(at + first, rest)),
                }
                Next::Disk(file, at, usize::try_from(first).unwrap_or(CHUNK))
            }
            (Some(Part::Disk(..)), None) | (None, _) if state.closed => Next::End,
            _ => Next::Nothing,
        }
    }
}

/// What there is to read.
enum Next {
    Bytes(Vec<u8>),
    Disk(Arc<File>, u64, usize),
    Nothing,
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reader is far behind, and then it is not.
    #[tokio::test]
    async fn all_comes_out_in_its_order_and_the_writer_never_waits() {
        let files = Arc::new(Mutex::new(0));
        let made = files.clone();
        let spool = Spool::new(move || {
            *made.lock().unwrap() += 1;
            tempfile::tempfile()
        });
        let mut wrote = Vec::new();
        let mut read = Vec::new();
        for round in 0_u8..3 {
            for one in 0_u8..40 {
                let data = vec![one ^ round; 100_000 + usize::from(one)];
                wrote.extend_from_slice(&data);
                spool.write(data).await.unwrap();
            }
            assert!(spool.state().memory <= MEMORY);
            while read.len() < wrote.len() {
                read.extend(spool.read().await.unwrap().unwrap());
            }
            assert!(read == wrote, "round {round}");
            assert!(spool.state().file.is_none());
        }
        assert_eq!(*files.lock().unwrap(), 3);
        spool.write(b"last".to_vec()).await.unwrap();
        spool.close();
        assert_eq!(spool.read().await.unwrap().unwrap(), b"last");
        assert!(spool.read().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_reader_waits_for_what_comes() {
        let spool = Spool::new(|| Err(io::Error::other("no disk")));
        let (read, wrote) = tokio::join!(spool.read(), spool.write(b"x".to_vec()));
        wrote.unwrap();
        assert_eq!(read.unwrap().unwrap(), b"x");
        let (read, ()) = tokio::join!(spool.read(), async { spool.close() });
        assert!(read.unwrap().is_none());
        assert!(spool.write(vec![0; MEMORY + 1]).await.is_err());
    }
}
