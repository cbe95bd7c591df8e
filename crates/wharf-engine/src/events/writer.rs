//! The thread that keeps events in files. Whoever tells of one waits for no disk: it may have much else to write.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::Event;
use super::history::Line;

/// How many events may wait for the disk; more are kept in memory only.
pub(super) const WAITING: usize = 4096;
/// How large a file grows, bytes; two of them are kept.
pub(super) const LARGEST: u64 = 2 << 20;

/// Where events go to be kept. The thread ends with it, when all are written.
pub(super) struct Writer {
    orders: SyncSender<Order>,
    /// The number of the next event that is to be written.
    reached: Arc<AtomicU64>,
    /// What has found no place, since one last did.
    lost: u64,
}

enum Order {
    Keep(u64, Arc<Event>),
    /// Says that all before are in the file.
    Flush(SyncSender<()>),
}

impl Writer {
    /// Appends to `path`, from the event `next` on.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(super) fn start(path: PathBuf, next: u64) -> std::io::Result<Self> {
        let (orders, taken) = sync_channel(WAITING);
        let reached = Arc::new(AtomicU64::new(next));
        let told = reached.clone();
        let thread = std::thread::Builder::new().name("events".to_owned());
        thread.spawn(move || serve(&taken, &told, Files::new(path)))?;
        Ok(Self {
            orders,
            reached,
            lost: 0,
        })
    }

    /// Has the event written soon.
    pub(super) fn keep(&mut self, number: u64, event: Arc<Event>) {
        if self.orders.try_send(Order::Keep(number, event)).is_ok() {
            self.lost = 0;
            return;
        }
        self.lost += 1;
        if self.lost == 1 {
            tracing::warn!("the disk does not take events: they are kept in memory only");
        }
    }

    /// All events before this one are in the files, or never come there.
    pub(super) fn reached(&self) -> u64 {
        self.reached.load(Ordering::Acquire)
    }

    /// Returns what waits until all that was to be kept before is in the file.
    pub(super) fn flush(&self) -> impl FnOnce() + use<> {
        let orders = self.orders.clone();
        move || {
            let (done, waits) = sync_channel(1);
            if orders.send(Order::Flush(done)).is_ok() {
                // It says so, or is gone.
                let _ = waits.recv();
            }
        }
    }
}

fn serve(orders: &Receiver<Order>, reached: &AtomicU64, mut files: Files) {
    let mut failed = false;
    while let Ok(order) = orders.recv() {
        let (number, event) = match order {
            Order::Keep(number, event) => (number, event),
            Order::Flush(done) => {
                // Who waited may be gone.
                let _ = done.try_send(());
                continue;
            }
        };
        let written = files.write(number, &event);
        if let Err(error) = &written {
            // The next one tries again; listeners hear of it all the same.
            files.file = None;
            if !failed {
                tracing::warn!(%error, "keep an event");
            }
        }
        failed = written.is_err();
        reached.store(number + 1, Ordering::Release);
    }
}

struct Files {
    path: PathBuf,
    file: Option<File>,
    size: u64,
}

impl Files {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            size: 0,
        }
    }

    fn write(&mut self, number: u64, event: &Arc<Event>) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(&Line {
            number,
            event: Event::clone(event),
        })?;
        line.push(b'\n');
        if self.file.is_some() && self.size >= LARGEST {
            std::fs::rename(&self.path, old(&self.path))?;
            self.file = None;
        }
        if self.file.is_none() {
            let mut file = File::options().create(true).append(true).open(&self.path)?;
            self.size = file.metadata()?.len();
            // A daemon that was killed, or a full disk, may have left half a line.
            file.write_all(b"\n")?;
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&line)?;
        }
        self.size += u64::try_from(line.len()).unwrap_or_default();
        Ok(())
    }
}

/// Where the older half of what is in `path` lies.
pub(super) fn old(path: &Path) -> PathBuf {
    path.with_extension("old")
}
