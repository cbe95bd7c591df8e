//! `syslog`: lines as moby's driver and its `srslog` library write them.

use jiff::tz::TimeZone;
use wharf_shim_api::{Socket, SyslogFormat};

use super::connection::Connection;
use super::{line, lost};
use crate::{LogError, Message, Stream};

/// Where the syslog of a machine listens.
const LOCAL: &[&str] = &["/dev/log", "/var/run/syslog", "/var/run/log"];
const ERROR: u32 = 3;
const INFO: u32 = 6;

pub(super) struct Syslog {
    config: wharf_shim_api::Syslog,
    connection: Option<Connection>,
}

impl Syslog {
    pub(super) fn connect(config: wharf_shim_api::Syslog) -> Result<Self, LogError> {
        let connection = Some(dial(config.socket.as_ref())?);
        Ok(Self { config, connection })
    }

    /// As `srslog`: what fails is tried once more, over a new connection.
    pub(super) fn send(&mut self, message: &Message<'_>, stream: Stream) -> Result<(), LogError> {
        // Neither does moby send empty lines.
        if line(message).is_empty() {
            return Ok(());
        }
        let text = self.format(message, stream);
        let mut open = self.connection.take().filter(|open| !open.is_closed());
        if let Some(mut connection) = open.take()
            && connection.write(&text).is_ok()
        {
            self.connection = Some(connection);
            return Ok(());
        }
        let mut connection = dial(self.config.socket.as_ref())?;
        connection
            .write(&text)
            .map_err(|error| lost("syslog", &error))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn format(&self, message: &Message<'_>, stream: Stream) -> Vec<u8> {
        let severity = match stream {
            Stream::Stdout => INFO,
            Stream::Stderr => ERROR,
        };
        let priority = u32::from(self.config.facility) * 8 + severity;
        let (tag, hostname, pid) = (&self.config.tag, &self.config.hostname, std::process::id());
        let zoned = jiff::Timestamp::now().to_zoned(TimeZone::system());
        let head = match self.config.format {
            SyslogFormat::Unix => {
                format!("<{priority}>{} {tag}[{pid}]: ", zoned.strftime("%b %e %T"))
            }
            SyslogFormat::Rfc3164 => format!(
                "<{priority}>{} {hostname} {tag}[{pid}]: ",
                zoned.strftime("%b %e %T")
            ),
            SyslogFormat::Rfc5424 => format!(
                "<{priority}>1 {} {hostname} {tag} {pid} {tag} - ",
                zoned.strftime("%Y-%m-%dT%H:%M:%S%:z")
            ),
            SyslogFormat::Rfc5424Micro => format!(
                "<{priority}>1 {} {hostname} {tag} {pid} {tag} - ",
                zoned.strftime("%Y-%m-%dT%H:%M:%S.%6f%:z")
            ),
        };
        let mut text = head.replace("+00:00", "Z").into_bytes();
        text.extend_from_slice(line(message));
        text.push(b'\n');
        text
    }
}

fn dial(socket: Option<&Socket>) -> Result<Connection, LogError> {
    if let Some(socket) = socket {
        return Connection::dial(socket);
    }
    let sockets = LOCAL
        .iter()
        .map(|path| Socket::Unixgram(path.into()))
        .chain(LOCAL.iter().map(|path| Socket::Unix(path.into())));
    let mut open = sockets.filter_map(|socket| Connection::dial(&socket).ok());
    open.next()
        .ok_or_else(|| LogError::Unavailable("Unix syslog delivery error".to_owned()))
}
