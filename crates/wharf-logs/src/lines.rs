//! A stream of bytes cut into log messages as Docker's copier cuts it.
//!
//! A message is a line with its `\n`. What has no `\n` yet waits for it, up to [`MAX_LINE`] bytes: then it
//! becomes a message of its own (a partial one, without `\n`). What is left at the end of the stream is the
//! last message.

use jiff::Timestamp;

/// The longest message, in bytes (moby `daemon/logger/copier.go`, `defaultBufSize`).
pub const MAX_LINE: usize = 16 * 1024;

/// A line, or a part of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What was written; with `\n`, unless it is a part that another follows, or the last one.
    pub bytes: &'a [u8],
    /// When it was read; all parts of a line have the time of the first.
    pub time: Timestamp,
    /// If it is a part.
    pub part: Option<Part>,
}

/// Which part of a long line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The same for all parts of a line.
    pub id: [u8; 32],
    /// Counted from 1.
    pub ordinal: u32,
    /// The one with the `\n`.
    pub last: bool,
}

impl Part {
    /// The id in hexadecimal.
    pub fn id(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Bytes of one stream that wait for the rest of their line.
#[derive(Default)]
pub struct Lines {
    waiting: Vec<u8>,
    /// The part before, and its time, if the line goes on.
    part: Option<(Part, Timestamp)>,
}

impl Lines {
    /// Feeds `bytes`, and calls `each` for each message that is whole with them.
    pub fn push(&mut self, mut bytes: &[u8], at: Timestamp, each: &mut dyn FnMut(Message<'_>)) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.waiting.len();
            let within = &bytes[..bytes.len().min(room)];
            let end = memchr::memchr(b'\n', within);
            let taken = end.map_or(within.len(), |newline| newline + 1);
            let (head, rest) = bytes.split_at(taken);
            bytes = rest;
            let whole = end.is_some() || self.waiting.len() + taken == MAX_LINE;
            match (whole, self.waiting.is_empty()) {
                (true, true) => each(self.message(head, end.is_some(), at)),
                (true, false) => {
                    let mut waiting = std::mem::take(&mut self.waiting);
                    waiting.extend_from_slice(head);
                    each(self.message(&waiting, end.is_some(), at));
                    waiting.clear();
                    self.waiting = waiting;
                }
                (false, _) => self.waiting.extend_from_slice(head),
            }
        }
    }

    /// The stream has ended: what still waits is its last message.
    pub fn finish(&mut self, at: Timestamp, each: &mut dyn FnMut(Message<'_>)) {
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            each(self.message(&waiting, false, at));
        }
        self.part = None;
    }

    fn message<'a>(&mut self, bytes: &'a [u8], ends: bool, at: Timestamp) -> Message<'a> {
        let before = match ends {
            true => self.part.take(),
            false => self.part,
        };
        let (part, time) = match (before, ends) {
            (None, true) => {
                return Message {
                    bytes,
                    time: at,
                    part: None,
                };
            }
            (None, false) => (
                Part {
                    id: random(),
                    ordinal: 1,
                    last: false,
                },
                at,
            ),
            (Some((part, time)), last) => (
                Part {
                    ordinal: part.ordinal + 1,
                    last,
                    ..part
                },
                time,
            ),
        };
        if !ends {
            self.part = Some((part, time));
        }
        Message {
            bytes,
            time,
            part: Some(part),
        }
    }
}

/// Without randomness two lines could share an id, which only spoils their joining.
fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut messages = Vec::new();
        for chunk in chunks {
            lines.push(chunk, Timestamp::UNIX_EPOCH, &mut |message| {
                messages.push(message.bytes.to_vec());
            });
        }
        lines.finish(Timestamp::UNIX_EPOCH, &mut |message| {
            messages.push(message.bytes.to_vec());
        });
        messages
    }

    #[test]
    fn parts_of_a_line_know_of_each_other() {
        let mut lines = Lines::default();
        let long = vec![b'x'; MAX_LINE * 2];
        let mut parts = Vec::new();
        let mut keep = |message: Message<'_>| parts.push((message.time.as_second(), message.part));
        lines.push(&long, Timestamp::from_second(1).unwrap(), &mut keep);
        lines.push(
            b"end\nnext\n",
            Timestamp::from_second(2).unwrap(),
            &mut keep,
        );
        let id = parts[0].1.unwrap().id;
        let part = |ordinal, last| Some(Part { id, ordinal, last });
        assert_eq!(
            parts,
            [
                (1, part(1, false)),
                (1, part(2, false)),
                (1, part(3, true)),
                (2, None)
            ]
        );
    }

    #[test]
    fn a_line_waits_for_its_end() {
        assert_eq!(cut(&[b"a", b"b\nc\n", b"d"]), [&b"ab\n"[..], b"c\n", b"d"]);
    }

    #[test]
    fn a_long_line_is_cut_at_the_limit() {
        let long = vec![b'x'; MAX_LINE + 5];
        let messages = cut(&[&long, b"\n"]);
        assert_eq!(messages[0].len(), MAX_LINE);
        assert_eq!(messages[1], b"xxxxx\n");
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_does_not_matter(bytes in prop::collection::vec(prop::sample::select(vec![b'a', b'\n']), 0..200), at in 0usize..200) {
            let at = at.min(bytes.len());
            let (head, tail) = bytes.split_at(at);
            prop_assert_eq!(cut(&[head, tail]), cut(&[&bytes]));
            prop_assert_eq!(cut(&[&bytes]).concat(), bytes);
        }
    }
}
