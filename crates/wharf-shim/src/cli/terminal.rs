//! The other side of a container's terminal.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// Sends the master to who listens at `socket`, with its name, as runc does.
pub(crate) fn hand_over(master: &OwnedFd, socket: &Path) -> io::Result<()> {
    let connection = std::os::unix::net::UnixStream::connect(socket)?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [master.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let name = format!("/dev/pts/{}", master.as_raw_fd());
    sendmsg(
        &connection,
        &[io::IoSlice::new(name.as_bytes())],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
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

/// Copies between our terminal and the container's until the container's is closed.
pub(crate) fn relay(master: &OwnedFd, process: &OwnedFd) -> io::Result<()> {
    let _raw = Raw::enter();
    if let Ok(size) = tcgetwinsize(stdin()) {
        tcsetwinsize(master, size)?;
    }
    let mut input_open = true;
    loop {
        let input = if input_open {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut polled = [
            PollFd::new(master, PollFlags::IN),
            PollFd::from_borrowed_fd(stdin(), input),
            PollFd::new(process, PollFlags::IN),
        ];
        poll(&mut polled, None)?;
        let [output, typed, ended] = polled.map(|one| one.revents());
        if !output.is_empty() && !copy(master, stdout())? {
            return Ok(());
        }
        if output.is_empty() && !ended.is_empty() {
            return Ok(());
        }
        if input_open && !typed.is_empty() {
            input_open = copy(stdin(), master)?;
        }
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
