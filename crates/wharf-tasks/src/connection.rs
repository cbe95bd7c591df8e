//! The connection to a shim: requests out, replies and exits in.
//!
//! A shim answers in order, so the replies need no numbers: the queue of those who wait is the order. A reader
//! task takes what comes until the shim closes, which is the last thing it does. One that closes and lives on is
//! connected to again: a shim of another version does so with what it does not understand, and every shim with a
//! daemon that has not read for long.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use wharf_shim_api::{FailureKind, MAX_FILE, MAX_PACKET, Message, Reply, Request};
use wharf_sys::{memfd, socket};

use crate::folder::{TaskRecord, exit_status};
use crate::{ExitStatus, TaskError, load};

/// Who ended: an exec by id, or the first process.
pub(crate) type Who = Option<String>;

type Socket = AsyncFd<OwnedFd>;

#[derive(Debug)]
pub(crate) struct Connection {
    /// `None` once the shim has gone.
    socket: watch::Sender<Option<Arc<Socket>>>,
    /// The task's folder, whoever has its name by the time that the shim is gone.
    folder: OwnedFd,
    /// Held while a request is sent, so that the queue has the order of the socket.
    sending: tokio::sync::Mutex<()>,
    waiting: Mutex<VecDeque<oneshot::Sender<Reply>>>,
    /// Execs that are being made.
    making: Mutex<HashMap<String, oneshot::Sender<Reply>>>,
    exits: Mutex<HashMap<Who, watch::Sender<Option<ExitStatus>>>>,
    /// How often memory has run out.
    out_of_memory: watch::Sender<u64>,
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
            making: Mutex::default(),
            exits: Mutex::default(),
            out_of_memory: watch::Sender::new(0),
        });
        tokio::spawn(read(connection.clone(), record));
        Ok(connection)
    }

    /// Asks, and waits for the answer; a failure of the shim's is an error.
    pub(crate) async fn ask(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Reply, TaskError> {
        let packet = Packet::of(request)?;
        let file = packet.file.iter().map(|file| file.as_fd());
        let descriptors: Vec<BorrowedFd<'_>> = file.chain(descriptors.iter().copied()).collect();
        loop {
            let socket = self.socket.borrow().clone();
            let socket = socket.ok_or(TaskError::Gone)?;
            if let Some(answer) = self.queue(&socket, &packet.text, &descriptors).await? {
                return outcome(answer.await);
            }
            // It has not been sent. The reader finds out whether the shim has another ear for us.
            let mut now = self.socket.subscribe();
            // The sender is in `self`.
            let _ = now.wait_for(|now| !is_same(now, &socket)).await;
        }
    }

    /// Sends, and gives where the answer comes; `None` if nobody is at the other end of `socket` any more.
    async fn queue(
        &self,
        socket: &Arc<Socket>,
        text: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Option<oneshot::Receiver<Reply>>, TaskError> {
        let _order = self.sending.lock().await;
        if !is_same(&self.socket.borrow(), socket) {
            return Ok(None);
        }
        // In the queue before it is on the way: the answer may be here before `send` has returned.
        let (place, answer) = Place::of(self);
        match send(socket, text, descriptors).await {
            Ok(()) => place.keep(),
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(TaskError::Connection("ask", error)),
        }
        // The reader may have ended, and dropped all who waited, before this one stood in the queue.
        if self.socket.borrow().is_none() {
            lock(&self.waiting).clear();
        }
        Ok(Some(answer))
    }

    /// Where it is told what has become of an exec that has begun. Ask before it can have.
    pub(crate) fn watch_making(&self, exec: &str) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.making).insert(exec.to_owned(), sender);
        receiver
    }

    fn made(&self, exec: &str, reply: Reply) {
        if let Some(sender) = lock(&self.making).remove(exec) {
            // Who asked may have gone.
            let _ = sender.send(reply);
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
            lock(&self.making).remove(exec);
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
            lock(&self.making).remove(exec);
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

    /// Goes on with another socket. Who waits for an answer has lost it.
    async fn reconnected(self: &Arc<Self>, socket: Socket) {
        let lost = {
            let _order = self.sending.lock().await;
            self.socket.send_replace(Some(Arc::new(socket)));
            let waiting = std::mem::take(&mut *lock(&self.waiting));
            let making = std::mem::take(&mut *lock(&self.making));
            waiting.into_iter().chain(making.into_values())
        };
        for sender in lost {
            let (kind, message) = (FailureKind::Other, LOST.to_owned());
            let _ = sender.send(Reply::Failed { kind, message });
        }
        let execs: Vec<String> = lock(&self.exits).keys().flatten().cloned().collect();
        tokio::spawn(catch_up(self.clone(), execs));
    }
}

/// What is said to those whose answer is lost.
const LOST: &str = "the connection to the shim of the container was lost";

/// Asks for what was told while nobody was connected; `execs` are those that were known before.
async fn catch_up(connection: Arc<Connection>, execs: Vec<String>) {
    let Ok(Reply::State {
        execs: running,
        out_of_memory,
        ..
    }) = connection.ask(&Request::State, &[]).await
    else {
        return;
    };
    connection.out_of_memory(out_of_memory);
    for exec in execs.into_iter().filter(|exec| !running.contains(exec)) {
        connection.ended(Some(exec), ExitStatus::lost());
    }
}

/// A place in the queue of those who wait, given back when it is dropped: a request that was not sent gets no answer. The
/// order is held meanwhile, so it is the last one.
struct Place<'a>(Option<&'a Connection>);

impl<'a> Place<'a> {
    fn of(connection: &'a Connection) -> (Self, oneshot::Receiver<Reply>) {
        let (sender, answer) = oneshot::channel();
        lock(&connection.waiting).push_back(sender);
        (Self(Some(connection)), answer)
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            lock(&connection.waiting).pop_back();
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

async fn read(connection: Arc<Connection>, record: Option<TaskRecord>) {
    // Filled by the kernel only as far as packets are long, so the pages behind are never touched.
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        let socket = connection.socket.borrow().clone();
        let Some(socket) = socket else { return };
        listen(&connection, &socket, &mut buffer).await;
        match again(&connection).await {
            Some(socket) => connection.reconnected(socket).await,
            None => break,
        }
    }
    close(&connection, record).await;
}

/// Another connection to a shim that has closed this one and lives. One that has left its record is about to end.
async fn again(connection: &Connection) -> Option<Socket> {
    let folder = connection.folder();
    if exit_status(&folder).is_some() || !crate::shim::lives(&folder) {
        return None;
    }
    let socket = load::dial_when_ready(&folder).await?;
    tracing::warn!(folder = %name_of(connection), "a shim has closed the connection, and lives");
    listened_to(socket).ok()
}

/// Takes what comes until the shim closes.
async fn listen(connection: &Connection, socket: &Socket, buffer: &mut [u8]) {
    loop {
        let message = match take(socket, buffer).await {
            Ok((0, _)) => return,
            Ok((length, descriptors)) => (serde_json::from_slice(&buffer[..length]), descriptors),
            Err(error) => {
                tracing::debug!(folder = %name_of(connection), %error, "receive from a shim");
                return;
            }
        };
        let message = match message {
            (Ok(Message::Long), descriptors) => match long(descriptors) {
                Ok(message) => Ok(message),
                // It may be the answer that somebody waits for: without it all later ones would go to the wrong ones.
                Err(error) => {
                    tracing::warn!(folder = %name_of(connection), %error, "a long message of a shim");
                    return;
                }
            },
            (message, _) => message,
        };
        match message {
            Ok(Message::Reply(reply)) => {
                if let Some(sender) = lock(&connection.waiting).pop_front() {
                    // Who asked may have gone.
                    let _ = sender.send(reply);
                }
            }
            Ok(Message::OutOfMemory(times)) => connection.out_of_memory(times),
            Ok(Message::Exited { exec, status }) => connection.ended(exec, (&status).into()),
            Ok(Message::Made { exec, reply }) => connection.made(&exec, reply),
            Ok(Message::Long) => {}
            Err(error) => {
                tracing::warn!(folder = %name_of(connection), %error, "a message of a shim");
            }
        }
    }
}

/// A message that is longer than a packet, from its file.
fn long(descriptors: Vec<OwnedFd>) -> io::Result<Message> {
    let file = descriptors.into_iter().next();
    let file = file.ok_or_else(|| io::Error::other("its file has not come"))?;
    Ok(serde_json::from_slice(&memfd::read(file, MAX_FILE)?)?)
}

/// The folder's name by now, for the log.
fn name_of(connection: &Connection) -> String {
    let name = std::fs::read_link(connection.folder());
    name.map_or_else(|error| error.to_string(), |name| name.display().to_string())
}

async fn take(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    loop {
        let mut ready = socket.readable().await?;
        match ready.try_io(|socket| socket::receive(socket.as_fd(), buffer)) {
            Ok(Err(error)) if is_gone(&error) => return Ok((0, Vec::new())),
            Ok(taken) => return taken,
            Err(_) => {}
        }
    }
}

/// The shim has gone. If it has left no record of the end, it was killed: so is what it looked after.
async fn close(connection: &Connection, record: Option<TaskRecord>) {
    let status = match exit_status(&connection.folder()) {
        Some(status) => (&status).into(),
        None => {
            if let Some(record) = record {
                load::kill_leftovers(record).await;
            }
            ExitStatus::lost()
        }
    };
    connection.socket.send_replace(None);
    lock(&connection.waiting).clear();
    lock(&connection.making).clear();
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FlockOperation, flock};
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    use wharf_shim_api::{SOCKET, VERSION};

    /// A shim that only listens, and says what the test wants.
    struct Fake {
        folder: tempfile::TempDir,
        listener: OwnedFd,
        _log: std::fs::File,
    }

    impl Fake {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let log = std::fs::File::create(folder.path().join(crate::shim::LOG)).unwrap();
            flock(&log, FlockOperation::LockExclusive).unwrap();
            let flags = SocketFlags::CLOEXEC;
            let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
            let listener = rustix::net::socket_with(family, kind, flags, None).unwrap();
            let address = SocketAddrUnix::new(folder.path().join(SOCKET)).unwrap();
            rustix::net::bind(&listener, &address).unwrap();
            rustix::net::listen(&listener, 4).unwrap();
            let _log = log;
            Self {
                folder,
                listener,
                _log,
            }
        }

        fn connection(&self) -> (Arc<Connection>, OwnedFd) {
            let (near, far) = socket::pair().unwrap();
            let connection = Connection::new(near, self.folder.path(), None).unwrap();
            (connection, far)
        }

        async fn accept(&self) -> OwnedFd {
            let listener = self.listener.try_clone().unwrap();
            let accept = move || rustix::net::accept(&listener).unwrap();
            tokio::task::spawn_blocking(accept).await.unwrap()
        }
    }

    async fn requested(socket: &OwnedFd) -> Request {
        let socket = socket.try_clone().unwrap();
        let receive = move || {
            let mut buffer = vec![0; MAX_PACKET];
            let (length, _) = socket::receive(&socket, &mut buffer).unwrap();
            serde_json::from_slice(&buffer[..length]).unwrap()
        };
        tokio::task::spawn_blocking(receive).await.unwrap()
    }

    fn say(socket: &OwnedFd, message: &Message) {
        let text = serde_json::to_vec(message).unwrap();
        socket::send(socket.as_fd(), &text, &[]).unwrap();
    }

    #[tokio::test]
    async fn a_shim_that_closes_and_lives_is_connected_to_again() {
        let fake = Fake::new();
        let (connection, far) = fake.connection();
        let mut first = connection.watch(None);
        let [mut lost, kept] = ["lost", "kept"].map(|exec| connection.watch(Some(exec.to_owned())));
        let asking = tokio::spawn({
            let connection = connection.clone();
            async move { connection.ask(&Request::Start, &[]).await }
        });
        assert!(matches!(requested(&far).await, Request::Start));
        drop(far);
        let far = fake.accept().await;
        let answer = asking.await.unwrap();
        assert!(matches!(answer, Err(TaskError::Runtime { message, .. }) if message == LOST));
        // What was missed is asked for.
        assert!(matches!(requested(&far).await, Request::State));
        say(
            &far,
            &Message::Reply(Reply::State {
                version: VERSION,
                pid: 1,
                started: true,
                execs: vec!["kept".to_owned()],
                out_of_memory: 3,
            }),
        );
        lost.wait_for(Option::is_some).await.unwrap();
        assert_eq!(*connection.watch_memory().borrow(), 3);
        assert!(kept.borrow().is_none() && first.borrow_and_update().is_none());
        // And it goes on.
        let asking = async { connection.ask(&Request::Pause, &[]).await };
        let answering = async {
            assert!(matches!(requested(&far).await, Request::Pause));
            say(&far, &Message::Reply(Reply::Done));
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert!(matches!(answer, Ok(Reply::Done)));
        // The end with a record is an end.
        let status = r#"{"code":3,"oom_killed":false,"at":1}"#;
        std::fs::write(fake.folder.path().join(wharf_shim_api::EXIT_FILE), status).unwrap();
        drop(far);
        let status = first.wait_for(Option::is_some).await.unwrap();
        assert_eq!(status.map(|status| status.code), Some(3));
    }

    /// Its answer would have gone to the next one who asks.
    #[tokio::test]
    async fn a_place_that_is_given_back_gets_no_answer() {
        let fake = Fake::new();
        let (connection, far) = fake.connection();
        let (place, _answer) = Place::of(&connection);
        drop(place);
        let asking = async { connection.ask(&Request::Start, &[]).await };
        let answering = async {
            assert!(matches!(requested(&far).await, Request::Start));
            say(&far, &Message::Reply(Reply::Done));
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert!(matches!(answer, Ok(Reply::Done)));
    }
}
