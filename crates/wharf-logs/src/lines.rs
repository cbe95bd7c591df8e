//! A stream of bytes cut into log messages as Docker's copier cuts it.
//!
//! A message is a line with its `\n`. What has no `\n` yet waits for it, up to [`MAX_LINE`] bytes: then it
//! becomes a message of its own (a partial one, without `\n`). What is left at the end of the stream is the
//! last message.

/// The longest message, in bytes (moby `daemon/logger/copier.go`, `defaultBufSize`).
pub const MAX_LINE: usize = 16 * 1024;

/// Bytes of one stream that wait for the rest of their line.
#[derive(Default)]
pub(crate) struct Lines {
    waiting: Vec<u8>,
}

impl Lines {
    /// Feeds `bytes`, and calls `message` for each message that is whole with them.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut message: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.waiting.len();
            let within = &bytes[..bytes.len().min(room)];
            let end = within.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(within.len(), |newline| newline + 1);
            let (head, rest) = bytes.split_at(taken);
            bytes = rest;
            let whole = end.is_some() || self.waiting.len() + taken == MAX_LINE;
            match (whole, self.waiting.is_empty()) {
                (true, true) => message(head),
                (true, false) => {
                    self.waiting.extend_from_slice(head);
                    message(&self.waiting);
                    self.waiting.clear();
                }
                (false, _) => self.waiting.extend_from_slice(head),
            }
        }
    }

    /// The stream has ended: what still waits is its last message.
    pub(crate) fn finish(&mut self, mut message: impl FnMut(&[u8])) {
        if !self.waiting.is_empty() {
            message(&self.waiting);
            self.waiting = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut messages = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |message| messages.push(message.to_vec()));
        }
        lines.finish(|message| messages.push(message.to_vec()));
        messages
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
