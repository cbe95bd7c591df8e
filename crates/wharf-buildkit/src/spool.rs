//! What a process is still to read: a little of it in memory, the rest in a file. So who tells it does not wait for it, and what
//! else is said behind it, signals above all, comes through. There is a bound to it: who tells much more than is read waits.

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

/// A spool of at most so many bytes in a file, and some in memory; `disk` makes a file without a name.
pub(crate) fn spool(
    most: u64,
    disk: impl Fn() -> io::Result<File> + Send + Sync + 'static,
) -> (Teller, Reader) {
    let inner = Arc::new(Inner {
        disk: Box::new(disk),
        most,
        state: Mutex::default(),
        told: Notify::new(),
        room: Notify::new(),
    });
    (Teller(inner.clone()), Reader(inner))
}

/// Who puts something into a spool. There is one.
pub(crate) struct Teller(Arc<Inner>);

/// Who takes it out. There is one; without it, what is told goes nowhere, and nobody waits.
pub(crate) struct Reader(Arc<Inner>);

struct Inner {
    disk: Disk,
    /// Bytes that the file may have. It is used in a circle, so it never grows over that.
    most: u64,
    state: Mutex<State>,
    /// There is something to read.
    told: Notify,
    /// There is room in the file, or nobody reads.
    room: Notify,
}

#[derive(Default)]
struct State {
    parts: VecDeque<Part>,
    /// Bytes of the parts in memory.
    memory: usize,
    /// Made when it is needed first; dropped when all of it was read.
    file: Option<Arc<File>>,
    /// Bytes of the file that are being written, are to be read, or are being read.
    taken: u64,
    /// How many bytes went into this file so far.
    end: u64,
    phase: Phase,
}

#[derive(Default, PartialEq, Eq)]
enum Phase {
    /// More may come.
    #[default]
    Open,
    /// All was said.
    Closed,
    /// Nobody reads any more.
    Unread,
}

enum Part {
    Memory(Vec<u8>),
    /// How many bytes went into the file before it, and how long it is.
    Disk(u64, u64),
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where in the file the byte is before which so many went in, and how many of the next ones are in one piece with it.
    fn place(&self, at: u64, length: u64) -> (u64, usize) {
        let start = at % self.most;
        let piece = length.min(self.most - start).min(CHUNK as u64);
        (start, usize::try_from(piece).unwrap_or(CHUNK))
    }
}

impl Teller {
    /// Something more to read. Waits for room where much is unread.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) async fn write(&self, data: Vec<u8>) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let Some(data) = self.in_memory(data) else {
            self.0.told.notify_one();
            return Ok(());
        };
        let data = Arc::new(data);
        let mut done = 0;
        while done < data.len() {
            let room = match self.take_room(data.len() - done) {
                Grant::Room(room) => room,
                Grant::Unread => return Ok(()),
                Grant::Nothing => {
                    self.0.room.notified().await;
                    continue;
                }
            };
            let (inner, piece) = (self.0.clone(), data.clone());
            let write = move || inner.on_disk(&piece[done..done + room.length], room);
            let written = tokio::task::spawn_blocking(write).await;
            done += written.map_err(io::Error::other)??;
            self.0.told.notify_one();
        }
        Ok(())
    }

    /// Takes it into memory, or nowhere if nobody reads it; gives it back if that is full.
    fn in_memory(&self, data: Vec<u8>) -> Option<Vec<u8>> {
        let mut state = self.0.state();
        if state.phase == Phase::Unread {
            return None;
        }
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

    /// Room for so many bytes, or for the first of them.
    fn take_room(&self, wanted: usize) -> Grant {
        let mut state = self.0.state();
        if state.phase == Phase::Unread {
            return Grant::Unread;
        }
        let free = usize::try_from(self.0.most - state.taken).unwrap_or(usize::MAX);
        let length = wanted.min(free);
        if length == 0 {
            return Grant::Nothing;
        }
        let at = state.end;
        state.end += length as u64;
        state.taken += length as u64;
        Grant::Room(Room { at, length })
    }

    /// Nothing more comes.
    pub(crate) fn close(&self) {
        let mut state = self.0.state();
        if state.phase == Phase::Open {
            state.phase = Phase::Closed;
        }
        self.0.told.notify_one();
    }
}

/// What somebody gets who asks for room in the file.
enum Grant {
    Room(Room),
    /// It is full.
    Nothing,
    /// Nobody reads any more.
    Unread,
}

/// A part of the file that is about to be written.
#[derive(Clone, Copy)]
struct Room {
    /// How many bytes went in before it.
    at: u64,
    length: usize,
}

impl Inner {
    /// Writes what there is room for; how much that is.
    fn on_disk(&self, data: &[u8], room: Room) -> io::Result<usize> {
        let file = {
            let state = self.state();
            if state.phase == Phase::Unread {
                return Ok(data.len());
            }
            state.file.clone()
        };
        let file = match file {
            Some(file) => file,
            None => Arc::new((self.disk)()?),
        };
        let (mut rest, mut at) = (data, room.at);
        while !rest.is_empty() {
            let (start, length) = self.place(at, rest.len() as u64);
            file.write_all_at(&rest[..length], start)?;
            rest = &rest[length..];
            at += length as u64;
        }
        let length = data.len() as u64;
        let mut state = self.state();
        if state.phase == Phase::Unread {
            return Ok(data.len());
        }
        state.file = Some(file);
        match state.parts.back_mut() {
            Some(Part::Disk(start, known)) if *start + *known == room.at => *known += length,
            _ => state.parts.push_back(Part::Disk(room.at, length)),
        }
        Ok(data.len())
    }
}

impl Reader {
    /// The next bytes, when there are some; none at the end.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            match self.next() {
                Next::Bytes(bytes) => return Ok(Some(bytes)),
                Next::End => return Ok(None),
                Next::Disk(file, start, length) => {
                    let read = move || {
                        let mut bytes = vec![0; length];
                        file.read_exact_at(&mut bytes, start)?;
                        Ok::<_, io::Error>(bytes)
                    };
                    let read = tokio::task::spawn_blocking(read).await;
                    let bytes = read.map_err(io::Error::other)??;
                    self.free(bytes.len());
                    return Ok(Some(bytes));
                }
                Next::Nothing => self.0.told.notified().await,
            }
        }
    }

    fn next(&self) -> Next {
        let mut state = self.0.state();
        match (state.parts.pop_front(), &state.file) {
            (Some(Part::Memory(bytes)), _) => {
                state.memory -= bytes.len();
                Next::Bytes(bytes)
            }
            (Some(Part::Disk(at, length)), Some(file)) => {
                let file = file.clone();
                let (start, first) = self.0.place(at, length);
                let rest = length - first as u64;
                if rest > 0 {
                    let part = Part::Disk(at + first as u64, rest);
                    state.parts.push_front(part);
                }
                Next::Disk(file, start, first)
            }
            (Some(Part::Disk(..)), None) | (None, _) if state.phase != Phase::Open => Next::End,
            _ => Next::Nothing,
        }
    }

    /// What was read may be written over.
    fn free(&self, length: usize) {
        let mut state = self.0.state();
        state.taken -= length as u64;
        if state.taken == 0 {
            // All is read: what comes is in another file, and the disk has this one's room.
            state.file = None;
            state.end = 0;
        }
        self.0.room.notify_one();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.phase = Phase::Unread;
        state.parts.clear();
        (state.memory, state.file) = (0, None);
        self.0.room.notify_one();
    }
}

/// What there is to read.
enum Next {
    Bytes(Vec<u8>),
    /// A place in the file, and how long it is.
    Disk(Arc<File>, u64, usize),
    Nothing,
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than the tests put into a file.
    const MUCH: u64 = 16 << 20;

    /// The reader is far behind, and then it is not.
    #[tokio::test]
    async fn all_comes_out_in_its_order_and_the_writer_does_not_wait() {
        let files = Arc::new(Mutex::new(0));
        let made = files.clone();
        let (teller, mut reader) = spool(MUCH, move || {
            *made.lock().unwrap() += 1;
            tempfile::tempfile()
        });
        let mut wrote = Vec::new();
        let mut read = Vec::new();
        for round in 0_u8..3 {
            for one in 0_u8..40 {
                let data = vec![one ^ round; 100_000 + usize::from(one)];
                wrote.extend_from_slice(&data);
                teller.write(data).await.unwrap();
            }
            assert!(teller.0.state().memory <= MEMORY);
            while read.len() < wrote.len() {
                read.extend(reader.read().await.unwrap().unwrap());
            }
            assert!(read == wrote, "round {round}");
            assert!(teller.0.state().file.is_none());
        }
        assert_eq!(*files.lock().unwrap(), 3);
        teller.write(b"last".to_vec()).await.unwrap();
        teller.close();
        assert_eq!(reader.read().await.unwrap().unwrap(), b"last");
        assert!(reader.read().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_reader_waits_for_what_comes() {
        let (teller, mut reader) = spool(MUCH, || Err(io::Error::other("no disk")));
        let (read, wrote) = tokio::join!(reader.read(), teller.write(b"x".to_vec()));
        wrote.unwrap();
        assert_eq!(read.unwrap().unwrap(), b"x");
        let (read, ()) = tokio::join!(reader.read(), async { teller.close() });
        assert!(read.unwrap().is_none());
        assert!(teller.write(vec![0; MEMORY + 1]).await.is_err());
    }

    /// A spool whose file can be looked at.
    fn watched(most: u64) -> (Teller, Reader, Arc<Mutex<Option<File>>>) {
        let seen = Arc::new(Mutex::new(None));
        let file = seen.clone();
        let (teller, reader) = spool(most, move || {
            let made = tempfile::tempfile()?;
            *file.lock().unwrap() = Some(made.try_clone()?);
            Ok(made)
        });
        (teller, reader, seen)
    }

    /// Lets it go on; it does not come to its end, and takes no more of the file.
    async fn assert_waits(
        teller: &Teller,
        mut writes: std::pin::Pin<&mut impl Future<Output = io::Result<()>>>,
    ) {
        assert!(futures_util::poll!(&mut writes).is_pending());
        assert_eq!(teller.0.state().taken, teller.0.most);
    }

    #[tokio::test]
    async fn the_file_does_not_grow_over_its_bound() {
        let most = 300_001;
        let (teller, mut reader, file) = watched(most);
        let all: Vec<u8> = (0..5_000_000_u32).map(|one| (one % 251) as u8).collect();
        let wrote = async {
            for part in all.chunks(1_700_000) {
                teller.write(part.to_vec()).await.unwrap();
            }
            teller.close();
        };
        let mut read = Vec::new();
        let reads = async {
            while let Some(bytes) = reader.read().await.unwrap() {
                read.extend(bytes);
                let file = file.lock().unwrap();
                let length = file
                    .as_ref()
                    .map_or(0, |file| file.metadata().unwrap().len());
                assert!(length <= most, "{length}");
            }
        };
        tokio::join!(wrote, reads);
        assert!(read == all);
    }

    #[tokio::test]
    async fn who_tells_too_much_waits_until_some_is_read() {
        let (teller, mut reader, _) = watched(100_000);
        teller.write(vec![1; MEMORY]).await.unwrap();
        teller.write(vec![2; 100_000]).await.unwrap();
        let mut more = Box::pin(teller.write(vec![3; 70_000]));
        assert_waits(&teller, more.as_mut()).await;
        // What is in memory comes first; it is no room in the file.
        let mut left = MEMORY;
        while left > 0 {
            left -= reader.read().await.unwrap().unwrap().len();
        }
        assert_waits(&teller, more.as_mut()).await;
        let mut read = Vec::new();
        while read.len() < 100_000 {
            read.extend(reader.read().await.unwrap().unwrap());
        }
        more.await.unwrap();
        assert_eq!(reader.read().await.unwrap().unwrap()[0], 3);
    }

    /// The process has ended, or does not read any more.
    #[tokio::test]
    async fn what_nobody_reads_takes_no_room_and_holds_nobody_up() {
        let (teller, reader, _) = watched(100_000);
        teller.write(vec![1; MEMORY]).await.unwrap();
        teller.write(vec![2; 100_000]).await.unwrap();
        let mut more = Box::pin(teller.write(vec![3; 70_000]));
        assert_waits(&teller, more.as_mut()).await;
        drop(reader);
        more.await.unwrap();
        let is_empty = |state: MutexGuard<'_, State>| {
            state.file.is_none() && state.parts.is_empty() && state.memory == 0
        };
        assert!(is_empty(teller.0.state()));
        teller.write(vec![4; 10 * MEMORY]).await.unwrap();
        assert!(is_empty(teller.0.state()));
    }
}
