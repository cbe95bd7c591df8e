//! `exec`: further processes in a container that runs.
//!
//! Sessions live in memory only, as in Docker: after a restart of the daemon they are unknown, while their
//! processes go on in the shim's care.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::debug;
use wharf_tasks::{ExecConfig, ExecTask, Task};

use super::{Attachment, Containers, ExecStartOptions, ExecView, NewExec, Shared};
use crate::detach::Keys;
use crate::{EngineError, ErrorKind, Status, View, launch, names, spec};

/// How long a session may take to start when its terminal's size is set (moby `daemon/resize.go`).
const READY: Duration = Duration::from_secs(10);

/// How long an ended session can be asked for (moby `daemon.execCommandGC`).
const KEPT: Duration = Duration::from_secs(300);

/// All exec sessions.
#[derive(Default)]
pub(crate) struct Execs {
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<String, Session>,
    /// Those of a container that have not ended, and those that have.
    live: HashMap<String, BTreeSet<String>>,
    over: HashMap<String, BTreeSet<String>>,
    /// When they ended, in order; some may be forgotten already.
    ends: VecDeque<(Instant, String)>,
}

struct Session {
    view: ExecView,
    started: bool,
    task: Option<ExecTask>,
    /// Whether its process has been started, or could not be.
    ready: watch::Sender<bool>,
    /// Whether it has ended, for those who wait for it.
    ended: watch::Sender<bool>,
}

impl Session {
    fn new(view: ExecView) -> Self {
        Self {
            view,
            started: false,
            task: None,
            ready: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        }
    }
}

impl Sessions {
    fn add(&mut self, view: ExecView, now: Instant) {
        self.expire(now);
        let (id, container) = (view.id.clone(), view.container.clone());
        self.live.entry(container).or_default().insert(id.clone());
        self.by_id.insert(id, Session::new(view));
    }

    fn end(&mut self, id: &str, code: i32, now: Instant) -> bool {
        self.expire(now);
        let Some(session) = self.by_id.get_mut(id) else {
            return false;
        };
        session.view.running = false;
        session.view.exit_code = Some(code);
        session.task = None;
        session.ready.send_replace(true);
        session.ended.send_replace(true);
        let container = session.view.container.clone();
        leave(&mut self.live, &container, id);
        self.over
            .entry(container)
            .or_default()
            .insert(id.to_owned());
        self.ends.push_back((now, id.to_owned()));
        true
    }

    fn remove(&mut self, id: &str) {
        if let Some(session) = self.by_id.remove(id) {
            leave(&mut self.live, &session.view.container, id);
            leave(&mut self.over, &session.view.container, id);
        }
    }

    /// Forgets those that nobody has asked for in time.
    fn expire(&mut self, now: Instant) {
        let old = |at: &Instant| now.saturating_duration_since(*at) >= KEPT;
        while self.ends.front().is_some_and(|(at, _)| old(at))
            && let Some((_, id)) = self.ends.pop_front()
        {
            self.remove(&id);
        }
    }
}

fn leave(ids: &mut HashMap<String, BTreeSet<String>>, container: &str, id: &str) {
    if let Some(of) = ids.get_mut(container) {
        of.remove(id);
        if of.is_empty() {
            ids.remove(container);
        }
    }
}

impl Execs {
    pub(crate) fn ids_of(&self, container: &str) -> Vec<String> {
        let sessions = self.lock();
        sessions
            .live
            .get(container)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    pub(crate) fn forget(&self, container: &str) {
        let mut sessions = self.lock();
        let live = sessions.live.remove(container).unwrap_or_default();
        let over = sessions.over.remove(container).unwrap_or_default();
        for id in live.iter().chain(&over) {
            sessions.by_id.remove(id);
        }
    }

    /// A run of the container has ended: what nobody has started by then is no more (moby `Daemon.Cleanup`).
    pub(crate) fn forget_idle(&self, container: &str) {
        let mut sessions = self.lock();
        let live = sessions.live.get(container).cloned().unwrap_or_default();
        for id in live {
            if sessions.by_id.get(&id).is_some_and(|one| !one.started) {
                sessions.remove(&id);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Session) -> T,
    ) -> Result<T, EngineError> {
        let none = || EngineError::NoSuchExec(id.to_owned());
        self.lock().by_id.get_mut(id).map(change).ok_or_else(none)
    }
}

/// Whether anything goes to its client or comes from him: one without is not kept until the end, as with dockerd. A terminal has
/// no second output.
fn is_heard(exec: &NewExec) -> bool {
    exec.attach_stdin || exec.attach_stdout || exec.attach_stderr && !exec.tty
}

/// Why a runtime would not begin with it, in the words of runc.
fn never_runs(exec: &NewExec) -> Option<String> {
    let folder = &exec.working_dir;
    if !folder.is_empty() && !folder.starts_with('/') {
        return Some("Cwd must be an absolute path".to_owned());
    }
    let nameless = exec.env.iter().find(|variable| variable.starts_with('='))?;
    let words = "unable to start container process: environment variable name can't be empty";
    Some(format!("{words}: {}", wharf_dockerfile::quoted(nameless)))
}

/// Whether a process can be added; `name` is what the container was called by.
fn running(view: &View, name: &str) -> Result<(), EngineError> {
    let id = &view.id;
    match view.state.status {
        Status::Running => Ok(()),
        Status::Paused => Err(EngineError::Conflict(format!(
            "Container {name} is paused, unpause the container before exec"
        ))),
        Status::Restarting => Err(EngineError::restarting(id)),
        _ => Err(EngineError::Conflict(format!(
            "container {id} is not running"
        ))),
    }
}

impl Containers {
    /// Makes an exec session; its id.
    ///
    /// # Errors
    /// If it does not run, or there is no command.
    pub async fn exec_create(
        &self,
        container: &str,
        mut exec: NewExec,
    ) -> Result<String, EngineError> {
        if exec.cmd.is_empty() {
            return Err(EngineError::Invalid("No exec command specified".to_owned()));
        }
        let view = self.find(container)?.now();
        running(&view, container)?;
        if exec.user.is_empty() {
            exec.user.clone_from(&view.config.user);
        }
        if let (Err(_), Some(keys)) = (Keys::parse(exec.detach_keys.as_deref()), &exec.detach_keys)
        {
            let text = format!("Invalid escape keys ({keys}) provided");
            return Err(EngineError::Invalid(text));
        }
        let id = names::new_id();
        let command = spoken(&exec.cmd);
        let session = ExecView {
            id: id.clone(),
            container: view.id.clone(),
            spec: exec,
            running: false,
            exit_code: None,
            pid: 0,
        };
        self.shared.execs.lock().add(session, Instant::now());
        self.emit_exec(&view, &format!("exec_create: {command}"), &id, &[]);
        Ok(id)
    }

    /// Starts an exec session; `None` if nobody attaches.
    ///
    /// # Errors
    /// If it has been started before, its container does not run, or its program cannot be.
    pub async fn exec_start(
        &self,
        exec: &str,
        options: ExecStartOptions,
    ) -> Result<Option<Attachment>, EngineError> {
        let session = self.exec_inspect(exec)?;
        let entry = self.find(&session.container)?;
        let view = entry.now();
        running(&view, &session.container)?;
        let already = self.shared.execs.change(exec, |session| {
            std::mem::replace(&mut session.started, true)
        })?;
        if already {
            let text = match session.running {
                true => format!("Error: Exec command {exec} is already running"),
                false => format!("Error: Exec command {exec} has already run"),
            };
            return Err(EngineError::Conflict(text));
        }
        self.emit_exec(
            &view,
            &format!("exec_start: {}", spoken(&session.spec.cmd)),
            exec,
            &[],
        );
        let task = entry.task();
        let task = task.inspect_err(|_| self.exec_never_ran(exec))?;
        if let Some(reason) = never_runs(&session.spec) {
            self.exec_never_ran(exec);
            return Err(EngineError::Start {
                message: format!("OCI runtime exec failed: exec failed: {reason}: unknown"),
                code: 126,
                kind: ErrorKind::InvalidParameter,
            });
        }
        let config = spec::exec(&view, exec, &session.spec, options)
            .inspect_err(|_| self.exec_never_ran(exec))?;
        // To its end, whether or not who asked is still there: somebody must know what has become of the process.
        let begun = tokio::spawn({
            let (this, exec, view) = (self.clone(), exec.to_owned(), view.clone());
            async move { this.exec_begin(&exec, &view, &task, config).await }
        });
        let started = begun.await.map_err(|error| EngineError::failed(&error))??;
        if options.detach {
            return Ok(None);
        }
        let keys = Keys::parse(session.spec.detach_keys.as_deref())?;
        let Some(stream) = started.take_stream() else {
            return Ok(None);
        };
        let tty = session.spec.tty;
        if !is_heard(&session.spec) {
            return Ok(Some(Attachment::of_nothing(tty).taken_for(options.tty)));
        }
        let ended = self
            .shared
            .execs
            .change(exec, |session| session.ended.subscribe())?;
        let attached = Attachment::ready(stream, tty, session.spec.attach_stdin, keys);
        let attached = attached.taken_for(options.tty);
        let (shared, id) = (self.shared.clone(), exec.to_owned());
        let detached = move || shared.emit_view(&view, "exec_detach", &[("execID", id)]);
        let attached = attached.with_end(started.pid(), ended);
        Ok(Some(attached.with_detach(detached)))
    }

    async fn exec_begin(
        &self,
        exec: &str,
        view: &Arc<View>,
        task: &Task,
        config: ExecConfig,
    ) -> Result<ExecTask, EngineError> {
        let error = match task.exec(config).await {
            Ok(started) => {
                self.exec_runs(exec, view, started.clone());
                return Ok(started);
            }
            Err(error) => error,
        };
        let failed = self.exec_failed(exec, &error);
        // A program that cannot be run is no sign of an end.
        let program = matches!(
            failed,
            EngineError::Start {
                code: 126 | 127,
                ..
            }
        );
        Err(match !program && task.ends_soon().await {
            true => EngineError::not_running(&view.id),
            false => failed,
        })
    }

    /// The process of a session that runs.
    pub(crate) fn exec_task(&self, exec: &str) -> Option<ExecTask> {
        let task = self
            .shared
            .execs
            .change(exec, |session| session.task.clone());
        task.ok().flatten()
    }

    /// Its exit code, as soon as it has one.
    pub(crate) async fn exec_code(&self, exec: &str) -> i32 {
        let ended = self
            .shared
            .execs
            .change(exec, |session| session.ended.subscribe());
        if let Ok(mut ended) = ended {
            // A session that is forgotten has ended, too.
            let _ = ended.wait_for(|ended| *ended).await;
        }
        let view = self.exec_inspect(exec).ok();
        view.and_then(|view| view.exit_code).unwrap_or(-1)
    }

    /// Forgets a session that nobody can ask for any more.
    pub(crate) fn exec_forget(&self, exec: &str) {
        self.shared.execs.lock().remove(exec);
    }

    /// Whatever the reason, dockerd 26.1 shows 126.
    fn exec_never_ran(&self, exec: &str) {
        // A session that is forgotten in the meantime needs no exit code.
        self.shared.execs.lock().end(exec, 126, Instant::now());
    }

    fn exec_failed(&self, exec: &str, error: &wharf_tasks::TaskError) -> EngineError {
        let failure = launch::explain(error);
        self.exec_never_ran(exec);
        let (reason, hint) = (failure.reason, failure.hint);
        // dockerd takes anything that is missing for the program.
        let kind = match reason.contains("no such file or directory") {
            true => ErrorKind::InvalidParameter,
            false => failure.kind,
        };
        let message = match launch::is_of_users(&reason) {
            true => reason,
            false => format!(
                "OCI runtime exec failed: exec failed: unable to start container process: {reason}: unknown{hint}"
            ),
        };
        EngineError::Start {
            message,
            code: failure.code,
            kind,
        }
    }

    fn exec_runs(&self, exec: &str, view: &Arc<View>, task: ExecTask) {
        let pid = task.pid();
        // As above: the container may be removed at this moment.
        let _ = self.shared.execs.change(exec, |session| {
            session.view.running = true;
            session.view.pid = pid;
            session.task = Some(task.clone());
            session.ready.send_replace(true);
        });
        let (shared, exec, view) = (self.shared.clone(), exec.to_owned(), view.clone());
        tokio::spawn(async move {
            let status = task.wait().await;
            exec_ended(&shared, &exec, &view, status.code);
        });
    }

    /// It, as it is now.
    ///
    /// # Errors
    /// If there is no such session.
    pub fn exec_inspect(&self, exec: &str) -> Result<ExecView, EngineError> {
        self.shared
            .execs
            .change(exec, |session| session.view.clone())
    }

    /// Sets its terminal's size. One that is not started yet is waited for, but not long; without a terminal there is
    /// nothing to do, which dockerd does not take for an error.
    ///
    /// # Errors
    /// If it has ended, or does not start.
    pub async fn exec_resize(
        &self,
        exec: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), EngineError> {
        let execs = &self.shared.execs;
        let mut ready = execs.change(exec, |session| session.ready.subscribe())?;
        let waited = tokio::time::timeout(READY, ready.wait_for(|ready| *ready));
        let is_late = waited.await.is_err();
        if is_late {
            let text = "timeout waiting for exec session ready";
            return Err(EngineError::Failed(text.to_owned()));
        }
        let (task, tty, pid) = execs.change(exec, |session| {
            let view = &session.view;
            (session.task.clone(), view.spec.tty, view.pid)
        })?;
        let Some(task) = task else {
            if pid == 0 {
                let text = "exec process is not started";
                return Err(EngineError::Invalid(text.to_owned()));
            }
            let text = format!("process does not exist {exec}: not found");
            return Err(EngineError::NotFound(text));
        };
        if !tty {
            return Ok(());
        }
        let resized = task.resize(rows, columns).await;
        resized.map_err(|error| EngineError::failed(&error))
    }

    fn emit_exec(&self, view: &View, action: &str, exec: &str, more: &[(&str, String)]) {
        let mut all = vec![("execID", exec.to_owned())];
        all.extend(more.iter().cloned());
        self.shared.emit_view(view, action, &all);
    }
}

/// The command as dockerd's events have it: the program, a space, its arguments.
fn spoken(command: &[String]) -> String {
    let (program, arguments) = command
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    format!("{program} {}", arguments.join(" "))
}

fn exec_ended(shared: &Shared, exec: &str, view: &View, code: i32) {
    debug!(exec, code, "exec ended");
    let ended = shared.execs.lock().end(exec, code, Instant::now());
    if ended {
        let more = [("execID", exec.to_owned()), ("exitCode", code.to_string())];
        shared.emit_view(view, "exec_die", &more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str, container: &str) -> ExecView {
        ExecView {
            id: id.to_owned(),
            container: container.to_owned(),
            spec: NewExec::default(),
            running: false,
            exit_code: None,
            pid: 0,
        }
    }

    #[test]
    fn sessions_are_forgotten_when_they_have_ended_for_long() {
        let execs = Execs::default();
        let now = Instant::now();
        for (id, container) in [("a", "c"), ("b", "c"), ("d", "other")] {
            execs.lock().add(session(id, container), now);
        }
        assert!(execs.lock().end("a", 0, now));
        assert_eq!(execs.ids_of("c"), ["b"]);
        let code = |id: &str| execs.change(id, |session| session.view.exit_code);
        assert_eq!(code("a").ok(), Some(Some(0)));
        execs.lock().add(session("e", "c"), now + KEPT / 2);
        assert!(code("a").is_ok());
        execs.lock().add(session("f", "c"), now + KEPT);
        assert!(code("a").is_err(), "it is known for ever");
        assert_eq!(execs.ids_of("c"), ["b", "e", "f"]);
        execs.lock().remove("e");
        assert!(!execs.lock().end("e", 0, now));
        execs.lock().end("b", 0, now);
        execs.lock().add(session("g", "c"), now);
        execs.change("g", |session| session.started = true).unwrap();
        execs.forget_idle("c");
        assert_eq!(execs.ids_of("c"), ["g"]);
        execs.forget("c");
        assert!(code("b").is_err() && code("f").is_err() && code("d").is_ok());
        assert!(execs.lock().live.len() == 1 && execs.lock().over.is_empty());
    }
}
