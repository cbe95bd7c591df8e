//! The records of Docker's local driver: a protocol-buffers message between two copies of its length (big-endian).
//!
//! ```text
//! LogEntry { source: string = 1, time_nano: int64 = 2, line: bytes = 3, partial: bool = 4,
//!            partial_log_metadata: { last: bool = 1, id: string = 2, ordinal: int32 = 3 } = 5,
//!            attrs: repeated { key: string = 1, value: string = 2 } = 6 }
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use jiff::Timestamp;

use crate::lines::Message;
use crate::{Entry, Stream};

/// Length of a length.
const LENGTH: usize = 4;
/// Longer records are none (moby `daemon/logger/local/read.go`, `maxMsgLen`).
const LONGEST: usize = 1_000_000;

const SOURCE: u64 = 1;
const TIME: u64 = 2;
const LINE: u64 = 3;
const PARTIAL: u64 = 4;
const PART: u64 = 5;
const ATTRS: u64 = 6;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

/// The attributes of every record, encoded.
pub(crate) fn attributes(attrs: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in attrs {
        let mut pair = Vec::new();
        bytes(&mut pair, 1, key.as_bytes());
        bytes(&mut pair, 2, value.as_bytes());
        bytes(&mut out, ATTRS, &pair);
    }
    out
}

/// Appends the record of `message`.
pub(crate) fn record(out: &mut Vec<u8>, message: &Message<'_>, stream: Stream, attrs: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    bytes(out, SOURCE, stream.as_str().as_bytes());
    let time = i64::try_from(message.time.as_nanosecond()).unwrap_or(i64::MAX);
    number(out, TIME, time as u64);
    let line = message.bytes.strip_suffix(b"\n").unwrap_or(message.bytes);
    bytes(out, LINE, line);
    if let Some(part) = message.part {
        number(out, PARTIAL, 1);
        let mut inner = Vec::new();
        if part.last {
            number(&mut inner, 1, 1);
        }
        bytes(&mut inner, 2, part.id().as_bytes());
        number(&mut inner, 3, u64::from(part.ordinal));
        bytes(out, PART, &inner);
    }
    out.extend_from_slice(attrs);
    let length = ((out.len() - start - LENGTH) as u32).to_be_bytes();
    out[start..start + LENGTH].copy_from_slice(&length);
    out.extend_from_slice(&length);
}

/// The length of the whole record at the start of `buffer`; `None` if it is not all there.
///
/// # Errors
/// If there is no record.
pub(crate) fn whole(buffer: &[u8]) -> std::io::Result<Option<usize>> {
    let Some(length) = buffer.first_chunk() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > LONGEST {
        let text = format!("log message is too large ({length} > {LONGEST})");
        return Err(std::io::Error::other(text));
    }
    let all = length + 2 * LENGTH;
    Ok((buffer.len() >= all).then_some(all))
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, more) = rest.split_first()?;
        *rest = more;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = take_varint(rest)?;
    let value = match key & 7 {
        0 => Value::Number(take_varint(rest)?),
        kind @ (1 | 2 | 5) => {
            let length = match kind {
                1 => 8,
                5 => 4,
                _ => usize::try_from(take_varint(rest)?).ok()?,
            };
            let (value, more) = rest.split_at_checked(length)?;
            *rest = more;
            Value::Bytes(value)
        }
        _ => return None,
    };
    Some((key >> 3, value))
}

/// The entry of a whole record; `None` if it is none.
pub(crate) fn entry(record: &[u8]) -> Option<Entry> {
    let mut rest = record.get(LENGTH..record.len().checked_sub(LENGTH)?)?;
    let mut entry = Entry {
        log: Vec::new(),
        stream: Stream::Stdout,
        time: Timestamp::UNIX_EPOCH,
        attrs: BTreeMap::new(),
    };
    let (mut partial, mut last) = (false, false);
    while !rest.is_empty() {
        match take_field(&mut rest)? {
            (SOURCE, Value::Bytes(b"stderr")) => entry.stream = Stream::Stderr,
            (TIME, Value::Number(nanos)) => {
                entry.time = Timestamp::from_nanosecond(i128::from(nanos as i64)).ok()?;
            }
            (LINE, Value::Bytes(line)) => entry.log = line.to_vec(),
            (PARTIAL, Value::Number(value)) => partial = value != 0,
            (PART, Value::Bytes(mut inner)) => {
                while !inner.is_empty() {
                    if let (1, Value::Number(value)) = take_field(&mut inner)? {
                        last = value != 0;
                    }
                }
            }
            (ATTRS, Value::Bytes(mut pair)) => {
                let (mut key, mut value) = (String::new(), String::new());
                while !pair.is_empty() {
                    match take_field(&mut pair)? {
                        (1, Value::Bytes(text)) => key = String::from_utf8_lossy(text).into(),
                        (2, Value::Bytes(text)) => value = String::from_utf8_lossy(text).into(),
                        _ => {}
                    }
                }
                entry.attrs.insert(key, value);
            }
            // A later version's.
            _ => {}
        }
    }
    if !partial || last {
        entry.log.push(b'\n');
    }
    Some(entry)
}

/// The offset of the record before `end`; `None` if there is none.
pub(crate) fn before(file: &File, end: u64) -> std::io::Result<Option<u64>> {
    let frame = 2 * LENGTH as u64;
    if end < frame {
        return Ok(None);
    }
    let mut length = [0; LENGTH];
    file.read_exact_at(&mut length, end - LENGTH as u64)?;
    let all = u64::from(u32::from_be_bytes(length)) + frame;
    if end < all || all > LONGEST as u64 + frame {
        return Ok(None);
    }
    let mut first = [0; LENGTH];
    file.read_exact_at(&mut first, end - all)?;
    Ok((first == length).then_some(end - all))
}

/// The end of the last whole record among the first `size` bytes.
pub(crate) fn whole_until(file: &File, size: u64) -> std::io::Result<u64> {
    let mut good = 0;
    let mut length = [0; LENGTH];
    while good + 2 * LENGTH as u64 <= size {
        file.read_exact_at(&mut length, good)?;
        let end = good + u64::from(u32::from_be_bytes(length)) + 2 * LENGTH as u64;
        if end > size {
            break;
        }
        good = end;
    }
    Ok(good)
}

/// Cuts off a record that is not whole; the size of what is left.
pub(crate) fn cut_torn_record(file: &File) -> std::io::Result<u64> {
    let size = file.metadata()?.len();
    if size == 0 || before(file, size)?.is_some() {
        return Ok(size);
    }
    let good = whole_until(file, size)?;
    file.set_len(good)?;
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Part;

    #[test]
    fn a_record_is_dockers() {
        let mut out = Vec::new();
        let message = Message {
            bytes: b"hi\n",
            time: Timestamp::from_nanosecond(300).unwrap(),
            part: None,
        };
        record(&mut out, &message, Stream::Stdout, b"");
        assert_eq!(
            out,
            b"\0\0\0\x0f\x0a\x06stdout\x10\xac\x02\x1a\x02hi\0\0\0\x0f"
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let attrs: BTreeMap<String, String> = [("k".to_owned(), "v".to_owned())].into();
        let part = |last| Part {
            id: [7; 32],
            ordinal: 2,
            last,
        };
        for (part, line, expected) in [
            (None, &b"a\xff\n"[..], &b"a\xff\n"[..]),
            (Some(part(false)), b"abc", b"abc"),
            (Some(part(true)), b"abc\n", b"abc\n"),
        ] {
            let mut out = Vec::new();
            let message = Message {
                bytes: line,
                time: Timestamp::from_second(-5).unwrap(),
                part,
            };
            record(&mut out, &message, Stream::Stderr, &attributes(&attrs));
            assert_eq!(whole(&out).unwrap(), Some(out.len()));
            let entry = entry(&out).unwrap();
            assert_eq!(entry.log, expected);
            assert_eq!(
                (entry.stream, entry.time, entry.attrs),
                (Stream::Stderr, message.time, attrs.clone())
            );
        }
    }
}
