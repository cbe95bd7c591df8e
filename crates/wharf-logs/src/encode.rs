//! One log line as Docker's json-file driver writes it.
//!
//! Escapes as moby's `jsonlogbytes.go`: `\n`, `\r`, `\\` and `\"` short, every other control character and
//! `< > &` as `\u00xx`, U+2028 and U+2029 escaped, bytes that are not UTF-8 as `\ufffd`.

use std::io::Write as _;

use crate::Stream;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends the line for `message` to `out`. `time` is RFC 3339 text; `attrs`, a JSON object or empty.
pub(crate) fn line(out: &mut Vec<u8>, message: &[u8], stream: Stream, attrs: &str, time: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, message);
    let stream = stream.as_str();
    // Writing to a Vec cannot fail.
    let _ = if attrs.is_empty() {
        writeln!(out, "\",\"stream\":\"{stream}\",\"time\":\"{time}\"}}")
    } else {
        writeln!(
            out,
            "\",\"stream\":\"{stream}\",\"attrs\":{attrs},\"time\":\"{time}\"}}"
        )
    };
}

fn escape(out: &mut Vec<u8>, message: &[u8]) {
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
        let plain = byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
        if plain {
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
        line(&mut out, message, Stream::Stdout, "", "T");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_those_of_docker() {
        assert_eq!(
            encoded(b"a\tb<c>&\"\\\x1b\r\n"),
            "{\"log\":\"a\\u0009b\\u003cc\\u003e\\u0026\\\"\\\\\\u001b\\r\\n\",\"stream\":\"stdout\",\"time\":\"T\"}\n"
        );
        assert!(encoded("\u{2028}é…".as_bytes()).contains("\"log\":\"\\u2028é…\""));
        assert!(encoded(b"\xff\xfeok").contains("\"log\":\"\\ufffd\\ufffdok\""));
    }

    #[test]
    fn attributes_stand_before_the_time() {
        let mut out = Vec::new();
        line(&mut out, b"x", Stream::Stderr, r#"{"k":"v"}"#, "T");
        assert_eq!(
            out,
            b"{\"log\":\"x\",\"stream\":\"stderr\",\"attrs\":{\"k\":\"v\"},\"time\":\"T\"}\n"
        );
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in any::<String>()) {
            let value: serde_json::Value = serde_json::from_str(&encoded(text.as_bytes())).unwrap();
            prop_assert_eq!(value["log"].as_str().unwrap(), text);
        }
    }
}
