//! A process with its streams.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use wharf_logs::Stream;
use wharf_runtime::ProcessIo;

use super::client::Client;
use super::output::Log;

/// How much output is read at once. Also the most that is kept for a client that does not take it.
const OUTPUT: usize = 32 * 1024;

/// What is read at most after the end, should somebody else go on writing: as much as a pipe can hold.
const MOST_LEFT: usize = 32 * OUTPUT;

/// Our side of a process's streams.
#[derive(Default)]
pub(crate) struct Streams {
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) clients: Vec<Client>,
    pub(crate) input_end: InputEnd,
}

/// What ends a process's standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum InputEnd {
    /// Nothing: clients come and go.
    #[default]
    Never,
    /// A client that ends its own, or [`wharf_shim_api::Request::CloseStdin`]. A connection that is lost does not: the daemon has
    /// died, and the next one's clients go on.
    ByWord,
    /// Its only client's end, whatever that is: nobody can be connected to it afterwards.
    WithClient,
}

impl InputEnd {
    /// Of a container's first process.
    pub(crate) fn of_first(once: bool) -> Self {
        match once {
            true => Self::ByWord,
            false => Self::Never,
        }
    }

    fn comes_with(self, client: &Client) -> bool {
        match self {
            Self::Never => false,
            Self::ByWord => client.has_said_all() || !client.is_lost(),
            Self::WithClient => true,
        }
    }
}

impl Streams {
    /// Makes the pipes; the process's side comes first. `stdin` is held open, else the null device.
    pub(crate) fn pipes(stdin: bool, output: bool) -> io::Result<(ProcessIo, Self)> {
        let null = || -> io::Result<OwnedFd> {
            Ok(std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/null")?
                .into())
        };
        let mut ours = Self::default();
        let stdin = match stdin {
            true => {
                let (theirs, write) = pipe_with(PipeFlags::CLOEXEC)?;
                rustix::io::ioctl_fionbio(&write, true)?;
                ours.stdin = Some(write);
                theirs
            }
            false => null()?,
        };
        let outward = |ours: &mut Option<OwnedFd>| -> io::Result<OwnedFd> {
            if !output {
                return null();
            }
            let (read, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&read, true)?;
            *ours = Some(read);
            Ok(theirs)
        };
        let stdout = outward(&mut ours.stdout)?;
        let stderr = outward(&mut ours.stderr)?;
        Ok((ProcessIo::Streams([stdin, stdout, stderr]), ours))
    }

    /// Takes over the terminal's master.
    pub(crate) fn take_terminal(&mut self, master: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&master, true)?;
        self.stdout = Some(master.try_clone()?);
        self.stdin = Some(master.try_clone()?);
        self.terminal = Some(master);
        Ok(())
    }

    /// Whether some client has not taken what was read for it.
    pub(crate) fn is_behind(&self) -> bool {
        self.clients.iter().any(Client::is_behind)
    }

    /// Reads once from `stream` and passes it on. False if there was nothing.
    pub(crate) fn read(&mut self, stream: Stream, log: &mut Log) -> bool {
        let source = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(descriptor) = source else {
            return false;
        };
        let mut buffer = [0; OUTPUT];
        match rustix::io::read(&*descriptor, &mut buffer) {
            Ok(length @ 1..) => {
                log.write(stream, &buffer[..length]);
                self.clients
                    .iter_mut()
                    .for_each(|client| client.give(stream, &buffer[..length]));
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            // EIO is how a terminal says that its last user has closed it.
            Ok(0) | Err(_) => {
                *source = None;
                log.finish(stream);
                false
            }
        }
    }

    /// Moves input from the clients to the process.
    pub(crate) fn pass_input(&mut self) {
        let raw = self.terminal.is_some();
        let mut close = false;
        for client in self.clients.iter_mut().filter(|client| client.has_input()) {
            let open = self
                .stdin
                .as_ref()
                .is_some_and(|stdin| client.pass_input(stdin.as_fd()));
            if !open {
                client.forget_input();
                // A terminal's input is the terminal; a pipe without a reader stays one.
                close |= !raw;
            }
        }
        for client in self
            .clients
            .iter_mut()
            .filter(|client| client.input_is_over())
        {
            match self.input_end.comes_with(client) && !raw {
                true => {
                    client.forget_input();
                    close = true;
                }
                // As moby's stream copier: who ends the input of something that goes on is detached.
                false => client.kill(),
            }
        }
        if close {
            self.stdin = None;
        }
    }

    /// Ends standard input when the process has what clients have sent, if a client can end it.
    pub(crate) fn close_input(&mut self) {
        if self.input_end == InputEnd::Never || self.terminal.is_some() {
            return;
        }
        // What the process has not taken yet ends it later.
        self.input_end = InputEnd::WithClient;
        self.clients.iter_mut().for_each(Client::end_input);
        self.pass_input();
        if !self.clients.iter().any(Client::has_input) {
            self.stdin = None;
        }
    }

    pub(crate) fn drop_dead_clients(&mut self) {
        if self.clients.iter().any(Client::is_lost) {
            self.pass_input();
        }
        self.clients.retain(|client| !client.is_dead());
    }
}

/// A process of the container.
pub(crate) struct Process {
    /// The exec; `None` for the first process.
    pub(crate) exec: Option<String>,
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) streams: Streams,
    /// Its exit code, and when, once it has ended.
    pub(crate) ended: Option<(i32, jiff::Timestamp)>,
    /// Everybody knows.
    pub(crate) announced: bool,
}

impl Process {
    /// One that has just begun.
    pub(crate) fn new(exec: Option<String>, pid: Pid, pidfd: OwnedFd, streams: Streams) -> Self {
        Self {
            exec,
            pid,
            pidfd,
            streams,
            ended: None,
            announced: false,
        }
    }

    /// Whether it has ended, reaped or not.
    pub(crate) fn has_ended(&self) -> bool {
        let mut poll = [rustix::event::PollFd::new(
            &self.pidfd,
            rustix::event::PollFlags::IN,
        )];
        let now = rustix::event::Timespec::default();
        self.ended.is_some()
            || rustix::event::poll(&mut poll, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Reaps it if it has ended.
    pub(crate) fn reap(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(Some(status)) => status,
            Ok(None) | Err(Errno::INTR) => return,
            Err(_) => {
                self.ended = Some((255, jiff::Timestamp::now()));
                return;
            }
        };
        let killed = status.terminating_signal().map(|signal| 128 + signal);
        let code = status.exit_status().or(killed).unwrap_or(255);
        self.ended = Some((code, jiff::Timestamp::now()));
    }

    /// After the end, reads what the process has left in its pipes, however slow the clients are: it is not more
    /// than the pipes hold.
    ///
    /// What the process itself has written is in there. Somebody else may hold the pipe open (a background
    /// process of an exec): not waited for, as Docker does not either.
    pub(crate) fn drain(&mut self, log: &mut Log) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut left = MOST_LEFT;
            while left > 0 && self.streams.read(stream, log) {
                left -= OUTPUT;
            }
        }
        self.streams
            .clients
            .iter_mut()
            .for_each(Client::flush_into_kernel);
    }
}

/// Who a process is to be: nobody said means root as the image knows him, with the groups that he is a member of, as
/// dockerd looks him up.
pub(super) fn who(user: &str) -> &str {
    match user {
        "" => "0",
        other => other,
    }
}
