//! The few words that caller and child exchange.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::Pid;
use wharf_sys::socket;

use crate::{Failure, RuntimeError};

const GO: &[u8] = b"g";
const START: &[u8] = b"s";
const READY: u8 = b'r';
const PROCESS: u8 = b'p';

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

    /// Waits until the child is ready; its terminal, if it has one.
    pub(crate) fn wait_until_ready(&self) -> Result<Option<OwnedFd>, RuntimeError> {
        let mut buffer = [0; 4096];
        let (length, mut fds) =
            receive(&self.0, &mut buffer).map_err(RuntimeError::system("wait for the child"))?;
        match buffer[..length].first() {
            Some(&READY) => Ok(fds.pop()),
            Some(_) => Err(RuntimeError::Child(Failure::decode(&buffer[..length]))),
            None => Err(RuntimeError::Child(Failure::other(
                "the container's process died while it was made",
            ))),
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

    /// Lets the child execute its program, and waits until it has.
    pub(crate) fn start(&self) -> Result<(), RuntimeError> {
        // A child that has died meanwhile says so by the end of the socket.
        let _ = socket::send(self.0.as_fd(), START, &[]);
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

    pub(crate) fn ready(&self, terminal: Option<BorrowedFd<'_>>) -> Result<(), Failure> {
        let sent = socket::send(self.0.as_fd(), &[READY], terminal.as_slice());
        sent.map_err(Failure::at("report to the runtime"))
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
        let _ = socket::send(self.0.as_fd(), &bytes[..bytes.len().min(4096)], &[]);
    }

    fn wait_for(&self, word: &[u8]) -> Result<(), Failure> {
        let mut buffer = [0; 16];
        let (length, _) =
            socket::receive(&self.0, &mut buffer).map_err(Failure::at("wait for the runtime"))?;
        match &buffer[..length] == word {
            true => Ok(()),
            // The runtime is gone: so are we.
            false => Err(Failure::other("the runtime has gone")),
        }
    }
}
