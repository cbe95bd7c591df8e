//! `gelf`: Graylog's JSON, in compressed datagrams, in pieces if need be; or over a connection, ended by a zero.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Map, Value, json};
use wharf_shim_api::{GelfCompression, GelfTransport, Socket};

use super::connection::Connection;
use super::{Ending, line, lost};
use crate::{LogError, Message, Stream};

/// The longest datagram (go-gelf `ChunkSize`), and what each piece has in front.
const DATAGRAM: usize = 1420;
const HEAD: usize = 12;
const MOST_PIECES: usize = 128;

pub(super) struct Gelf {
    config: wharf_shim_api::Gelf,
    fields: Map<String, Value>,
    connection: Option<Connection>,
}

impl Gelf {
    pub(super) fn connect(config: wharf_shim_api::Gelf) -> Result<Self, LogError> {
        let connection = Connection::dial(&socket(&config)).map_err(|error| {
            let address = &config.address;
            let text = format!("gelf: cannot connect to GELF endpoint: {address} {error}");
            LogError::Unavailable(text)
        })?;
        let fields = config.fields.iter();
        Ok(Self {
            fields: fields
                .map(|(key, value)| (key.clone(), json!(value)))
                .collect(),
            connection: Some(connection),
            config,
        })
    }

    pub(super) fn send(
        &mut self,
        message: &Message<'_>,
        stream: Stream,
        ending: &Ending,
    ) -> Result<(), LogError> {
        // GELF has no message without a text; Docker leaves out an empty line, too.
        if line(message).is_empty() {
            return Ok(());
        }
        let text = self.text(message, stream);
        match self.config.transport {
            GelfTransport::Udp { compression, level } => {
                let packed = compress(text, compression, level);
                packed
                    .and_then(|packed| self.send_datagrams(&packed))
                    .map_err(|error| lost("gelf: cannot send GELF message", &error))
            }
            GelfTransport::Tcp {
                max_reconnect,
                reconnect_delay,
            } => {
                let delay = Duration::from_secs(reconnect_delay);
                self.send_over_connection(text, max_reconnect, delay, ending)
            }
        }
    }

    fn text(&self, message: &Message<'_>, stream: Stream) -> Vec<u8> {
        let mut fields = Map::new();
        fields.insert("version".to_owned(), json!("1.1"));
        fields.insert("host".to_owned(), json!(self.config.hostname));
        let short = String::from_utf8_lossy(line(message));
        fields.insert("short_message".to_owned(), json!(short));
        let time = message.time.as_millisecond() as f64 / 1000.0;
        fields.insert("timestamp".to_owned(), json!(time));
        let level = match stream {
            Stream::Stdout => 6,
            Stream::Stderr => 3,
        };
        fields.insert("level".to_owned(), json!(level));
        if let Some(part) = message.part {
            fields.insert("_partial_message".to_owned(), json!("true"));
            fields.insert("_partial_id".to_owned(), json!(part.id()));
            fields.insert("_partial_ordinal".to_owned(), json!(part.ordinal));
            fields.insert("_partial_last".to_owned(), json!(part.last));
        }
        fields.extend(self.fields.clone());
        Value::Object(fields).to_string().into_bytes()
    }

    fn send_datagrams(&mut self, packed: &[u8]) -> std::io::Result<()> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        // Somebody who is not there has refused the one before: that is no reason to lose this one.
        let mut send = |bytes: &[u8]| match connection.write(bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                connection.write(bytes)
            }
            other => other,
        };
        if packed.len() <= DATAGRAM {
            return send(packed);
        }
        let pieces = packed.chunks(DATAGRAM - HEAD);
        let count = pieces.len();
        if count > MOST_PIECES {
            let text = format!("msg too large, would need {count} chunks");
            return Err(std::io::Error::other(text));
        }
        let mut id = [0u8; 8];
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
        for (number, piece) in pieces.enumerate() {
            let mut datagram = vec![0x1e, 0x0f];
            datagram.extend(id);
            datagram.extend([number as u8, count as u8]);
            datagram.extend_from_slice(piece);
            send(&datagram)?;
        }
        Ok(())
    }

    fn send_over_connection(
        &mut self,
        mut text: Vec<u8>,
        max_reconnect: u32,
        delay: Duration,
        ending: &Ending,
    ) -> Result<(), LogError> {
        text.push(0);
        let mut attempts = 0;
        loop {
            let mut open = self.connection.take().filter(|open| !open.is_closed());
            let result = match &mut open {
                Some(connection) => connection
                    .write(&text)
                    .map_err(|error| lost("gelf: cannot send GELF message", &error)),
                None => Err(lost(
                    "gelf: cannot send GELF message",
                    &std::io::Error::other("connection closed"),
                )),
            };
            let Err(error) = result else {
                self.connection = open;
                return Ok(());
            };
            if attempts >= max_reconnect {
                return Err(error);
            }
            // The first time at once: the other side may only have been started anew.
            if attempts > 0 && ending.wait(delay) {
                return Err(error);
            }
            attempts += 1;
            self.connection = Connection::dial(&socket(&self.config)).ok();
        }
    }
}

fn socket(config: &wharf_shim_api::Gelf) -> Socket {
    match config.transport {
        GelfTransport::Udp { .. } => Socket::Udp(config.address.clone()),
        GelfTransport::Tcp { .. } => Socket::Tcp(config.address.clone()),
    }
}

fn compress(text: Vec<u8>, how: GelfCompression, level: u32) -> std::io::Result<Vec<u8>> {
    let level = Compression::new(level);
    match how {
        GelfCompression::None => Ok(text),
        GelfCompression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(&text)?;
            encoder.finish()
        }
        GelfCompression::Zlib => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(&text)?;
            encoder.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn an_empty_line_is_no_message() {
        let graylog = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut gelf = Gelf::connect(wharf_shim_api::Gelf {
            address: graylog.local_addr().unwrap().to_string(),
            transport: GelfTransport::Udp {
                compression: GelfCompression::None,
                level: 0,
            },
            hostname: "here".to_owned(),
            fields: std::collections::BTreeMap::new(),
        })
        .unwrap();
        for bytes in [&b"\n"[..], b"", b"said\n"] {
            let message = Message {
                bytes,
                time: jiff::Timestamp::UNIX_EPOCH,
                part: None,
            };
            let sent = gelf.send(&message, Stream::Stdout, &Ending::default());
            sent.unwrap();
        }
        let mut datagram = [0; 2048];
        let length = graylog.recv(&mut datagram).unwrap();
        let first: Value = serde_json::from_slice(&datagram[..length]).unwrap();
        assert_eq!(first["short_message"], "said");
    }
}
