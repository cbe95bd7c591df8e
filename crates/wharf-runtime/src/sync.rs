//! The few words that caller and child exchange.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::Pid;
use wharf_sys::socket;

use crate::{Failure, RuntimeError};

const GO: &[u8] = b"g";
const START: &[u8] = b"s";
const MAPPED: &[u8] = b"m";
const HOOKED: &[u8] = b"k";
const HEARD: &[u8] = b"d";
const READY: u8 = b'r';
const PROCESS: u8 = b'p';
const HOOKS: u8 = b'h';
const LISTENER: u8 = b'l';

/// What a child says on its way.
pub(crate) enum Word {
    /// All is done; its terminal, if it has one.
    Ready(Option<OwnedFd>),
    /// It has its namespaces and mounts: time for the hooks of the runtime.
    Hooks,
    /// Its filter tells of calls by this descriptor of its own.
    Listener(i32),
}

/// The caller's end.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) OwnedFd);

/// The child's end; it closes when the program is executed.
pub(crate) struct Child(pub(crate) OwnedFd);

pub(crate) fn pair() -> io::Result<(Caller, Child)> {
    let (caller, child) = socket::pair()?;
    Ok((Caller(caller), Child(child)))
}

impl Caller {
    pub(crate) fn go(&self) -> Result<(), RuntimeError> {
        socket::send(self.0.as_fd(), GO, &[])
            .map_err(RuntimeError::system("tell the child to go on"))
    }

    /// Tells the child that its user namespace has its mappings.
    pub(crate) fn mapped(&self) {
        // A child that has died meanwhile says so by the end of the socket; so in the others.
        let _ = socket::send(self.0.as_fd(), MAPPED, &[]);
    }

    /// Tells the child that the hooks of the runtime have run.
    pub(crate) fn hooked(&self) {
        let _ = socket::send(self.0.as_fd(), HOOKED, &[]);
    }

    /// Tells the child that its filter's listener is in good hands.
    pub(crate) fn heard(&self) {
        let _ = socket::send(self.0.as_fd(), HEARD, &[]);
    }

    /// Waits for the child's next word.
    pub(crate) fn word(&self) -> Result<Word, RuntimeError> {
        let mut buffer = [0; 4096];
        let (length, mut fds) =
            receive(&self.0, &mut buffer).map_err(RuntimeError::system("wait for the child"))?;
        match &buffer[..length] {
            [READY] => Ok(Word::Ready(fds.pop())),
            [HOOKS] => Ok(Word::Hooks),
            [LISTENER, a, b, c, d] => Ok(Word::Listener(i32::from_ne_bytes([*a, *b, *c, *d]))),
            [] => Err(RuntimeError::Child(Failure::other(
                "the container's process died while it was made",
            ))),
            words => Err(RuntimeError::Child(Failure::decode(words))),
        }
    }

    /// Takes the process that the first child of an exec has made.
    pub(crate) fn take_process(&self) -> Result<(Pid, OwnedFd), RuntimeError> {
        let mut buffer = [0; 4096];
        let (length, mut fds) =
            receive(&self.0, &mut buffer).map_err(RuntimeError::system("wait for the child"))?;
        let lost =
            || RuntimeError::Child(Failure::other("the exec's process died while it was made"));
        match &buffer[..length] {
            [PROCESS, a, b, c, d] => {
                let pid = Pid::from_raw(i32::from_ne_bytes([*a, *b, *c, *d])).ok_or_else(lost)?;
                Ok((pid, fds.pop().ok_or_else(lost)?))
            }
            [] => Err(lost()),
            words => Err(RuntimeError::Child(Failure::decode(words))),
        }
    }

    /// Lets the child execute its program, or wait for another starter.
    pub(crate) fn release(&self) {
        // A child that has died meanwhile says so by the end of the socket.
        let _ = socket::send(self.0.as_fd(), START, &[]);
    }

    /// Waits until the child, which may, has executed its program.
    pub(crate) fn started(&self) -> Result<(), RuntimeError> {
        let mut buffer = [0; 4096];
        let (length, _) =
            receive(&self.0, &mut buffer).map_err(RuntimeError::system("wait for the program"))?;
        match length {
            0 => Ok(()),
            _ => Err(RuntimeError::Child(Failure::decode(&buffer[..length]))),
        }
    }
}

/// A child that has ended without reading all our words is reported once as `ECONNRESET`; what it said comes after.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    match socket::receive(socket, buffer) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            socket::receive(socket, buffer)
        }
        other => other,
    }
}

impl Child {
    pub(crate) fn wait_for_go(&self) -> Result<(), Failure> {
        self.wait_for(GO)
    }

    /// By a plain write if it can be, as in [`Self::wait_for`].
    pub(crate) fn ready(&self, terminal: Option<BorrowedFd<'_>>) -> Result<(), Failure> {
        let sent = match terminal {
            None => rustix::io::write(&self.0, &[READY])
                .map(drop)
                .map_err(Into::into),
            Some(terminal) => socket::send(self.0.as_fd(), &[READY], &[terminal]),
        };
        sent.map_err(Failure::at("report to the runtime"))
    }

    pub(crate) fn wait_for_mapped(&self) -> Result<(), Failure> {
        self.wait_for(MAPPED)
    }

    pub(crate) fn wait_for_hooks(&self) -> Result<(), Failure> {
        let sent = socket::send(self.0.as_fd(), &[HOOKS], &[]);
        sent.map_err(Failure::at("report to the runtime"))?;
        self.wait_for(HOOKED)
    }

    /// A plain write, as the filter that is loaded already may hold any other call up until somebody listens.
    pub(crate) fn announce(&self, number: i32) -> Result<(), Failure> {
        let [a, b, c, d] = number.to_ne_bytes();
        let sent = rustix::io::write(&self.0, &[LISTENER, a, b, c, d]);
        sent.map_err(|error| Failure::at("report to the runtime")(error.into()))?;
        self.wait_for(HEARD)
    }

    pub(crate) fn give_process(&self, pid: Pid, pidfd: BorrowedFd<'_>) -> Result<(), Failure> {
        let [a, b, c, d] = pid.as_raw_nonzero().get().to_ne_bytes();
        let sent = socket::send(self.0.as_fd(), &[PROCESS, a, b, c, d], &[pidfd]);
        sent.map_err(Failure::at("report to the runtime"))
    }

    pub(crate) fn wait_for_start(&self) -> Result<(), Failure> {
        self.wait_for(START)
    }

    pub(crate) fn failed(&self, failure: &Failure) {
        let bytes = failure.encode();
        let _ = rustix::io::write(&self.0, &bytes[..bytes.len().min(4096)]);
    }

    /// By a plain read: the container's filter, which is loaded by then, may know little more than that.
    fn wait_for(&self, word: &[u8]) -> Result<(), Failure> {
        let mut buffer = [0; 16];
        let length = loop {
            match rustix::io::read(&self.0, &mut buffer) {
                Err(rustix::io::Errno::INTR) => {}
                // It has gone without reading all our words.
                Err(rustix::io::Errno::CONNRESET) => break 0,
                other => {
                    let failed = Failure::at("wait for the runtime");
                    break other.map_err(|error| failed(error.into()))?;
                }
            }
        };
        match &buffer[..length] == word {
            true => Ok(()),
            // The runtime is gone: so are we.
            false => Err(Failure::other("the runtime has gone")),
        }
    }
}
