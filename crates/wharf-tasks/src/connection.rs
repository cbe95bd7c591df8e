//! The connection to a shim: requests out, replies and exits in.
//!
//! A shim answers in order, so the replies need no numbers: the queue of those who wait is the order. A reader
//! task takes what comes until the shim closes, which is the last thing it does. One that closes and lives on is
//! connected to again: a shim of another version does so with what it does not understand, and every shim with a
//! daemon that has not read for long.
//!
//! An exec is no request like others, as what it has begun goes on without the connection. It is registered when its
//! request is sent, in the same order; so the first request on a new connection, [`Request::State`], is answered with
//! what has become of all those that were sent before, and of no later ones.

mod execs;
mod reader;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use wharf_shim_api::{FailureKind, MAX_FILE, MAX_PACKET, Reply, Request};
use wharf_sys::{memfd, socket};

use execs::Execs;

use crate::folder::TaskRecord;
use crate::{ExitStatus, TaskError, load, shim};

/// Who ended: an exec by id, or the first process.
pub(crate) type Who = Option<String>;

type Socket = AsyncFd<OwnedFd>;

/// How long a shim may take to answer what it has nothing to wait for. One that is stopped never does.
const ANSWER: Duration = Duration::from_secs(10);
/// How long one may take that has kept somebody waiting in vain, and has said nothing since.
const SILENT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Connection {
    /// `None` once the shim has gone.
    socket: watch::Sender<Option<Arc<Socket>>>,
    /// The task's folder, whoever has its name by the time that the shim is gone.
    folder: OwnedFd,
    /// Held while a request is sent, so that the queue has the order of the socket.
    sending: tokio::sync::Mutex<()>,
    waiting: Mutex<VecDeque<Waiter>>,
    execs: Execs,
    exits: Mutex<HashMap<Who, watch::Sender<Option<ExitStatus>>>>,
    /// How often memory has run out.
    out_of_memory: watch::Sender<u64>,
    /// Something that the shim has said is lost since it was last asked where all execs stand.
    unheard: AtomicBool,
    /// It has not answered in time, and has answered nothing since.
    silent: AtomicBool,
    reader: OnceLock<AbortHandle>,
}

/// Who gets the answer to a request.
#[derive(Debug)]
enum Waiter {
    /// Who has asked.
    Asker(oneshot::Sender<Reply>),
    /// The exec of this id.
    Exec(String),
    /// These execs, which were sent on an earlier connection.
    CatchUp(Vec<String>),
}

impl Connection {
    /// Takes over `socket` (seqpacket). `folder` is the task's, `record` what stands in it.
    pub(crate) fn new(
        socket: OwnedFd,
        folder: &Path,
        record: Option<TaskRecord>,
    ) -> Result<Arc<Self>, TaskError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(folder, flags, Mode::empty());
        let opened = opened.map_err(|error| TaskError::io("open", folder, error.into()))?;
        let socket = Arc::new(listened_to(socket)?);
        let connection = Arc::new(Self {
            socket: watch::Sender::new(Some(socket)),
            folder: opened,
            sending: tokio::sync::Mutex::new(()),
            waiting: Mutex::default(),
            execs: Execs::default(),
            exits: Mutex::default(),
            out_of_memory: watch::Sender::new(0),
            unheard: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            reader: OnceLock::new(),
        });
        let reader = tokio::spawn(reader::read(connection.clone(), record));
        // There is none before the first.
        let _ = connection.reader.set(reader.abort_handle());
        Ok(connection)
    }

    /// Listens no more: the socket is closed with the last who holds this.
    pub(crate) fn give_up(&self) {
        if let Some(reader) = self.reader.get() {
            reader.abort();
        }
    }

    /// Asks, and waits for the answer; a failure of the shim's is an error.
    pub(crate) async fn ask(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Reply, TaskError> {
        let register = || {
            let (sender, answer) = oneshot::channel();
            (Waiter::Asker(sender), answer)
        };
        let answer = self.deliver(request, descriptors, register).await?;
        outcome(answer.await)
    }

    /// As [`Connection::ask`], for what a shim does at once.
    ///
    /// # Errors
    /// Also [`TaskError::Silent`].
    pub(crate) async fn ask_soon(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Reply, TaskError> {
        self.in_time(ANSWER, self.ask(request, descriptors)).await
    }

    /// The next request has the time of a shim that was never silent.
    pub(crate) fn forget_silence(&self) {
        self.silent.store(false, Ordering::Relaxed);
    }

    /// What comes of `work`, which waits for the shim, within a time; a short one if it has kept silent before.
    async fn in_time<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, TaskError>>,
    ) -> Result<T, TaskError> {
        let limit = match self.silent.load(Ordering::Relaxed) {
            true => SILENT,
            false => limit,
        };
        let done = tokio::time::timeout(limit, work).await;
        done.unwrap_or_else(|_| {
            self.silent.store(true, Ordering::Relaxed);
            Err(TaskError::Silent)
        })
    }

    /// Ends the shim, which does not answer: one that was stopped goes on, and does what it was asked; if that is not its end, or
    /// it was not, it is killed. The end of all that it looks after is told as that of a shim that was killed, but for the first
    /// process, if it has ended before.
    pub(crate) async fn end(&self, first: i32) -> Result<(), TaskError> {
        let folder = self.folder();
        if shim::wake(&folder)? && shim::is_gone_within(&folder, load::WAKING).await {
            return Ok(());
        }
        shim::end(&folder, Some(first)).await
    }

    /// Sends, once somebody is there to hear it. What is made by `register`, in the order of the requests, waits for the answer.
    async fn deliver<T>(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
        register: impl Fn() -> (Waiter, T),
    ) -> Result<T, TaskError> {
        let packet = Packet::of(request)?;
        let file = packet.file.iter().map(|file| file.as_fd());
        let descriptors: Vec<BorrowedFd<'_>> = file.chain(descriptors.iter().copied()).collect();
        loop {
            let socket = self.socket.borrow().clone();
            let socket = socket.ok_or(TaskError::Gone)?;
            let sent = self.queue(&socket, &packet.text, &descriptors, &register);
            if let Some(answer) = sent.await? {
                return Ok(answer);
            }
            // It has not been sent. The reader finds out whether the shim has another ear for us.
            let mut now = self.socket.subscribe();
            // The sender is in `self`.
            let _ = now.wait_for(|now| !is_same(now, &socket)).await;
        }
    }

    /// Sends, and gives where the answer comes; `None` if nobody is at the other end of `socket` any more.
    async fn queue<T>(
        &self,
        socket: &Arc<Socket>,
        text: &[u8],
        descriptors: &[BorrowedFd<'_>],
        register: &impl Fn() -> (Waiter, T),
    ) -> Result<Option<T>, TaskError> {
        let _order = self.sending.lock().await;
        if !is_same(&self.socket.borrow(), socket) {
            return Ok(None);
        }
        // In the queue before it is on the way: the answer may be here before `send` has returned.
        let (waiter, answer) = register();
        let place = Place::of(self, waiter);
        match send(socket, text, descriptors).await {
            Ok(()) => place.keep(),
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(TaskError::Connection("ask", error)),
        }
        // The reader may have ended, and dropped all who waited, before this one stood in the queue.
        if self.socket.borrow().is_none() {
            self.drop_waiting();
        }
        Ok(Some(answer))
    }

    /// Nobody will answer any more.
    fn drop_waiting(&self) {
        lock(&self.waiting).clear();
        self.execs.clear();
    }

    /// The answer to the oldest request that has none yet.
    fn answered(self: &Arc<Self>, reply: Reply) {
        self.silent.store(false, Ordering::Relaxed);
        let waiter = lock(&self.waiting).pop_front();
        match waiter {
            Some(Waiter::Asker(sender)) => {
                // Who asked may have gone.
                let _ = sender.send(reply);
            }
            Some(Waiter::Exec(exec)) => self.exec_answered(&exec, reply),
            Some(Waiter::CatchUp(execs)) => self.caught_up(execs, reply),
            None => {}
        }
    }

    /// Where the end of `who` is told. Ask before the process can have ended.
    pub(crate) fn watch(&self, who: Who) -> watch::Receiver<Option<ExitStatus>> {
        let mut exits = lock(&self.exits);
        let sender = exits.entry(who).or_insert_with(|| watch::Sender::new(None));
        let receiver = sender.subscribe();
        // Nobody would tell any more.
        if self.socket.borrow().is_none() {
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
        if let Some(exec) = who {
            self.execs.forget(exec);
        }
    }

    /// Waits until the shim has closed, which it does when all is over.
    pub(crate) async fn closed(&self) {
        let mut socket = self.socket.subscribe();
        // The sender is in `self`.
        let _ = socket.wait_for(Option::is_none).await;
    }

    fn ended(&self, who: Who, status: ExitStatus) {
        let first = who.is_none();
        if let Some(exec) = &who {
            self.execs.over(exec);
        }
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

    /// A name of the task's folder that always leads there.
    fn folder(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.folder.as_raw_fd()).into()
    }

    /// Goes on with another socket. Who waits for an answer has lost it; but for execs, which are asked after.
    async fn reconnected(&self, socket: Socket) {
        let socket = Arc::new(socket);
        let lost = {
            let _order = self.sending.lock().await;
            self.socket.send_replace(Some(socket.clone()));
            let lost = std::mem::take(&mut *lock(&self.waiting));
            // Nothing is sent while the order is held, so these are all that were, and this comes before all others.
            let place = Place::of(self, Waiter::CatchUp(self.known_execs()));
            match ask_for_state(&socket).await {
                Ok(()) => place.keep(),
                // On the next one, then.
                Err(error) => reader::hang_up(self, &socket, &error),
            }
            lost
        };
        for waiter in lost {
            if let Waiter::Asker(sender) = waiter {
                let _ = sender.send(lost_answer());
            }
        }
    }
}

async fn ask_for_state(socket: &Socket) -> io::Result<()> {
    send(socket, &serde_json::to_vec(&Request::State)?, &[]).await
}

/// What is said to those whose answer is lost.
const LOST: &str = "the connection to the shim of the container was lost";

fn lost_answer() -> Reply {
    let (kind, message) = (FailureKind::Other, LOST.to_owned());
    Reply::Failed { kind, message }
}

/// A place in the queue of those who wait, given back when it is dropped: a request that was not sent gets no answer. The
/// order is held meanwhile, so it is the last one.
struct Place<'a>(Option<&'a Connection>);

impl<'a> Place<'a> {
    fn of(connection: &'a Connection, waiter: Waiter) -> Self {
        lock(&connection.waiting).push_back(waiter);
        Self(Some(connection))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.0 else { return };
        let last = lock(&connection.waiting).pop_back();
        if let Some(Waiter::Exec(exec)) = last {
            connection.forget(&Some(exec));
        }
    }
}

/// A request as it travels.
struct Packet {
    text: Vec<u8>,
    /// The request itself, if it is too long for a packet.
    file: Option<OwnedFd>,
}

impl Packet {
    fn of(request: &Request) -> Result<Self, TaskError> {
        let failed = |error| TaskError::Connection("ask", error);
        let write = |request| serde_json::to_vec(request).map_err(|error| failed(error.into()));
        let text = write(request)?;
        if text.len() <= MAX_PACKET {
            return Ok(Self { text, file: None });
        }
        if text.len() as u64 > MAX_FILE {
            return Err(failed(io::ErrorKind::ArgumentListTooLong.into()));
        }
        let file = memfd::holding("wharf-task", &text).map_err(failed)?;
        let (text, file) = (write(&Request::Long)?, Some(file));
        Ok(Self { text, file })
    }
}

/// What an answer means to who has asked; none comes once the shim has gone.
pub(crate) fn outcome(
    answer: Result<Reply, oneshot::error::RecvError>,
) -> Result<Reply, TaskError> {
    match answer {
        Ok(Reply::Failed {
            kind: FailureKind::Gone,
            ..
        })
        | Err(_) => Err(TaskError::Gone),
        Ok(Reply::Failed { kind, message }) => Err(TaskError::Runtime { message, kind }),
        Ok(reply) => Ok(reply),
    }
}

fn is_same(now: &Option<Arc<Socket>>, socket: &Arc<Socket>) -> bool {
    now.as_ref().is_some_and(|now| Arc::ptr_eq(now, socket))
}

fn listened_to(socket: OwnedFd) -> Result<Socket, TaskError> {
    let failed = |error| TaskError::Connection("connect to", error);
    rustix::io::ioctl_fionbio(&socket, true).map_err(|error| failed(error.into()))?;
    #[expect(
        deprecated,
        reason = "sound for an OwnedFd; its successor is an unsafe fn"
    )]
    let socket = AsyncFd::new(socket);
    socket.map_err(failed)
}

async fn send(socket: &Socket, text: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    loop {
        let mut ready = socket.writable().await?;
        // Else the buffer is full.
        if let Ok(sent) = ready.try_io(|socket| socket::send(socket.as_fd(), text, descriptors)) {
            return sent;
        }
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

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
