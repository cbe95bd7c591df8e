//! The shim's state and its loop.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use oci_spec::runtime::Hooks;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use wharf_cgroups::{Cgroup, OomWatch};
use wharf_logs::Stream;
use wharf_runtime::Created;
use wharf_shim_api::{ExecStage, ExitStatus, FailureKind, Message, Reply, Request};
use wharf_sys::signals::SignalFd;

use super::control::{self, Connection};
use super::exit;
use super::foreign::Foreign;
use super::making::Making;
use super::output::Log;
use super::process::Process;
use super::unreported::UnreportedExecs;

/// What a service manager or a terminal could send us: a shim ends with its container, not before.
const IGNORED: &[i32] = &[1, 2, 3, 13, 15];
/// `SIGKILL`
const KILL: i32 = 9;
/// How long a control group may take to become empty after its last process was reaped.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long lines may take to the logger after the end.
const LAST_LINES: Duration = Duration::from_secs(10);

/// The container, once it is made.
pub(crate) struct Container {
    pub(crate) cgroup: Option<Cgroup>,
    /// Until it is started.
    pub(crate) waiting: Option<Created>,
    /// For execs: the same filter, and the spec's default streams.
    pub(crate) seccomp: Option<wharf_runtime::Filter>,
    pub(crate) groups: Vec<String>,
    /// The name of its session keyring.
    pub(crate) keyring: String,
    /// Its hooks, and OCI's state for them.
    pub(crate) hooks: Option<(Hooks, Value)>,
    pub(crate) own_pids: bool,
    /// Another runtime, if that makes the processes.
    pub(crate) foreign: Option<Foreign>,
    /// None where the host has no memory controller.
    pub(crate) oom: Option<OomWatch>,
}

impl Container {
    /// Whether the first process runs its program.
    pub(crate) fn is_started(&self) -> bool {
        match &self.foreign {
            Some(foreign) => foreign.started,
            None => self.waiting.is_none(),
        }
    }
}

/// Everything that the loop works on.
pub(crate) struct Shim {
    pub(crate) folder: PathBuf,
    listener: OwnedFd,
    connections: Vec<Connection>,
    /// Blocks what would end us; never read.
    _signals: SignalFd,
    pub(crate) container: Option<Container>,
    /// The first process, then execs.
    pub(crate) processes: Vec<Process>,
    /// Execs that are being made; `None` where one has come to its end.
    pub(crate) making: Vec<Option<Making>>,
    pub(crate) log: Log,
    nothing: Log,
    /// The container could not be made.
    pub(crate) failed: bool,
    /// When the end was recorded.
    recorded: Option<Instant>,
    /// How often memory has run out.
    pub(crate) out_of_memory: u64,
    pub(crate) unreported: UnreportedExecs,
}

/// What a descriptor in the poll set stands for.
#[derive(Clone, Copy)]
enum Source {
    Listener,
    Memory,
    Children,
    Connection(usize),
    Making(usize),
    Exit(usize),
    Output(usize, Stream),
    Input(usize),
    Client(usize, usize),
    Log,
}

impl Shim {
    pub(crate) fn begin(folder: PathBuf) -> io::Result<Self> {
        // Not the daemon's session: what a terminal or a service manager does to that one is not for us.
        let _ = rustix::process::setsid();
        // Whatever a daemon, or who started it, has let slip: it would stay open as long as the container lives.
        let streams = [
            rustix::stdio::stdin(),
            rustix::stdio::stdout(),
            rustix::stdio::stderr(),
        ];
        wharf_sys::process::close_all_but(&streams)?;
        super::name::of_process(&folder);
        let hidden = rustix::process::DumpableBehavior::NotDumpable;
        rustix::process::set_dumpable_behavior(hidden)?;
        std::env::set_current_dir("/")?;
        let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        let mut first = Connection::new(control)?;
        first.knows_execs = true;
        let listener = control::listen_in(rustix::stdio::stdout())?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        Ok(Self {
            listener,
            folder,
            connections: vec![first],
            _signals: SignalFd::new(IGNORED)?,
            container: None,
            processes: Vec::new(),
            making: Vec::new(),
            log: Log::none(),
            nothing: Log::none(),
            failed: false,
            recorded: None,
            out_of_memory: 0,
            unreported: UnreportedExecs::default(),
        })
    }

    /// Runs until there is nothing left to look after.
    pub(crate) fn live(mut self) -> io::Result<()> {
        while !self.is_over() {
            let ready = self.wait()?;
            for (source, events) in ready {
                self.handle(source, events);
            }
            self.tidy();
        }
        self.remove_cgroup();
        Ok(())
    }

    fn is_over(&self) -> bool {
        if self.container.is_none() {
            return self.failed || self.connections.is_empty();
        }
        let behind = |process: &Process| process.streams.is_behind();
        let Some(recorded) = self.recorded else {
            return false;
        };
        let waits = self.log.waits_for().is_some() && recorded.elapsed() < LAST_LINES;
        !waits && !self.processes.iter().any(behind)
    }

    /// How long the log may still take.
    fn patience(&self) -> Option<Timespec> {
        self.log.waits_for()?;
        let left = LAST_LINES.saturating_sub(self.recorded?.elapsed());
        Timespec::try_from(left).ok()
    }

    fn wait(&self) -> io::Result<Vec<(Source, PollFlags)>> {
        let mut sources = vec![Source::Listener];
        let mut polled = vec![PollFd::new(&self.listener, PollFlags::IN)];
        let oom = self.container.as_ref().and_then(|one| one.oom.as_ref());
        if let Some(oom) = oom {
            sources.push(Source::Memory);
            polled.push(PollFd::new(oom, PollFlags::IN));
        }
        let foreign = self.container.as_ref().and_then(|one| one.foreign.as_ref());
        if let Some(foreign) = foreign {
            sources.push(Source::Children);
            polled.push(PollFd::from_borrowed_fd(foreign.children(), PollFlags::IN));
        }
        for (index, connection) in self.connections.iter().enumerate() {
            sources.push(Source::Connection(index));
            polled.push(PollFd::from_borrowed_fd(connection.socket(), PollFlags::IN));
        }
        for (index, making) in self.making.iter().enumerate() {
            if let Some(making) = making {
                sources.push(Source::Making(index));
                polled.push(PollFd::from_borrowed_fd(making.socket(), PollFlags::IN));
            }
        }
        for (index, process) in self.processes.iter().enumerate() {
            let held = process.exec.is_none() && self.log.is_behind();
            add_process(index, process, held, &mut sources, &mut polled);
        }
        if let Some(pipe) = self.log.waits_for() {
            sources.push(Source::Log);
            polled.push(PollFd::from_borrowed_fd(pipe, PollFlags::OUT));
        }
        let patience = self.patience();
        loop {
            match poll(&mut polled, patience.as_ref()) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let events = polled.iter().map(PollFd::revents);
        let ready = sources
            .into_iter()
            .zip(events)
            .filter(|(_, events)| !events.is_empty());
        Ok(ready.collect())
    }

    fn handle(&mut self, source: Source, events: PollFlags) {
        match source {
            Source::Listener => self.connections.extend(control::accept(&self.listener)),
            Source::Memory => self.tell_oom(),
            Source::Children => self.reap_orphans(),
            Source::Connection(index) => self.serve(index),
            Source::Making(index) => self.go_on_making(index),
            Source::Exit(index) => self.processes[index].reap(),
            Source::Output(index, stream) => {
                let process = &mut self.processes[index];
                let log = if process.exec.is_none() {
                    &mut self.log
                } else {
                    &mut self.nothing
                };
                process.streams.read(stream, log);
            }
            Source::Log => self.log.flush(),
            Source::Input(index) => self.processes[index].streams.pass_input(),
            Source::Client(index, client) => {
                let streams = &mut self.processes[index].streams;
                let client = &mut streams.clients[client];
                if events.contains(PollFlags::OUT) {
                    client.flush();
                }
                if events.intersects(PollFlags::HUP | PollFlags::ERR) {
                    client.lose();
                    streams.pass_input();
                    return;
                }
                if events.contains(PollFlags::RDHUP) {
                    client.say_all();
                }
                if events.contains(PollFlags::IN) && client.wants_input() {
                    client.take_input();
                }
                streams.pass_input();
            }
        }
    }

    fn serve(&mut self, index: usize) {
        while let Some(received) = self.connections[index].receive() {
            let (exec, reply) = match received {
                Ok((request, descriptors)) => {
                    let exec = exec_of(&request);
                    self.connections[index].knows_execs |= matches!(request, Request::State);
                    (exec, self.answer(request, descriptors))
                }
                Err(error) => {
                    let message = format!("the shim does not understand the request: {error}");
                    let kind = FailureKind::Other;
                    (None, Reply::Failed { kind, message })
                }
            };
            let answer = Message::Reply(reply);
            let told = self.connections[index].send(&answer);
            if let (false, Some(exec), Message::Reply(reply)) = (told, exec, answer) {
                self.keep_failure(exec, reply);
            }
        }
    }

    fn reap_orphans(&self) {
        let foreign = self.container.as_ref().and_then(|one| one.foreign.as_ref());
        if let Some(foreign) = foreign {
            foreign.reap(&self.processes);
        }
    }

    /// After each turn: what has ended is drained, recorded and told; what is dead is forgotten.
    fn tidy(&mut self) {
        for index in 0..self.processes.len() {
            self.settle(index);
        }
        for process in &mut self.processes {
            process.streams.drop_dead_clients();
        }
        self.processes
            .retain(|process| process.exec.is_none() || !process.announced);
        self.making.retain(Option::is_some);
        self.connections.retain(|connection| !connection.dead);
        self.end_if_forsaken();
    }

    /// The next daemon makes another process instead of one that was never started, and there may be no next one.
    fn end_if_forsaken(&mut self) {
        if !self.connections.is_empty() || self.was_started() != Some(false) {
            return;
        }
        self.connections.extend(control::accept(&self.listener));
        if self.connections.is_empty() {
            // It may end by itself at this moment.
            let _ = self.kill(None, KILL);
        }
    }

    /// Whether the first process runs its program, or has; `None` if there is none.
    fn was_started(&self) -> Option<bool> {
        self.container.as_ref().map(Container::is_started)
    }

    /// Tells all daemons.
    fn tell(&mut self, message: &Message) {
        for connection in &mut self.connections {
            connection.send(message);
        }
    }

    /// Tells all daemons of an exec; false if there is none, or one could not be told.
    pub(crate) fn tell_of_exec(&mut self, message: &Message) -> bool {
        let mut told = !self.connections.is_empty();
        for connection in &mut self.connections {
            told &= connection.knows_execs && connection.send(message);
        }
        told
    }

    fn settle(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let Some((code, at)) = process.ended.filter(|_| !process.announced) else {
            return;
        };
        let first = process.exec.is_none();
        if first {
            self.tell_oom();
            self.kill_others();
        }
        let process = &mut self.processes[index];
        let log = if first {
            &mut self.log
        } else {
            &mut self.nothing
        };
        process.drain(log);
        process.announced = true;
        let exec = process.exec.clone();
        process.streams.stdin = None;
        let oom_killed = self
            .container
            .as_ref()
            .and_then(|container| container.cgroup.as_ref());
        let killed = oom_killed.is_some_and(|cgroup| cgroup.oom_kills() > 0);
        let oom_killed = first && (killed || self.out_of_memory > 0);
        let status = ExitStatus {
            code,
            oom_killed,
            at: at.as_nanosecond(),
        };
        if first {
            self.record(&status);
        }
        let pid = self.processes[index].pid.as_raw_nonzero().get();
        self.tell_end(exec, pid, status);
        // Only now the attached streams end: who sees that can ask for the exit code.
        self.processes[index].streams.clients.clear();
    }

    /// For a daemon that could not be told.
    pub(crate) fn keep_failure(&mut self, exec: String, reply: Reply) {
        if let Reply::Failed { kind, message } = reply {
            self.unreported
                .keep(exec, ExecStage::Failed { kind, message });
        }
    }

    fn tell_end(&mut self, exec: Option<String>, pid: i32, status: ExitStatus) {
        let Some(id) = exec else {
            // Who is not told finds its record.
            return self.tell(&Message::Exited { exec, status });
        };
        let (exec, told) = (Some(id.clone()), status.clone());
        if !self.tell_of_exec(&Message::Exited { exec, status: told }) {
            self.unreported.keep(id, ExecStage::Ended { pid, status });
        }
    }

    /// Tells all daemons that memory has run out since the last time.
    fn tell_oom(&mut self) {
        let oom = self.container.as_mut().and_then(|one| one.oom.as_mut());
        let new = oom.map_or(0, OomWatch::take);
        if new == 0 {
            return;
        }
        self.out_of_memory += new;
        self.tell(&Message::OutOfMemory(self.out_of_memory));
    }

    /// In a pid namespace of its own the kernel has done it already.
    fn kill_others(&mut self) {
        let Some(container) = self
            .container
            .as_ref()
            .filter(|container| !container.own_pids)
        else {
            return;
        };
        if let Some(cgroup) = &container.cgroup {
            // Those that are dying are none of ours.
            let _ = cgroup.kill_all();
        }
    }

    fn record(&mut self, status: &ExitStatus) {
        self.log.finish(Stream::Stdout);
        self.log.finish(Stream::Stderr);
        self.log.close();
        // One that was never started has not run: its end is no run's, whoever finds it.
        if self.was_started() == Some(true)
            && let Err(error) = exit::record(&self.folder, status)
        {
            eprintln!("wharf-shim: record the exit: {error}");
        }
        self.recorded = Some(Instant::now());
    }

    /// The last thing. Who deletes the container waits for it, and so for its hooks, as with runc. A group is busy until the
    /// kernel has buried its processes.
    fn remove_cgroup(&mut self) {
        let Some(mut container) = self.container.take() else {
            return;
        };
        let hooks = container.hooks.take();
        remove_what_is_left(container);
        if let Some((hooks, state)) = hooks {
            let warn = |failure| eprintln!("wharf-shim: {failure}");
            wharf_runtime::hooks::run_poststop(hooks.poststop().as_deref(), state, warn);
        }
    }
}

fn exec_of(request: &Request) -> Option<String> {
    match request {
        Request::Exec(exec) => Some(exec.id.clone()),
        _ => None,
    }
}

fn remove_what_is_left(container: Container) {
    if let Some(foreign) = container.foreign {
        foreign.delete();
    }
    let Some(cgroup) = container.cgroup else {
        return;
    };
    if let Err(error) = cgroup.remove_when_empty(PATIENCE) {
        eprintln!("wharf-shim: {error}");
    }
}

fn add_process<'a>(
    index: usize,
    process: &'a Process,
    held: bool,
    sources: &mut Vec<Source>,
    polled: &mut Vec<PollFd<'a>>,
) {
    let mut add = |source, descriptor, flags| {
        sources.push(source);
        polled.push(PollFd::from_borrowed_fd(descriptor, flags));
    };
    let streams = &process.streams;
    if process.ended.is_none() {
        add(Source::Exit(index), process.pidfd.as_fd(), PollFlags::IN);
    }
    if !held && !streams.is_behind() && process.ended.is_none() {
        for (stream, source) in [
            (Stream::Stdout, &streams.stdout),
            (Stream::Stderr, &streams.stderr),
        ] {
            if let Some(source) = source {
                add(Source::Output(index, stream), source.as_fd(), PollFlags::IN);
            }
        }
    }
    let has_input = streams.clients.iter().any(|client| client.has_input());
    if let Some(stdin) = streams.stdin.as_ref().filter(|_| has_input) {
        add(Source::Input(index), stdin.as_fd(), PollFlags::OUT);
    }
    // What is closed is always ready.
    let clients = streams.clients.iter().enumerate();
    for (number, client) in clients.filter(|(_, client)| !client.is_lost()) {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::OUT, client.is_behind());
        flags.set(PollFlags::IN, client.wants_input());
        // It may be long before the process takes what comes before this, and the client be lost by then.
        flags.set(PollFlags::RDHUP, !client.has_said_all());
        add(Source::Client(index, number), client.socket(), flags);
    }
}
