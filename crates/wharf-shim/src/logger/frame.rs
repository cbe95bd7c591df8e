//! What goes from a shim to its logger: the settings, then frames. Both are of one program, so there are no versions.

use std::io::{self, Read};

use jiff::Timestamp;
use wharf_logs::Stream;
use wharf_shim_api::Log;

/// What a logger says when it can take lines; anything else is why it cannot.
pub(crate) const READY: &[u8] = b"\0";

const HEAD: usize = 13;
const CLEAR: u8 = 5;
/// Longer ones are none.
const LONGEST: usize = 16 * 1024 * 1024;

pub(crate) struct Frame {
    pub(crate) stream: Stream,
    pub(crate) time: Timestamp,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Bytes(Vec<u8>),
    /// The stream has ended.
    End,
    /// What was written so far is to go.
    Clear,
}

/// The settings as they go first.
pub(crate) fn config(log: &Log) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(log)?;
    let mut out = (text.len() as u32).to_le_bytes().to_vec();
    out.extend(text);
    Ok(out)
}

pub(crate) fn read_config(input: &mut impl Read) -> io::Result<Log> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let mut text = vec![0; (u32::from_le_bytes(length) as usize).min(LONGEST)];
    input.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// A frame that says that what was written so far is to go.
pub(crate) fn clear() -> Vec<u8> {
    let mut out = vec![0; HEAD];
    out[0] = CLEAR;
    out
}

/// A frame; `None` as `bytes` is the end of the stream.
pub(crate) fn of(stream: Stream, time: Timestamp, bytes: Option<&[u8]>) -> Vec<u8> {
    let number = match (stream, bytes) {
        (Stream::Stdout, Some(_)) => 1,
        (Stream::Stderr, Some(_)) => 2,
        (Stream::Stdout, None) => 3,
        (Stream::Stderr, None) => 4,
    };
    let bytes = bytes.unwrap_or_default();
    let mut out = Vec::with_capacity(HEAD + bytes.len());
    out.push(number);
    let time = i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
    out.extend(time.to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
    out
}

/// The next frame; `None` at the end.
pub(crate) fn read(input: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut head = [0; HEAD];
    match input.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let [number, a, b, c, d, e, f, g, h, length @ ..] = head;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    let (stream, kind) = match number {
        1 => (Stream::Stdout, Kind::Bytes(bytes)),
        2 => (Stream::Stderr, Kind::Bytes(bytes)),
        3 => (Stream::Stdout, Kind::End),
        4 => (Stream::Stderr, Kind::End),
        CLEAR => (Stream::Stdout, Kind::Clear),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let nanos = i64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let time = Timestamp::from_nanosecond(i128::from(nanos)).map_err(io::Error::other)?;
    Ok(Some(Frame { stream, time, kind }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_read() {
        let time = Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap();
        let mut bytes = of(Stream::Stderr, time, Some(b"abc"));
        bytes.extend(of(Stream::Stdout, time, None));
        let mut input = bytes.as_slice();
        let first = read(&mut input).unwrap().unwrap();
        assert_eq!((first.stream, first.time), (Stream::Stderr, time));
        assert!(matches!(first.kind, Kind::Bytes(bytes) if bytes == b"abc"));
        let second = read(&mut input).unwrap().unwrap();
        assert!(second.stream == Stream::Stdout && matches!(second.kind, Kind::End));
        assert!(read(&mut input).unwrap().is_none());
    }
}
