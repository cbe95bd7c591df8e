//! The other side of a container's terminal.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// Sends the master to who listens at `socket`, with its name, as runc does.
pub(crate) fn hand_over(master: &OwnedFd, socket: &Path) -> io::Result<()> {
    let name = format!("/dev/pts/{}", master.as_raw_fd());
    send(master.as_fd(), &name, socket)
}

/// Sends a descriptor and a word to who listens at `socket`.
pub(crate) fn send(descriptor: BorrowedFd<'_>, word: &str, socket: &Path) -> io::Result<()> {
    let connection = std::os::unix::net::UnixStream::connect(socket)?;
    wharf_sys::socket::send(connection.as_fd(), word.as_bytes(), &[descriptor])
}

/// Our own terminal as it was, put back at the end.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Self {
        let Ok(before) = tcgetattr(stdin()) else {
            return Self(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        let set = tcsetattr(stdin(), OptionalActions::Now, &raw);
        Self(set.is_ok().then_some(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // What else could be done?
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// Copies between our terminal and the container's.
pub(crate) struct Relay {
    master: OwnedFd,
    input_open: bool,
    output_open: bool,
    _raw: Raw,
}

impl Relay {
    /// Makes our terminal raw, and the container's as large as it.
    pub(crate) fn begin(master: OwnedFd) -> io::Result<Self> {
        let relay = Self {
            master,
            input_open: true,
            output_open: true,
            _raw: Raw::enter(),
        };
        relay.resize();
        Ok(relay)
    }

    pub(crate) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    pub(crate) fn input_open(&self) -> bool {
        self.input_open && self.output_open
    }

    pub(crate) fn output_open(&self) -> bool {
        self.output_open
    }

    /// The size of our terminal, if it is one.
    pub(crate) fn resize(&self) {
        if let Ok(size) = tcgetwinsize(stdin()) {
            let _ = tcsetwinsize(&self.master, size);
        }
    }

    /// Copies what has come; whether there is no more output for now.
    pub(crate) fn go_on(&mut self, output: bool, typed: bool) -> io::Result<bool> {
        if output && self.output_open {
            self.output_open = copy(&self.master, stdout())?;
        }
        if typed && self.input_open() {
            self.input_open = copy(stdin(), &self.master)?;
        }
        Ok(!output || !self.output_open)
    }
}

/// Copies once; false at the end. A terminal says EIO when its last user has closed it.
fn copy(from: impl AsFd, to: impl AsFd) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    let Ok(length @ 1..) = rustix::io::read(from, &mut buffer) else {
        return Ok(false);
    };
    let mut rest = &buffer[..length];
    while !rest.is_empty() {
        let written = rustix::io::write(&to, rest)?;
        rest = &rest[written..];
    }
    Ok(true)
}
