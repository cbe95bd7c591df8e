//! A stream that is attached to a process.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use wharf_logs::Stream;
use wharf_shim_api::Streams;

/// How much input is taken from a client before the process has read it.
const INPUT: usize = 8 * 1024;

/// Room for what is in the socket's buffer already.
const SPARE: usize = 1024 * 1024;

/// One attached stream.
pub(crate) struct Client {
    socket: OwnedFd,
    streams: Streams,
    /// Raw output, as of a terminal; else Docker's frames.
    raw: bool,
    /// Output that the client has not taken yet. While there is any, the process's output is not read: that is
    /// all the back-pressure there is.
    pending: Vec<u8>,
    sent: usize,
    /// Input that the process has not taken yet.
    input: Vec<u8>,
    input_ended: bool,
    /// Nobody reads its input: what comes is taken all the same, as it would wait for ever.
    forgotten: bool,
    /// It has said that it sends no more, though perhaps not all of it is read.
    said_all: bool,
    /// Its other end is closed: nobody reads, and what was sent is all that comes.
    lost: bool,
    dead: bool,
}

impl Client {
    pub(crate) fn new(socket: OwnedFd, streams: Streams, raw: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            streams,
            raw,
            pending: Vec::new(),
            sent: 0,
            input: Vec::new(),
            input_ended: !streams.stdin,
            forgotten: false,
            said_all: false,
            lost: false,
            dead: false,
        })
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether nothing more comes of it, or goes to it.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead || (self.lost && !self.streams.stdin)
    }

    /// It has closed the half that it sends by.
    pub(crate) fn say_all(&mut self) {
        self.said_all = true;
    }

    pub(crate) fn has_said_all(&self) -> bool {
        self.said_all
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Its other end is closed. What it has sent before is still passed on.
    pub(crate) fn lose(&mut self) {
        if !self.lost {
            self.lost = true;
            self.end_input();
            self.pending.clear();
            self.sent = 0;
        }
    }

    /// No more input of it is waited for than what it has sent by now: one that sends on and on keeps nobody.
    pub(crate) fn end_input(&mut self) {
        if self.forgotten {
            self.input_ended = true;
            return;
        }
        let sent = rustix::io::ioctl_fionread(&self.socket).unwrap_or(0);
        let end = self.input.len() as u64 + sent;
        while !self.dead && !self.input_ended && (self.input.len() as u64) < end {
            if !self.take_input() {
                break;
            }
        }
        self.input_ended = true;
    }

    pub(crate) fn kill(&mut self) {
        self.dead = true;
    }

    pub(crate) fn is_behind(&self) -> bool {
        !self.dead && !self.lost && self.sent < self.pending.len()
    }

    /// Whether more input of it can be taken now.
    pub(crate) fn wants_input(&self) -> bool {
        !self.dead && !self.input_ended && self.input.is_empty()
    }

    pub(crate) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Whether its input has ended, and all of it is with the process.
    pub(crate) fn input_is_over(&self) -> bool {
        self.streams.stdin && self.input_ended && self.input.is_empty()
    }

    /// Nobody reads its input any more: what comes of it goes nowhere.
    pub(crate) fn forget_input(&mut self) {
        self.streams.stdin = false;
        self.forgotten = true;
        self.input = Vec::new();
    }

    /// Sends `bytes`, or keeps what does not go now.
    pub(crate) fn give(&mut self, stream: Stream, bytes: &[u8]) {
        let (wanted, number) = match stream {
            Stream::Stdout => (self.streams.stdout, 1),
            Stream::Stderr => (self.streams.stderr, 2),
        };
        if self.dead || self.lost || !wanted {
            return;
        }
        if !self.raw {
            self.pending.extend([number, 0, 0, 0]);
            self.pending.extend((bytes.len() as u32).to_be_bytes());
        }
        self.pending.extend_from_slice(bytes);
        self.flush();
    }

    /// Sends what was kept.
    pub(crate) fn flush(&mut self) {
        while self.is_behind() {
            let flags = rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT;
            match rustix::net::send(&self.socket, &self.pending[self.sent..], flags) {
                Ok(sent) => self.sent += sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.lose(),
            }
        }
        self.pending.clear();
        self.sent = 0;
        // The buffer of a burst is not kept for the container's life.
        self.pending.shrink_to(0);
    }

    /// Sends what was kept, into a buffer of the kernel's that is large enough for all of it: the client reads it
    /// when it likes, and we need not live until then.
    pub(crate) fn flush_into_kernel(&mut self) {
        if self.is_behind() {
            // Twice, as the kernel counts its own bookkeeping too.
            let size = (self.pending.len() - self.sent) * 2 + SPARE;
            let _ = rustix::net::sockopt::set_socket_send_buffer_size_force(&self.socket, size);
            self.flush();
        }
    }

    /// Takes input from the client; false if there is none now.
    pub(crate) fn take_input(&mut self) -> bool {
        let mut buffer = [0; INPUT];
        match rustix::io::read(&self.socket, &mut buffer) {
            Ok(0) => self.input_ended = true,
            Ok(length) => {
                if !self.forgotten {
                    self.input.extend_from_slice(&buffer[..length]);
                }
                return true;
            }
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => {}
            // Closed over something that it has not read.
            Err(_) => {
                self.input_ended = true;
                self.lose();
            }
        }
        false
    }

    /// Passes input on to the process. False if the process takes no more for good.
    pub(crate) fn pass_input(&mut self, stdin: BorrowedFd<'_>) -> bool {
        match rustix::io::write(stdin, &self.input) {
            Ok(length) => drop(self.input.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return false,
        }
        if self.input.is_empty() {
            self.input.shrink_to(0);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    const INWARD: Streams = Streams {
        stdin: true,
        stdout: false,
        stderr: false,
    };

    #[test]
    fn what_was_sent_is_all_that_is_taken() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut client = Client::new(ours.into(), INWARD, false).unwrap();
        theirs.write_all(&[1; 3 * INPUT + 1]).unwrap();
        client.end_input();
        assert_eq!(client.input.len(), 3 * INPUT + 1);
        assert!(!client.wants_input());
    }

    #[test]
    fn input_that_nobody_reads_goes_nowhere() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut client = Client::new(ours.into(), INWARD, false).unwrap();
        client.forget_input();
        for _ in 0..3 {
            theirs.write_all(&[1; INPUT]).unwrap();
            assert!(client.wants_input() && client.take_input());
            assert!(!client.has_input() && !client.input_is_over());
        }
        theirs.write_all(&[1]).unwrap();
        client.end_input();
        assert!(!client.wants_input() && !client.has_input() && !client.is_dead());
        client.lose();
        assert!(client.is_dead());
    }

    /// The shim has one thread: it would never do anything else.
    #[test]
    fn a_client_that_sends_on_and_on_has_an_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut client = Client::new(ours.into(), INWARD, false).unwrap();
        let room = rustix::net::sockopt::socket_send_buffer_size(&theirs).unwrap();
        let pump = std::thread::spawn(move || while theirs.write_all(&[1; INPUT]).is_ok() {});
        while rustix::io::ioctl_fionread(&client.socket).unwrap() == 0 {
            std::thread::yield_now();
        }
        client.end_input();
        assert!(!client.input.is_empty() && client.input.len() <= room + INPUT);
        drop(client);
        pump.join().unwrap();
    }
}
