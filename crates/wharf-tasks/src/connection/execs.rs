//! Execs that were asked for, and what becomes of them when the connection is lost.
//!
//! ```text
//!  sent ──Begun──▶ being made ──Made──▶ runs ──Exited──▶ forgotten
//!    │                 │                 │
//!    └───── the connection is lost ──────┘ ── State ──▶ where it stands by now; sent anew if it never came;
//!                                                      lost, and killed, if the shim cannot tell
//! ```

use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use wharf_shim_api::{Exec, ExecStage, KnownExecs, Reply, Request};

use super::{Connection, Waiter, lock, lost_answer, outcome};
use crate::{ExitStatus, TaskError};

/// `SIGKILL`
const KILL: i32 = 9;
/// How long a shim may take to begin one; another runtime than the shim's own is waited for in it.
const BEGINNING: Duration = Duration::from_secs(30);

/// What has become of an exec that was asked for.
#[derive(Debug)]
enum Made {
    /// The shim has answered; [`Reply::Begun`] is no answer.
    Answered(Reply),
    /// The shim has never seen it.
    NeverCame,
}

/// The pid of an exec, and where its end is told.
pub(crate) type Running = (i32, watch::Receiver<Option<ExitStatus>>);

/// Who waits for an exec.
#[derive(Debug)]
struct Asker {
    /// Told that it is being made, once.
    begun: Option<oneshot::Sender<()>>,
    made: oneshot::Sender<Made>,
}

/// What an [`Asker`] hears.
type Told = (oneshot::Receiver<()>, oneshot::Receiver<Made>);

#[derive(Debug, Default)]
pub(super) struct Execs {
    /// Those that have no program yet.
    making: Mutex<HashMap<String, Asker>>,
    /// Those that were given up, and may yet come to run.
    unowned: Mutex<HashSet<String>>,
}

impl Execs {
    fn register(&self, exec: &str) -> Told {
        let ((begun, begins), (made, receiver)) = (oneshot::channel(), oneshot::channel());
        let begun = Some(begun);
        lock(&self.making).insert(exec.to_owned(), Asker { begun, made });
        (begins, receiver)
    }

    /// It is being made.
    fn begun(&self, exec: &str) {
        let mut making = lock(&self.making);
        let begun = making.get_mut(exec).and_then(|asker| asker.begun.take());
        if let Some(begun) = begun {
            // As below.
            let _ = begun.send(());
        }
    }

    /// Tells who waits for it; false if nobody is registered.
    fn tell(&self, exec: &str, made: Made) -> bool {
        let asker = lock(&self.making).remove(exec);
        // Who asked may have gone.
        asker.map(|asker| asker.made.send(made)).is_some()
    }

    /// Nobody waits for it.
    pub(super) fn forget(&self, exec: &str) {
        lock(&self.making).remove(exec);
    }

    /// It has ended.
    pub(super) fn over(&self, exec: &str) {
        self.forget(exec);
        lock(&self.unowned).remove(exec);
    }

    pub(super) fn clear(&self) {
        lock(&self.making).clear();
        lock(&self.unowned).clear();
    }
}

/// What the shim's state says of an exec that was sent on an earlier connection.
enum Fate {
    Stands(ExecStage),
    NeverCame,
    /// It cannot be told; `runs` if it is there nevertheless.
    Lost {
        runs: bool,
    },
}

impl Connection {
    /// Runs an exec: its pid once its program runs, and where its end is told.
    pub(crate) async fn exec(
        &self,
        exec: Exec,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Running, TaskError> {
        let who = Some(exec.id.clone());
        let request = Request::Exec(Box::new(exec));
        let made = self.make(&who, &request, descriptors).await;
        if made.is_err() {
            self.forget(&who);
        }
        if let (Err(TaskError::Silent), Some(exec)) = (&made, who) {
            lock(&self.execs.unowned).insert(exec);
        }
        made
    }

    async fn make(
        &self,
        who: &super::Who,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Running, TaskError> {
        let id = who.as_deref().unwrap_or_default();
        let register = || {
            let receivers = (self.execs.register(id), self.watch(who.clone()));
            (Waiter::Exec(id.to_owned()), receivers)
        };
        loop {
            let delivered = self.deliver(request, descriptors, register);
            let ((begun, mut made), exit) = self.in_time(BEGINNING, delivered).await?;
            let first = async {
                tokio::select! {
                    biased;
                    answer = &mut made => Ok(Some(answer)),
                    Ok(()) = begun => Ok(None),
                }
            };
            let answer = match self.in_time(BEGINNING, first).await? {
                Some(answer) => answer,
                // What its program needs may take its time.
                None => made.await,
            };
            let reply = match answer {
                Ok(Made::NeverCame) => continue,
                Ok(Made::Answered(reply)) => outcome(Ok(reply))?,
                Err(gone) => outcome(Err(gone))?,
            };
            return match reply {
                Reply::Process { pid } => Ok((pid, exit)),
                _ => Err(TaskError::Shim("another answer than a process")),
            };
        }
    }

    /// All that were sent and have not ended.
    pub(super) fn known_execs(&self) -> Vec<String> {
        lock(&self.exits).keys().flatten().cloned().collect()
    }

    /// The answer to the request itself.
    pub(super) fn exec_answered(self: &Arc<Self>, exec: &str, reply: Reply) {
        match reply {
            Reply::Begun => self.execs.begun(exec),
            reply => self.made(exec, reply),
        }
    }

    /// It runs its program, or could not be made.
    pub(super) fn made(self: &Arc<Self>, exec: &str, reply: Reply) {
        let runs = matches!(reply, Reply::Process { .. });
        let told = self.execs.tell(exec, Made::Answered(reply));
        let unowned = !told && lock(&self.execs.unowned).remove(exec);
        if unowned && runs {
            self.kill_unowned(exec);
        }
    }

    /// What `execs`, sent on an earlier connection, have come to while nobody listened.
    pub(super) fn caught_up(self: &Arc<Self>, execs: Vec<String>, state: Reply) {
        let (running, known) = match state {
            Reply::State {
                execs,
                known,
                out_of_memory,
                ..
            } => {
                self.out_of_memory(out_of_memory);
                (execs, known)
            }
            // Of no shim that there is.
            _ => (Vec::new(), None),
        };
        // What has come and gone while nobody heard it would look as if it had never come.
        let heard = !self.unheard.swap(false, Ordering::Relaxed);
        for exec in execs {
            let fate = match &known {
                Some(known) => fate(&exec, known, heard),
                // An older shim tells those that run.
                None => Fate::Lost {
                    runs: running.contains(&exec),
                },
            };
            self.meet(exec, fate);
        }
    }

    fn meet(self: &Arc<Self>, exec: String, fate: Fate) {
        let process = |pid| Reply::Process { pid };
        match fate {
            Fate::Stands(ExecStage::Making) => self.execs.begun(&exec),
            Fate::Stands(ExecStage::Running { pid }) => self.made(&exec, process(pid)),
            Fate::Stands(ExecStage::Failed { kind, message }) => {
                self.made(&exec, Reply::Failed { kind, message });
            }
            Fate::Stands(ExecStage::Ended { pid, status }) => {
                self.made(&exec, process(pid));
                self.ended(Some(exec), (&status).into());
            }
            Fate::NeverCame => {
                if !self.execs.tell(&exec, Made::NeverCame) {
                    self.ended(Some(exec), ExitStatus::lost());
                }
            }
            Fate::Lost { runs } => self.lose(exec, runs),
        }
    }

    /// Gives an exec up of which the shim cannot tell enough; whatever runs of it must not go on without an owner.
    fn lose(self: &Arc<Self>, exec: String, runs: bool) {
        if !self.execs.tell(&exec, Made::Answered(lost_answer())) {
            // Its program has run: it goes on, or has ended unseen.
            if !runs {
                self.ended(Some(exec), ExitStatus::lost());
            }
            return;
        }
        match runs {
            true => self.kill_unowned(&exec),
            false => drop(lock(&self.execs.unowned).insert(exec)),
        }
    }

    /// Nobody waits for that.
    fn kill_unowned(self: &Arc<Self>, exec: &str) {
        let (connection, exec) = (self.clone(), Some(exec.to_owned()));
        tokio::spawn(async move {
            let signal = KILL;
            let killed = connection.ask(&Request::Kill { exec, signal }, &[]).await;
            if let Err(error) = killed {
                tracing::debug!(%error, "kill an exec whose making was lost");
            }
        });
    }
}

/// `heard`: nothing that the shim has said is lost.
fn fate(exec: &str, known: &KnownExecs, heard: bool) -> Fate {
    let found = known.execs.iter().find(|one| one.id == exec);
    match found {
        Some(found) => Fate::Stands(found.stage.clone()),
        None if known.whole && heard => Fate::NeverCame,
        None => Fate::Lost { runs: false },
    }
}
