//! One connection to a shim: requests out, replies and exits in.
//!
//! A shim answers in order, so the replies need no numbers: the queue of those who wait is the order. A reader
//! task takes what comes until the shim closes, which is the last thing it does.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use wharf_shim_api::{FailureKind, MAX_PACKET, Message, Reply, Request};
use wharf_sys::socket;

use crate::folder::{TaskRecord, exit_status};
use crate::{ExitStatus, TaskError};

/// Who ended: an exec by id, or the first process.
pub(crate) type Who = Option<String>;

#[derive(Debug)]
pub(crate) struct Connection {
    socket: AsyncFd<OwnedFd>,
    /// Held while a request is sent, so that the queue has the order of the socket.
    sending: tokio::sync::Mutex<()>,
    waiting: Mutex<VecDeque<oneshot::Sender<Reply>>>,
    exits: Mutex<HashMap<Who, watch::Sender<Option<ExitStatus>>>>,
    closed: watch::Sender<bool>,
    /// How often memory has run out.
    out_of_memory: watch::Sender<u64>,
}

impl Connection {
    /// Takes over `socket` (seqpacket). `folder` is the task's, `record` what stands in it: by the time that the
    /// shim is gone another task may have the folder.
    pub(crate) fn new(
        socket: OwnedFd,
        folder: &Path,
        record: Option<TaskRecord>,
    ) -> Result<Arc<Self>, TaskError> {
        let failed = |error| TaskError::Connection("connect to", error);
        rustix::io::ioctl_fionbio(&socket, true).map_err(|error| failed(error.into()))?;
        #[expect(
            deprecated,
            reason = "sound for an OwnedFd; its successor is an unsafe fn"
        )]
        let socket = AsyncFd::new(socket).map_err(failed)?;
        let connection = Arc::new(Self {
            socket,
            sending: tokio::sync::Mutex::new(()),
            waiting: Mutex::default(),
            exits: Mutex::default(),
            closed: watch::Sender::new(false),
            out_of_memory: watch::Sender::new(0),
        });
        tokio::spawn(read(connection.clone(), folder.to_owned(), record));
        Ok(connection)
    }

    /// Asks, and waits for the answer; a failure of the shim's is an error.
    pub(crate) async fn ask(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Reply, TaskError> {
        let text = serde_json::to_vec(request)
            .map_err(|error| TaskError::Connection("ask", error.into()))?;
        let (sender, answer) = oneshot::channel();
        {
            let _order = self.sending.lock().await;
            // In the queue before it is on the way: the answer may be here before `send` has returned.
            lock(&self.waiting).push_back(sender);
            if let Err(error) = self.send(&text, descriptors).await {
                lock(&self.waiting).pop_back();
                return Err(error);
            }
        }
        // The reader may have ended, and dropped all who waited, before this one stood in the queue.
        if *self.closed.borrow() {
            lock(&self.waiting).clear();
        }
        match answer.await {
            Ok(Reply::Failed {
                kind: FailureKind::Gone,
                ..
            })
            | Err(_) => Err(TaskError::Gone),
            Ok(Reply::Failed { kind, message }) => Err(TaskError::Runtime { message, kind }),
            Ok(reply) => Ok(reply),
        }
    }

    async fn send(&self, text: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), TaskError> {
        loop {
            let ready = self.socket.writable().await;
            let mut ready = ready.map_err(|error| TaskError::Connection("ask", error))?;
            let sent = ready.try_io(|socket| socket::send(socket.as_fd(), text, descriptors));
            match sent {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if is_gone(&error) => return Err(TaskError::Gone),
                Ok(Err(error)) => return Err(TaskError::Connection("ask", error)),
                // The buffer is full.
                Err(_) => {}
            }
        }
    }

    /// Where the end of `who` is told. Ask before the process can have ended.
    pub(crate) fn watch(&self, who: Who) -> watch::Receiver<Option<ExitStatus>> {
        let mut exits = lock(&self.exits);
        let sender = exits.entry(who).or_insert_with(|| watch::Sender::new(None));
        let receiver = sender.subscribe();
        // Nobody would tell any more.
        if *self.closed.borrow() {
            tell(sender, ExitStatus::lost());
        }
        receiver
    }

    /// Memory has run out, so many times by now.
    pub(crate) fn out_of_memory(&self, times: u64) {
        self.out_of_memory.send_if_modified(|known| {
            let news = times > *known;
            *known = times.max(*known);
            news
        });
    }

    /// Hears of it; at once if it has happened before.
    pub(crate) fn watch_memory(&self) -> watch::Receiver<u64> {
        let mut receiver = self.out_of_memory.subscribe();
        if *receiver.borrow() > 0 {
            receiver.mark_changed();
        }
        receiver
    }

    /// Forgets an exec that nobody waits for.
    pub(crate) fn forget(&self, who: &Who) {
        lock(&self.exits).remove(who);
    }

    /// Waits until the shim has closed, which it does when all is over.
    pub(crate) async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // The sender is in `self`.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    fn ended(&self, who: Who, status: ExitStatus) {
        let first = who.is_none();
        let mut exits = lock(&self.exits);
        let sender = match first {
            true => exits
                .entry(who)
                .or_insert_with(|| watch::Sender::new(None))
                .clone(),
            // An exec is forgotten when it has been told.
            false => match exits.remove(&who) {
                Some(sender) => sender,
                None => return,
            },
        };
        tell(&sender, status);
    }
}

/// The first word counts.
fn tell(sender: &watch::Sender<Option<ExitStatus>>, status: ExitStatus) {
    sender.send_if_modified(|told| {
        let news = told.is_none();
        told.get_or_insert(status);
        news
    });
}

async fn read(connection: Arc<Connection>, folder: PathBuf, record: Option<TaskRecord>) {
    // Filled by the kernel only as far as packets are long, so the pages behind are never touched.
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        let taken = take(&connection, &mut buffer).await;
        let length = match taken {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "receive from a shim");
                break;
            }
        };
        match serde_json::from_slice(&buffer[..length]) {
            Ok(Message::Reply(reply)) => {
                if let Some(sender) = lock(&connection.waiting).pop_front() {
                    // Who asked may have gone.
                    let _ = sender.send(reply);
                }
            }
            Ok(Message::OutOfMemory(times)) => connection.out_of_memory(times),
            Ok(Message::Exited { exec, status }) => connection.ended(exec, (&status).into()),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "a message of a shim");
            }
        }
    }
    close(&connection, &folder, record).await;
}

async fn take(connection: &Connection, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = connection.socket.readable().await?;
        match ready.try_io(|socket| socket::receive(socket.as_fd(), buffer)) {
            Ok(Err(error)) if is_gone(&error) => return Ok(0),
            Ok(taken) => return taken.map(|(length, _)| length),
            Err(_) => {}
        }
    }
}

/// The shim has gone. If it has left no record of the end, it was killed: so is what it looked after.
async fn close(connection: &Connection, folder: &Path, record: Option<TaskRecord>) {
    let status = match exit_status(folder) {
        Some(status) => (&status).into(),
        None => {
            if let Some(record) = record {
                crate::load::kill_leftovers(record).await;
            }
            ExitStatus::lost()
        }
    };
    connection.closed.send_replace(true);
    lock(&connection.waiting).clear();
    let exits = std::mem::take(&mut *lock(&connection.exits));
    for (who, sender) in &exits {
        match who {
            None => tell(sender, status),
            Some(_) => tell(sender, ExitStatus::lost()),
        }
    }
    let first = watch::Sender::new(Some(status));
    lock(&connection.exits).entry(None).or_insert(first);
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
