//! Against a shim that says what the test wants.

use super::execs::Running;
use super::*;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FlockOperation, flock};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::task::JoinHandle;
use wharf_shim_api::{Exec, ExecStage, KnownExec, KnownExecs, Message, SOCKET, VERSION};

/// A shim that only listens, and says what the test wants.
struct Fake {
    folder: tempfile::TempDir,
    listener: OwnedFd,
    _log: std::fs::File,
}

impl Fake {
    fn new() -> Self {
        Self::of(tempfile::tempdir().unwrap())
    }

    /// Of the task in this folder.
    fn of(folder: tempfile::TempDir) -> Self {
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

fn socket_has_something(socket: &OwnedFd) -> bool {
    let mut poll = [PollFd::new(socket, PollFlags::IN)];
    rustix::event::poll(&mut poll, Some(&Timespec::default())).unwrap() > 0
}

async fn socket_has_ended(socket: &OwnedFd) -> bool {
    let socket = socket.try_clone().unwrap();
    let receive = move || socket::receive(&socket, &mut [0; 16]).unwrap().0 == 0;
    tokio::task::spawn_blocking(receive).await.unwrap()
}

fn say(socket: &OwnedFd, message: &Message) {
    let text = serde_json::to_vec(message).unwrap();
    socket::send(socket.as_fd(), &text, &[]).unwrap();
}

fn state(execs: &[&str], known: Option<KnownExecs>) -> Message {
    Message::Reply(Reply::State {
        version: VERSION,
        pid: 1,
        started: true,
        execs: execs.iter().map(|exec| (*exec).to_owned()).collect(),
        out_of_memory: 3,
        known,
    })
}

/// Of an exec `e`.
fn known(stage: Option<ExecStage>) -> Option<KnownExecs> {
    let id = "e".to_owned();
    let execs = stage.map(|stage| KnownExec { id, stage });
    Some(KnownExecs {
        execs: execs.into_iter().collect(),
        whole: true,
    })
}

fn some_exec() -> Exec {
    let exec = serde_json::json!({
        "id": "e",
        "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}},
        "user": "",
        "streams": {"stdin": false, "stdout": false, "stderr": false},
        "behind": true,
    });
    serde_json::from_value(exec).unwrap()
}

/// A connection that has sent the exec `e`, and what becomes of it.
struct Sent {
    fake: Fake,
    far: OwnedFd,
    exec: JoinHandle<Result<Running, TaskError>>,
}

impl Sent {
    fn new() -> Self {
        let fake = Fake::new();
        let (connection, far) = fake.connection();
        let exec = some_exec();
        let exec = tokio::spawn(async move { connection.exec(exec, &[]).await });
        Self { fake, far, exec }
    }

    async fn asked(&self) {
        assert!(matches!(requested(&self.far).await, Request::Exec(exec) if exec.id == "e"));
    }

    /// The connection is lost; on the next one the shim's state is asked for first.
    async fn lost(&mut self) {
        let (other, _) = socket::pair().unwrap();
        drop(std::mem::replace(&mut self.far, other));
        self.far = self.fake.accept().await;
        assert!(matches!(requested(&self.far).await, Request::State));
    }

    fn made(&self, reply: Reply) {
        let exec = "e".to_owned();
        say(&self.far, &Message::Made { exec, reply });
    }

    async fn ran(self) -> Running {
        self.exec.await.unwrap().unwrap()
    }
}

const BEGUN: Message = Message::Reply(Reply::Begun);
const PROCESS: Reply = Reply::Process { pid: 7 };

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
    say(&far, &state(&["kept"], None));
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

/// It was on its way when the shim closed: nothing has run, and nobody need know.
#[tokio::test]
async fn an_exec_that_never_came_is_sent_anew() {
    let mut sent = Sent::new();
    // It is in the socket, unread.
    while !socket_has_something(&sent.far) {
        tokio::task::yield_now().await;
    }
    sent.lost().await;
    say(&sent.far, &state(&[], known(None)));
    sent.asked().await;
    say(&sent.far, &BEGUN);
    sent.made(PROCESS);
    assert_eq!(sent.ran().await.0, 7);
}

#[tokio::test]
async fn an_exec_that_is_being_made_is_waited_for_on_the_next_connection() {
    for begun in [false, true] {
        let mut sent = Sent::new();
        sent.asked().await;
        if begun {
            say(&sent.far, &BEGUN);
        }
        sent.lost().await;
        say(&sent.far, &state(&[], known(Some(ExecStage::Making))));
        sent.made(PROCESS);
        assert_eq!(sent.ran().await.0, 7);
    }
}

#[tokio::test]
async fn what_an_exec_has_come_to_meanwhile_is_told() {
    let status = wharf_shim_api::ExitStatus {
        code: 3,
        oom_killed: false,
        at: 1,
    };
    let running = ExecStage::Running { pid: 7 };
    let ended = ExecStage::Ended { pid: 7, status };
    for stage in [running, ended] {
        let over = matches!(stage, ExecStage::Ended { .. });
        let mut sent = Sent::new();
        sent.asked().await;
        sent.lost().await;
        say(&sent.far, &state(&["e"], known(Some(stage))));
        let (pid, exit) = sent.ran().await;
        assert_eq!(pid, 7);
        let code = exit.borrow().map(|status| status.code);
        assert_eq!(code, over.then_some(3));
    }
    let mut sent = Sent::new();
    sent.asked().await;
    sent.lost().await;
    let (kind, message) = (FailureKind::NotFound, "no such file".to_owned());
    let failed = ExecStage::Failed { kind, message };
    say(&sent.far, &state(&[], known(Some(failed))));
    let failure = sent.exec.await.unwrap().map(|(pid, _)| pid);
    assert!(matches!(
        failure,
        Err(TaskError::Runtime {
            kind: FailureKind::NotFound,
            ..
        })
    ));
}

/// What was sent on the new connection already is none of what its state is about.
#[tokio::test]
async fn an_exec_that_is_asked_for_before_the_state_is_told_is_not_lost() {
    let mut sent = Sent::new();
    while !socket_has_something(&sent.far) {
        tokio::task::yield_now().await;
    }
    sent.lost().await;
    say(&sent.far, &state(&[], known(None)));
    // It is on its way again when this connection is lost, too; a later one's state counts.
    sent.asked().await;
    sent.lost().await;
    say(
        &sent.far,
        &state(&[], known(Some(ExecStage::Running { pid: 7 }))),
    );
    assert_eq!(sent.ran().await.0, 7);
    let fake = Fake::new();
    let (connection, far) = fake.connection();
    drop(far);
    let far = fake.accept().await;
    assert!(matches!(requested(&far).await, Request::State));
    let exec = Exec {
        id: "later".to_owned(),
        process: Default::default(),
        user: String::new(),
        streams: Default::default(),
        behind: true,
    };
    let exec = tokio::spawn(async move { connection.exec(exec, &[]).await.map(|(pid, _)| pid) });
    assert!(matches!(requested(&far).await, Request::Exec(_)));
    say(&far, &state(&[], known(None)));
    say(&far, &BEGUN);
    let exec_id = "later".to_owned();
    say(
        &far,
        &Message::Made {
            exec: exec_id,
            reply: PROCESS,
        },
    );
    assert_eq!(exec.await.unwrap().unwrap(), 7);
}

/// An older shim does not tell what it makes: who asked is told so, and what runs nevertheless has no owner.
#[tokio::test]
async fn an_exec_that_must_be_given_up_is_killed() {
    for runs in [true, false] {
        let mut sent = Sent::new();
        sent.asked().await;
        sent.lost().await;
        let running: &[&str] = if runs { &["e"] } else { &[] };
        say(&sent.far, &state(running, None));
        let Sent {
            fake: _fake,
            far,
            exec,
        } = sent;
        let answer = exec.await.unwrap().map(|(pid, _)| pid);
        assert!(matches!(answer, Err(TaskError::Runtime { message, .. }) if message == LOST));
        if !runs {
            let exec = "e".to_owned();
            let reply = PROCESS;
            say(&far, &Message::Made { exec, reply });
        }
        let killed = requested(&far).await;
        assert!(
            matches!(killed, Request::Kill { exec: Some(id), signal: 9 } if id == "e"),
            "{runs}"
        );
    }
}

/// A shim that closes with requests before it has the kernel say "reset", with its last words behind that.
#[tokio::test]
async fn what_was_said_before_a_reset_is_heard() {
    let fake = Fake::new();
    let (connection, far) = fake.connection();
    let mut ended = connection.watch(Some("e".to_owned()));
    let asking = tokio::spawn({
        let connection = connection.clone();
        async move { connection.ask(&Request::Start, &[]).await }
    });
    while !socket_has_something(&far) {
        tokio::task::yield_now().await;
    }
    let status = wharf_shim_api::ExitStatus {
        code: 3,
        oom_killed: false,
        at: 1,
    };
    let exec = Some("e".to_owned());
    // Both before the reader has its turn.
    say(&far, &Message::Exited { exec, status });
    drop(far);
    let told = *ended.wait_for(Option::is_some).await.unwrap();
    assert_eq!(told.map(|status| status.code), Some(3));
    drop(fake);
    assert!(asking.await.unwrap().is_err());
}

/// It may have been the answer that somebody waits for, so no later one is for anybody; all else counts.
#[tokio::test]
async fn after_a_lost_message_only_news_are_heard() {
    let fake = Fake::new();
    let (connection, far) = fake.connection();
    let mut ended = connection.watch(Some("e".to_owned()));
    let asking = tokio::spawn({
        let connection = connection.clone();
        async move { connection.ask(&Request::Start, &[]).await }
    });
    assert!(matches!(requested(&far).await, Request::Start));
    let status = wharf_shim_api::ExitStatus {
        code: 3,
        oom_killed: false,
        at: 1,
    };
    let exec = Some("e".to_owned());
    for message in [
        Message::Long,
        Message::Reply(Reply::Done),
        Message::Long,
        Message::Exited { exec, status },
    ] {
        say(&far, &message);
    }
    let told = *ended.wait_for(Option::is_some).await.unwrap();
    assert_eq!(told.map(|status| status.code), Some(3));
    // And the shim is told that nothing more comes.
    assert!(socket_has_ended(&far).await);
    drop(far);
    let _far = fake.accept().await;
    let answer = asking.await.unwrap();
    assert!(matches!(answer, Err(TaskError::Runtime { message, .. }) if message == LOST));
}

/// Its answer would have gone to the next one who asks.
#[tokio::test]
async fn a_place_that_is_given_back_gets_no_answer() {
    let fake = Fake::new();
    let (connection, far) = fake.connection();
    let (sender, _answer) = oneshot::channel();
    drop(Place::of(&connection, Waiter::Asker(sender)));
    let asking = async { connection.ask(&Request::Start, &[]).await };
    let answering = async {
        assert!(matches!(requested(&far).await, Request::Start));
        say(&far, &Message::Reply(Reply::Done));
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert!(matches!(answer, Ok(Reply::Done)));
}

/// It may have run, and its end be among what is lost.
#[tokio::test]
async fn an_exec_that_the_shim_knows_no_more_is_not_run_again_after_a_lost_message() {
    let mut sent = Sent::new();
    sent.asked().await;
    say(&sent.far, &BEGUN);
    say(&sent.far, &Message::Long);
    assert!(socket_has_ended(&sent.far).await);
    sent.lost().await;
    say(&sent.far, &state(&[], known(None)));
    let answer = sent.exec.await.unwrap().map(|(pid, _)| pid);
    assert!(matches!(answer, Err(TaskError::Runtime { message, .. }) if message == LOST));
}

/// Each further attempt would leave another connection with it.
#[tokio::test]
async fn a_shim_that_cannot_be_understood_is_hung_up_on() {
    let root = tempfile::tempdir().unwrap();
    let program = crate::ShimProgram::open(Path::new("/bin/true")).unwrap();
    let tasks = crate::Tasks::new(root.path(), program, "here").unwrap();
    let folder = tempfile::Builder::new()
        .prefix("task")
        .tempdir_in(root.path().join("tasks"))
        .unwrap();
    let id = folder.path().file_name().unwrap().to_str().unwrap();
    let id = id.to_owned();
    let fake = Fake::of(folder);
    let loaded = tokio::spawn(async move { tasks.load(&id).await.map(drop) });
    let far = fake.accept().await;
    assert!(matches!(requested(&far).await, Request::State));
    say(&far, &Message::Reply(Reply::Done));
    loaded.await.unwrap().unwrap_err();
    assert!(socket_has_ended(&far).await);
}

/// Who asked was told that there was no answer, and may have asked for another.
#[tokio::test]
async fn an_exec_that_is_begun_too_late_is_killed() {
    let fake = Fake::new();
    let (connection, far) = fake.connection();
    connection.silent.store(true, Ordering::Relaxed);
    let asked = connection.exec(some_exec(), &[]).await;
    assert!(matches!(asked, Err(TaskError::Silent)), "{asked:?}");
    assert!(matches!(requested(&far).await, Request::Exec(_)));
    say(&far, &BEGUN);
    let exec = "e".to_owned();
    let reply = PROCESS;
    say(&far, &Message::Made { exec, reply });
    let killed = requested(&far).await;
    assert!(
        matches!(&killed, Request::Kill { exec: Some(exec), signal: 9 } if exec == "e"),
        "{killed:?}"
    );
    assert!(!connection.silent.load(Ordering::Relaxed));
}
