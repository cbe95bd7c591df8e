//! A connection: who we are, calls and their answers, signals.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::message::{Encoder, Kind, Message, Target, call};

/// The bus itself, as whom it is called.
const BUS: (&str, &str) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");

/// Why a call was in vain.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Whoever was called has refused it.
    #[error("{text}")]
    Refused {
        /// The error's name.
        name: String,
        /// What it says to people.
        text: String,
    },
    /// There was no answer.
    #[error("D-Bus")]
    Connection(#[from] io::Error),
}

/// A connection to a bus, or to a service itself.
pub struct Connection {
    stream: UnixStream,
    serial: u32,
    patience: Duration,
    /// Signals that have come while an answer was waited for.
    signals: VecDeque<Message>,
}

impl Connection {
    /// Says who we are by `stream`; answers and awaited signals may take as long as `patience`.
    ///
    /// # Errors
    /// If the other end does not take us.
    pub fn open(mut stream: UnixStream, patience: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        // Who we are is known to the kernel; the number is in hexadecimal digits of decimal digits.
        let user = rustix::process::geteuid().as_raw().to_string();
        let digits: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {digits}\r\nBEGIN\r\n").as_bytes())?;
        let mut answer = Vec::new();
        // One line, and no byte of what follows.
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        if !answer.starts_with(b"OK") {
            let said = String::from_utf8_lossy(&answer).trim().to_owned();
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, said));
        }
        Ok(Self {
            stream,
            serial: 0,
            patience,
            signals: VecDeque::new(),
        })
    }

    /// A connection to the bus that listens at `socket`; answers may take as long as `patience`.
    ///
    /// # Errors
    /// If there is no bus, or it does not take us.
    pub fn to_bus(socket: &Path, patience: Duration) -> Result<Self, Failure> {
        let mut connection = Self::open(UnixStream::connect(socket)?, patience)?;
        connection.ask_bus("Hello", "", |_| {})?;
        Ok(connection)
    }

    /// Calls a method of the bus itself.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn ask_bus(
        &mut self,
        member: &str,
        signature: &str,
        fill: impl FnOnce(&mut Encoder),
    ) -> Result<Message, Failure> {
        let (destination, path) = BUS;
        let target = Target {
            destination,
            path,
            interface: destination,
            member,
        };
        self.call(&target, signature, fill)
    }

    /// Calls a method; `fill` writes the values of `signature`.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn call(
        &mut self,
        target: &Target<'_>,
        signature: &str,
        fill: impl FnOnce(&mut Encoder),
    ) -> Result<Message, Failure> {
        let mut body = Encoder::default();
        fill(&mut body);
        self.serial += 1;
        let bytes = call(self.serial, target, signature, &body);
        self.stream.write_all(&bytes)?;
        let until = Instant::now() + self.patience;
        loop {
            let message = self.read(until)?;
            match message.kind {
                Kind::Return if message.answers == self.serial => return Ok(message),
                Kind::Error if message.answers == self.serial => {
                    let text = message.body().text();
                    return Err(Failure::Refused {
                        text: text.unwrap_or_else(|_| message.error.clone()),
                        name: message.error,
                    });
                }
                Kind::Signal => self.signals.push_back(message),
                _ => {}
            }
        }
    }

    /// The next signal, for which nobody waits longer than the connection's patience.
    ///
    /// # Errors
    /// If the connection ends, or nothing comes.
    pub fn signal(&mut self) -> io::Result<Message> {
        let until = Instant::now() + self.patience;
        if let Some(signal) = self.signals.pop_front() {
            return Ok(signal);
        }
        loop {
            let message = self.read(until)?;
            if message.kind == Kind::Signal {
                return Ok(message);
            }
        }
    }

    /// From now on signals are waited for, however long it takes.
    ///
    /// # Errors
    /// If the socket does not take it.
    pub fn wait_for_ever(&mut self) -> io::Result<()> {
        // A year, which an instant can hold.
        self.patience = Duration::from_secs(365 * 24 * 3600);
        self.stream.set_read_timeout(None)
    }

    fn read(&mut self, until: Instant) -> io::Result<Message> {
        if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Message::read(&mut self.stream)
    }
}
