//! Detach keys, `ctrl-p,ctrl-q` unless said otherwise.

/// Recognises the sequence in what the user types. The daemon recognises it too, and is the one that detaches;
/// here it only tells a detached session from one whose container ended.
pub struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q`, `a,ctrl-\`, …; empty means the default.
    pub fn parse(text: &str) -> Result<DetachKeys, String> {
        let text = if text.is_empty() {
            "ctrl-p,ctrl-q"
        } else {
            text
        };
        let keys = text
            .split(',')
            .map(key)
            .collect::<Result<Vec<u8>, String>>()?;
        Ok(DetachKeys { keys, matched: 0 })
    }

    /// True when these bytes complete the sequence.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if *byte == self.keys[self.matched] {
                self.matched += 1;
            } else {
                self.matched = usize::from(*byte == self.keys[0]);
            }
            if self.matched == self.keys.len() {
                self.matched = 0;
                return true;
            }
        }
        false
    }
}

fn key(name: &str) -> Result<u8, String> {
    let code = match name.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ b'a'..=b'z']) => letter - b'a' + 1,
        Some(b"@") => 0,
        Some([sign @ b'['..=b'_']) => sign - b'[' + 27,
        Some(_) => return Err(format!("Unknown character: '{name}'")),
        None => match name.as_bytes() {
            [byte] => *byte,
            _ => return Err(format!("Unknown character: '{name}'")),
        },
    };
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        let mut keys = DetachKeys::parse("").unwrap();
        assert!(!keys.feed(b"ab\x10"));
        assert!(!keys.feed(b"x\x11"));
        assert!(!keys.feed(b"\x10\x10"));
        assert!(keys.feed(b"\x11"));
        assert!(DetachKeys::parse("ctrl-x,q").unwrap().feed(b"\x18q"));
        assert!(DetachKeys::parse("ctrl-xx").is_err());
    }
}
