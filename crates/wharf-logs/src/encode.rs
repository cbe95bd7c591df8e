//! One log line as Docker's json-file driver writes it.
//!
//! Escapes as moby's `jsonlogbytes.go`: `\n`, `\r`, `\\` and `\"` short, every other control character and
//! `< > &` as `\u00xx`, U+2028 and U+2029 escaped, bytes that are not UTF-8 as `\ufffd`.

use std::collections::BTreeMap;
use std::io::Write as _;

use jiff::Timestamp;

use crate::Stream;
use crate::lines::Message;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The text of the time before: many lines have the same.
#[derive(Default)]
pub(crate) struct Time(Option<(Timestamp, String)>);

impl Time {
    fn text(&mut self, at: Timestamp) -> &str {
        if self.0.as_ref().is_none_or(|(before, _)| *before != at) {
            self.0 = Some((at, at.to_string()));
        }
        self.0.as_ref().map_or("", |(_, text)| text)
    }
}

/// Appends the line for `message` to `out`. `attrs` is a JSON object or empty.
pub(crate) fn line(
    out: &mut Vec<u8>,
    message: &Message<'_>,
    stream: Stream,
    attrs: &[u8],
    time: &mut Time,
) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, message.bytes);
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.as_str().as_bytes());
    if !attrs.is_empty() {
        out.extend_from_slice(b"\",\"attrs\":");
        out.extend_from_slice(attrs);
        out.extend_from_slice(b",\"time\":\"");
    } else {
        out.extend_from_slice(b"\",\"time\":\"");
    }
    out.extend_from_slice(time.text(message.time).as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// The JSON object that every line carries, escaped as Go does, so that it holds no newline.
pub(crate) fn attributes(attrs: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in attrs {
        out.push(if out.is_empty() { b'{' } else { b',' });
        // Writing to a Vec cannot fail.
        let _ = out.write_all(b"\"");
        escape(&mut out, key.as_bytes());
        let _ = out.write_all(b"\":\"");
        escape(&mut out, value.as_bytes());
        let _ = out.write_all(b"\"");
    }
    out.push(b'}');
    out
}

/// Whether a byte stands for itself, and is a character of its own.
const fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte < 0x80 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

/// How many bytes at the start of `bytes` stand for themselves.
fn plain(bytes: &[u8]) -> usize {
    const AT_ONCE: usize = 32;
    let mut length = 0;
    // Without an early exit inside, so that the compiler compares many bytes at once.
    for chunk in bytes.chunks_exact(AT_ONCE) {
        let odd = chunk
            .iter()
            .fold(0u8, |odd, &byte| odd | u8::from(!is_plain(byte)));
        if odd != 0 {
            break;
        }
        length += AT_ONCE;
    }
    let rest = bytes[length..].iter().position(|&byte| !is_plain(byte));
    rest.map_or(bytes.len(), |rest| length + rest)
}

fn escape(out: &mut Vec<u8>, message: &[u8]) {
    let (head, rest) = message.split_at(plain(message));
    out.extend_from_slice(head);
    match rest {
        [] => {}
        b"\n" => out.extend_from_slice(b"\\n"),
        rest => escape_any(out, rest),
    }
}

fn escape_any(out: &mut Vec<u8>, message: &[u8]) {
    for chunk in message.utf8_chunks() {
        escape_str(out, chunk.valid());
        // Go decodes byte by byte: each byte that is no part of a character is one U+FFFD.
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn escape_str(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if is_plain(byte) || (byte >= 0x80 && byte != 0xe2) {
            at += 1;
            continue;
        }
        let width = if byte == 0xe2 { 3 } else { 1 };
        let mut short = [b'\\', byte];
        let mut unicode = *b"\\u0000";
        let escaped: &[u8] = match byte {
            b'"' | b'\\' => &short,
            b'\n' => {
                short[1] = b'n';
                &short
            }
            b'\r' => {
                short[1] = b'r';
                &short
            }
            0xe2 => match (bytes[at + 1], bytes[at + 2]) {
                (0x80, 0xa8) => b"\\u2028",
                (0x80, 0xa9) => b"\\u2029",
                _ => {
                    at += width;
                    continue;
                }
            },
            _ => {
                unicode[4] = HEX[usize::from(byte >> 4)];
                unicode[5] = HEX[usize::from(byte & 0xf)];
                &unicode
            }
        };
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(escaped);
        at += width;
        copied = at;
    }
    out.extend_from_slice(&bytes[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(message: &[u8]) -> String {
        let mut out = Vec::new();
        let message = Message {
            bytes: message,
            time: Timestamp::UNIX_EPOCH,
            part: None,
        };
        line(
            &mut out,
            &message,
            Stream::Stdout,
            b"",
            &mut Time::default(),
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_those_of_docker() {
        assert_eq!(
            encoded(b"a\tb<c>&\"\\\x1b\r\n"),
            "{\"log\":\"a\\u0009b\\u003cc\\u003e\\u0026\\\"\\\\\\u001b\\r\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00Z\"}\n"
        );
        assert!(encoded("\u{2028}é…".as_bytes()).contains("\"log\":\"\\u2028é…\""));
        assert!(encoded(b"\xff\xfeok").contains("\"log\":\"\\ufffd\\ufffdok\""));
    }

    #[test]
    fn attributes_stand_before_the_time() {
        let mut out = Vec::new();
        let message = Message {
            bytes: b"x",
            time: Timestamp::UNIX_EPOCH,
            part: None,
        };
        let attrs = attributes(&[("k".to_owned(), "v\n".to_owned())].into());
        line(
            &mut out,
            &message,
            Stream::Stderr,
            &attrs,
            &mut Time::default(),
        );
        assert_eq!(
            out,
            b"{\"log\":\"x\",\"stream\":\"stderr\",\"attrs\":{\"k\":\"v\\n\"},\"time\":\"1970-01-01T00:00:00Z\"}\n"
        );
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in "(\\PC|[\n\r\t\"<a-z]){0,100}") {
            let value: serde_json::Value = serde_json::from_str(&encoded(text.as_bytes())).unwrap();
            prop_assert_eq!(value["log"].as_str().unwrap(), text);
        }
    }
}
