//! The keys that detach a client (moby `term.ToBytes`, `term.NewEscapeProxy`).

use crate::EngineError;

/// A sequence of keys, and how much of it has been typed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    sequence: Vec<u8>,
    typed: usize,
}

/// The bytes of keys that have a name; none of those that have not.
pub fn key_bytes(text: &str) -> Vec<u8> {
    match text {
        "" => Vec::new(),
        text => Keys::parse(Some(text))
            .map(|keys| keys.sequence)
            .unwrap_or_default(),
    }
}

impl Keys {
    /// `ctrl-p,ctrl-q` if nothing is said; each key a single character or `ctrl-` with one of `a-z@[\]^_`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, EngineError> {
        let text = text
            .filter(|text| !text.is_empty())
            .unwrap_or("ctrl-p,ctrl-q");
        let invalid = || EngineError::Invalid(format!("Invalid detach keys ({text}) provided"));
        let mut sequence = Vec::new();
        for key in text.split(',') {
            let byte = match (key.as_bytes(), key.strip_prefix("ctrl-").map(str::as_bytes)) {
                ([byte], _) => *byte,
                (_, Some([letter @ b'a'..=b'z'])) => letter - b'a' + 1,
                (_, Some([b'@'])) => 0,
                (_, Some([sign @ b'['..=b'_'])) => sign - b'[' + 27,
                _ => return Err(invalid()),
            };
            sequence.push(byte);
        }
        Ok(Self { sequence, typed: 0 })
    }

    /// Hands `bytes` on to `out`, but what may be the beginning of the keys; whether they have been typed.
    pub(crate) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        for &byte in bytes {
            if self.sequence.get(self.typed) == Some(&byte) {
                self.typed += 1;
                if self.typed == self.sequence.len() {
                    return true;
                }
                continue;
            }
            out.extend(self.sequence.iter().take(self.typed));
            self.typed = 0;
            if self.sequence.first() == Some(&byte) {
                self.typed = 1;
            } else {
                out.push(byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::Keys;

    #[test]
    fn finds_the_keys_across_reads_and_passes_the_rest() {
        let mut keys = Keys::parse(None).unwrap();
        let mut out = Vec::new();
        assert!(!keys.pass(b"a\x10b\x10", &mut out));
        assert_eq!(out, b"a\x10b");
        assert!(!keys.pass(b"\x10", &mut out));
        assert_eq!(out, b"a\x10b\x10");
        assert!(keys.pass(b"\x11rest", &mut out));
        assert_eq!(out, b"a\x10b\x10");
    }

    #[test]
    fn reads_keys() {
        assert_eq!(
            Keys::parse(Some("a,ctrl-@,ctrl-_,ctrl-z"))
                .unwrap()
                .sequence,
            [b'a', 0, 31, 26]
        );
        assert!(Keys::parse(Some("ctrl-1")).is_err());
        assert!(Keys::parse(Some("ab")).is_err());
    }
}
