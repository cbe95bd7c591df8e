//! Where output goes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a container's output is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// Nowhere.
    None,
    /// In Docker's json-file format.
    JsonFile {
        /// The file.
        path: PathBuf,
        /// Size in bytes at which it is rotated; never if none.
        max_size: Option<u64>,
        /// How many files are kept.
        max_files: u32,
        /// Nothing any more: a daemon before `attributes` wrote a JSON object here.
        #[serde(default)]
        attrs: String,
        /// What every line carries.
        #[serde(default)]
        attributes: BTreeMap<String, String>,
        /// Whether what is set aside is compressed.
        #[serde(default)]
        compress: bool,
        /// If lines may be lost that the file does not take at once: how many bytes wait for it.
        #[serde(default)]
        buffer: Option<u64>,
    },
    /// In the format of Docker's local driver.
    Local(Files),
    /// With somebody else.
    Remote(Box<RemoteLog>),
}

/// Files in the format of Docker's local driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The file.
    pub path: PathBuf,
    /// Size in bytes at which it is rotated; never if none.
    pub max_size: Option<u64>,
    /// How many files are kept.
    pub max_files: u32,
    /// Whether what is set aside is compressed.
    pub compress: bool,
    /// What every line carries.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// As of [`Log::JsonFile`].
    #[serde(default)]
    pub buffer: Option<u64>,
}

/// A log that is sent away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteLog {
    /// A copy to read from.
    pub cache: Option<Files>,
    /// As of [`Log::JsonFile`].
    pub buffer: Option<u64>,
    /// To whom.
    pub to: Remote,
}

/// Who takes the lines of a [`RemoteLog`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remote {
    /// RFC 3164 or 5424.
    Syslog(Syslog),
    /// systemd's journal.
    Journald(Journald),
    /// Fluentd's forward protocol.
    Fluentd(Fluentd),
    /// Graylog's format.
    Gelf(Gelf),
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Socket {
    /// `host:port`
    Tcp(String),
    /// `host:port`
    Udp(String),
    /// A stream socket.
    Unix(PathBuf),
    /// A datagram socket.
    Unixgram(PathBuf),
}

/// Settings of the syslog driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Syslog {
    /// The one of this machine if none.
    pub socket: Option<Socket>,
    /// 0 to 23.
    pub facility: u8,
    /// How a line is written.
    pub format: SyslogFormat,
    /// The program's name.
    pub tag: String,
    /// The name of this machine.
    pub hostname: String,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyslogFormat {
    /// RFC 3164 without the name of the machine.
    Unix,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
    /// RFC 5424 with microseconds.
    Rfc5424Micro,
}

/// Settings of the journald driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journald {
    /// The journal's socket.
    pub socket: PathBuf,
    /// The fields of every entry.
    pub fields: BTreeMap<String, String>,
}

/// Settings of the fluentd driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fluentd {
    /// Where it listens.
    pub socket: Socket,
    /// The tag of every event.
    pub tag: String,
    /// The fields of every event.
    pub fields: BTreeMap<String, String>,
    /// Lines wait for the connection here, and the container does not.
    pub detached: bool,
    /// So many lines wait at most.
    pub buffer_limit: u64,
    /// Milliseconds before the first try after a failure; each further one waits half as long again.
    pub retry_wait: u64,
    /// So many tries.
    pub max_retries: u32,
    /// Milliseconds after which a detached connection is made anew; never if 0.
    pub reconnect_interval: u64,
    /// Times with nanoseconds.
    pub sub_second: bool,
    /// Each event is confirmed.
    pub request_ack: bool,
}

/// Settings of the gelf driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gelf {
    /// `host:port`
    pub address: String,
    /// How it goes there.
    pub transport: GelfTransport,
    /// The name of this machine.
    pub hostname: String,
    /// Further fields of every message.
    pub fields: BTreeMap<String, String>,
}

/// How messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GelfTransport {
    /// In datagrams, compressed.
    Udp {
        /// With what.
        compression: GelfCompression,
        /// 0 to 9.
        level: u32,
    },
    /// Over a connection.
    Tcp {
        /// So many tries to connect again.
        max_reconnect: u32,
        /// Seconds between them.
        reconnect_delay: u64,
    },
}

/// How a datagram is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GelfCompression {
    /// gzip
    Gzip,
    /// zlib
    Zlib,
    /// Not at all.
    None,
}
