//! One header block.

use super::{BLOCK_SIZE, Kind, Time};

/// A header block whose checksum is right.
pub(crate) struct Header<'a>(pub(crate) &'a [u8; BLOCK_SIZE]);

/// Which dialect the block is in; it says what is behind byte 257.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl<'a> Header<'a> {
    /// The header in `block`, or what is wrong with it.
    pub(crate) fn new(block: &'a [u8; BLOCK_SIZE]) -> Result<Header<'a>, &'static str> {
        let stored = number(&block[148..156]).ok_or("checksum is no number")?;
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (index, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&index) {
                b' '
            } else {
                *byte
            };
            unsigned += i64::from(byte);
            // Sun's tar summed signed bytes.
            signed += i64::from(byte.cast_signed());
        }
        match stored == unsigned || stored == signed {
            true => Ok(Header(block)),
            false => Err("wrong checksum"),
        }
    }

    fn dialect(&self) -> Dialect {
        match (&self.0[257..265], &self.0[508..512]) {
            (b"ustar\x0000", b"tar\0") => Dialect::Star,
            (b"ustar\x0000", _) => Dialect::Ustar,
            (b"ustar  \0", _) => Dialect::Gnu,
            _ => Dialect::V7,
        }
    }

    pub(crate) fn flag(&self) -> u8 {
        self.0[156]
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind::of(self.flag())
    }

    /// The name, with its prefix where the dialect has one.
    pub(crate) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = match self.dialect() {
            Dialect::Ustar => text(&self.0[345..500]),
            Dialect::Star => text(&self.0[345..476]),
            // Go before 1.8 wrote a prefix into GNU headers, where other fields are; images of that age exist.
            Dialect::Gnu if number(&self.0[345..357]).is_none() => text(&self.0[345..500]),
            Dialect::Gnu | Dialect::V7 => b"",
        };
        match prefix {
            b"" => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        }
    }

    pub(crate) fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    /// Permission bits, with set-id and sticky.
    pub(crate) fn mode(&self) -> Option<u32> {
        number(&self.0[100..108]).map(|mode| (mode & 0o7777) as u32)
    }

    pub(crate) fn uid(&self) -> Option<i64> {
        number(&self.0[108..116])
    }

    pub(crate) fn gid(&self) -> Option<i64> {
        number(&self.0[116..124])
    }

    pub(crate) fn size(&self) -> Option<i64> {
        number(&self.0[124..136])
    }

    pub(crate) fn mtime(&self) -> Option<Time> {
        number(&self.0[136..148]).map(|seconds| Time { seconds, nanos: 0 })
    }

    pub(crate) fn device(&self) -> Option<(u32, u32)> {
        if self.dialect() == Dialect::V7 {
            return Some((0, 0));
        }
        let part = |range| number(range).and_then(|number| u32::try_from(number).ok());
        Some((part(&self.0[329..337])?, part(&self.0[337..345])?))
    }

    /// Whether the block may have GNU's fields for sparse files.
    pub(crate) fn is_gnu(&self) -> bool {
        self.dialect() == Dialect::Gnu
    }
}

/// A text that ends at the first NUL or at the end of the field.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number in octal, or in GNU's base-256 form; an empty field is 0.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let is_blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field
        .iter()
        .position(|byte| !is_blank(byte))
        .unwrap_or(field.len());
    let end = field
        .iter()
        .rposition(|byte| !is_blank(byte))
        .map_or(start, |last| last + 1);
    let mut value = 0_i64;
    for digit in text(&field[start..end]) {
        if !(b'0'..=b'7').contains(digit) {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(value)
}

/// Two's complement, most significant byte first; the top bit of the first byte is the marker.
fn base256(field: &[u8]) -> Option<i64> {
    let inverse = if field[0] & 0x40 != 0 { 0xff } else { 0 };
    let mut value = 0_u64;
    for (index, byte) in field.iter().enumerate() {
        let byte = byte ^ inverse;
        let byte = if index == 0 { byte & 0x7f } else { byte };
        if value >> 56 != 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if inverse == 0 { value } else { !value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_in_both_forms() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(b"12x\0"), None);
        assert_eq!(number(b"0008\0"), None);
        assert_eq!(number(&[0x80, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff]), Some(-1));
        assert_eq!(number(&[0x80, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
