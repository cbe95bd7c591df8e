//! systemd's own socket, which it answers root on without a bus in between (`systemctl` uses it as well).

use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use wharf_dbus::{Connection, Encoder, Message, Target};

use crate::CgroupError;

const SOCKET: &str = "/run/systemd/private";
/// How long an answer or a job may take, as with runc.
const PATIENCE: Duration = Duration::from_secs(30);
const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";

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

impl From<wharf_dbus::Failure> for Failure {
    fn from(failure: wharf_dbus::Failure) -> Self {
        match failure {
            wharf_dbus::Failure::Refused { name, text } => Self::Refused { name, text },
            wharf_dbus::Failure::Connection(error) => Self::Connection(error),
        }
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
pub(super) struct Bus(Connection);

impl Bus {
    pub(super) fn connect() -> Result<Self, CgroupError> {
        if !super::is_running() {
            return Err(CgroupError::NoSystemd);
        }
        let open = || Connection::open(dial()?, PATIENCE);
        open().map(Self).map_err(CgroupError::Bus)
    }

    /// Calls systemd's manager; `fill` writes the values of `signature`.
    pub(super) fn call(
        &mut self,
        member: &str,
        signature: &str,
        fill: impl FnOnce(&mut Encoder),
    ) -> Result<Message, Failure> {
        let target = Target {
            destination: SYSTEMD,
            path: PATH,
            interface: "org.freedesktop.systemd1.Manager",
            member,
        };
        Ok(self.0.call(&target, signature, fill)?)
    }

    /// Returns when all that was asked before is done.
    pub(super) fn ping(&mut self) -> Result<(), Failure> {
        let target = Target {
            destination: SYSTEMD,
            path: PATH,
            interface: "org.freedesktop.DBus.Peer",
            member: "Ping",
        };
        self.0.call(&target, "", |_| {})?;
        Ok(())
    }

    /// Waits for the end of a job of `unit`'s, and says how it went.
    pub(super) fn end_of_job(&mut self, job: &str, unit: &str) -> Result<String, Failure> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let message = self.0.signal()?;
            if message.member != "JobRemoved" {
                continue;
            }
            let mut values = message.body();
            let _number = values.uint32()?;
            let (path, of, result) = (values.text()?, values.text()?, values.text()?);
            if path == job && of == unit {
                return Ok(result);
            }
        }
        Err(io::Error::from(io::ErrorKind::TimedOut).into())
    }
}
