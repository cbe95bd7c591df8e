//! systemd's own socket, which it answers root on without a bus in between (`systemctl` uses it as well).

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::message::{Encoder, Kind, Message, Target, call};
use crate::CgroupError;

const SOCKET: &str = "/run/systemd/private";
/// How long an answer or a job may take, as with runc.
const PATIENCE: Duration = Duration::from_secs(30);
const MANAGER: (&str, &str) = (
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
);

/// Why a call was in vain.
#[derive(Debug)]
pub(super) enum Failure {
    /// systemd has refused it.
    Refused {
        /// The error's name.
        name: String,
        /// What it says to people.
        text: String,
    },
    /// The job has ended otherwise than by `done`.
    Job(String),
    /// There was no answer.
    Connection(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

/// While systemd executes itself anew (`systemctl daemon-reexec`) nobody listens for a moment, and nothing tells its end.
fn dial() -> io::Result<UnixStream> {
    const PAUSE: Duration = Duration::from_millis(20);
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match UnixStream::connect(SOCKET) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
                ) && Instant::now() < until =>
            {
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

/// A connection.
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Signals that have come while an answer was waited for.
    signals: Vec<Message>,
}

impl Bus {
    pub(super) fn connect() -> Result<Self, CgroupError> {
        if !super::is_running() {
            return Err(CgroupError::NoSystemd);
        }
        Self::open().map_err(CgroupError::Bus)
    }

    fn open() -> io::Result<Self> {
        let mut stream = dial()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
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
            signals: Vec::new(),
        })
    }

    /// Calls systemd's manager; `fill` writes the values of `signature`.
    pub(super) fn call(
        &mut self,
        member: &str,
        signature: &str,
        fill: impl FnOnce(&mut Encoder),
    ) -> Result<Message, Failure> {
        let (path, interface) = MANAGER;
        let target = Target {
            path,
            interface,
            member,
        };
        self.ask(&target, signature, fill)
    }

    /// Returns when all that was asked before is done.
    pub(super) fn ping(&mut self) -> Result<(), Failure> {
        let target = Target {
            path: MANAGER.0,
            interface: "org.freedesktop.DBus.Peer",
            member: "Ping",
        };
        self.ask(&target, "", |_| {}).map(drop)
    }

    fn ask(
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
        let until = Instant::now() + PATIENCE;
        loop {
            let message = self.next(until)?;
            match message.kind {
                Kind::Return if message.answers == self.serial => return Ok(message),
                Kind::Error if message.answers == self.serial => {
                    let text = message.body().text();
                    return Err(Failure::Refused {
                        text: text.unwrap_or_else(|_| message.error.clone()),
                        name: message.error,
                    });
                }
                Kind::Signal => self.signals.push(message),
                _ => {}
            }
        }
    }

    fn next(&mut self, until: Instant) -> Result<Message, Failure> {
        if Instant::now() >= until {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        Ok(Message::read(&mut self.stream)?)
    }

    /// Waits for the end of a job of `unit`'s, and says how it went.
    pub(super) fn end_of_job(&mut self, job: &str, unit: &str) -> Result<String, Failure> {
        let until = Instant::now() + PATIENCE;
        let mut come = std::mem::take(&mut self.signals).into_iter();
        loop {
            let message = match come.next() {
                Some(message) => message,
                None => self.next(until)?,
            };
            if message.kind != Kind::Signal || message.member != "JobRemoved" {
                continue;
            }
            let mut values = message.body();
            let _number = values.uint32()?;
            let (path, of, result) = (values.text()?, values.text()?, values.text()?);
            if path == job && of == unit {
                return Ok(result);
            }
        }
    }
}
