//! `fluentd`: events of the forward protocol in message mode, `[tag, time, record, option]` in MessagePack.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::connection::Connection;
use super::{Ending, line, lost};
use crate::{LogError, Message, Stream};

/// As fluent-logger-golang.
const LONGEST_WAIT: f64 = 60_000.0;
const GROWTH: f64 = 1.5;

pub(super) struct Fluentd {
    config: wharf_shim_api::Fluentd,
    connection: Option<(Connection, Instant)>,
}

impl Fluentd {
    pub(super) fn connect(config: wharf_shim_api::Fluentd) -> Result<Self, LogError> {
        let connection = match Connection::dial(&config.socket) {
            Ok(connection) => Some((connection, Instant::now())),
            // Lines wait until somebody is there.
            Err(_) if config.detached => None,
            Err(error) => return Err(error),
        };
        Ok(Self { config, connection })
    }

    pub(super) fn send(
        &mut self,
        message: &Message<'_>,
        stream: Stream,
        ending: &Ending,
    ) -> Result<(), LogError> {
        let chunk = self.config.request_ack.then(identifier);
        let event = self.event(message, stream, chunk.as_deref());
        let mut wait = self.config.retry_wait as f64;
        let mut attempts = 0;
        loop {
            let Err(error) = self.post(&event, chunk.as_deref()) else {
                return Ok(());
            };
            self.connection = None;
            attempts += 1;
            if attempts >= self.config.max_retries {
                return Err(LogError::Send {
                    driver: "fluentd",
                    reason: format!(
                        "fluent#write: failed to write after {attempts} attempts: {error}"
                    ),
                });
            }
            let time = Duration::from_millis(wait.min(LONGEST_WAIT) as u64);
            if ending.wait(time) {
                return Err(error);
            }
            wait *= GROWTH;
        }
    }

    fn post(&mut self, event: &[u8], chunk: Option<&str>) -> Result<(), LogError> {
        let interval = Duration::from_millis(self.config.reconnect_interval);
        let stale = |(connection, since): &(Connection, Instant)| {
            connection.is_closed() || (!interval.is_zero() && since.elapsed() >= interval)
        };
        if self.connection.as_ref().is_none_or(stale) {
            let connection = Connection::dial(&self.config.socket)?;
            self.connection = Some((connection, Instant::now()));
        }
        let Some((connection, _)) = &mut self.connection else {
            return Ok(());
        };
        let mut post = || -> std::io::Result<()> {
            connection.write(event)?;
            match chunk {
                Some(chunk) => confirm(connection, chunk),
                None => Ok(()),
            }
        };
        post().map_err(|error| lost("fluentd", &error))
    }

    fn event(&self, message: &Message<'_>, stream: Stream, chunk: Option<&str>) -> Vec<u8> {
        let mut record: BTreeMap<&str, &[u8]> = self
            .config
            .fields
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_bytes()))
            .collect();
        record.insert("source", stream.as_str().as_bytes());
        record.insert("log", line(message));
        let texts = message
            .part
            .map(|part| [part.id(), part.ordinal.to_string(), part.last.to_string()]);
        if let Some([id, ordinal, last]) = &texts {
            record.insert("partial_message", b"true");
            record.insert("partial_id", id.as_bytes());
            record.insert("partial_ordinal", ordinal.as_bytes());
            record.insert("partial_last", last.as_bytes());
        }
        let mut out = vec![0x94];
        string(&mut out, self.config.tag.as_bytes());
        time(&mut out, message.time, self.config.sub_second);
        map(&mut out, record.len());
        for (key, value) in record {
            string(&mut out, key.as_bytes());
            string(&mut out, value);
        }
        map(&mut out, usize::from(chunk.is_some()));
        if let Some(chunk) = chunk {
            string(&mut out, b"chunk");
            string(&mut out, chunk.as_bytes());
        }
        out
    }
}

/// Waits for `{"ack": chunk}`.
fn confirm(connection: &mut Connection, chunk: &str) -> std::io::Result<()> {
    let mut expected = Vec::new();
    map(&mut expected, 1);
    string(&mut expected, b"ack");
    string(&mut expected, chunk.as_bytes());
    let mut answer = vec![0; expected.len()];
    let mut read = 0;
    while read < answer.len() {
        match connection.read(&mut answer[read..])? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => read += length,
        }
    }
    match answer == expected {
        true => Ok(()),
        false => Err(std::io::Error::other("another event was confirmed")),
    }
}

fn identifier() -> String {
    let mut bytes = [0u8; 16];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        length @ ..32 => out.push(0xa0 | length as u8),
        length @ ..0x100 => out.extend([0xd9, length as u8]),
        length @ ..0x1_0000 => {
            out.push(0xda);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(0xdb);
            out.extend((length as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

fn map(out: &mut Vec<u8>, length: usize) {
    match length {
        ..16 => out.push(0x80 | length as u8),
        _ => {
            out.push(0xde);
            out.extend((length as u16).to_be_bytes());
        }
    }
}

fn time(out: &mut Vec<u8>, at: Timestamp, sub_second: bool) {
    let seconds = u32::try_from(at.as_second()).unwrap_or(0);
    if sub_second {
        // Fluentd's EventTime.
        out.extend([0xd7, 0x00]);
        out.extend(seconds.to_be_bytes());
        out.extend((at.subsec_nanosecond() as u32).to_be_bytes());
    } else {
        out.push(0xce);
        out.extend(seconds.to_be_bytes());
    }
}
