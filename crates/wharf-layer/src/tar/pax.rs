//! Extended headers: `length key=value\n`, again and again.

use std::collections::BTreeMap;

use super::Time;

/// Most extended attributes of one member: more names than Linux lists of one file.
const MAX_XATTRS: usize = 10_000;

/// What one extended header says about the next member. An empty value keeps what the header says, as in Go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<i64>,
    pub(crate) uid: Option<i64>,
    pub(crate) gid: Option<i64>,
    pub(crate) mtime: Option<Time>,
    pub(crate) atime: Option<Time>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) sparse: PaxSparse,
}

/// GNU's fields for sparse files, in its three versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PaxSparse {
    pub(crate) major: Option<Vec<u8>>,
    pub(crate) minor: Option<Vec<u8>>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<i64>,
    /// Offset, length, offset, length, …
    pub(crate) map: Vec<u64>,
}

impl Pax {
    /// Parses a whole extended header, or says what is wrong with it.
    pub(crate) fn parse(mut records: &[u8]) -> Result<Pax, &'static str> {
        let mut pax = Pax::default();
        while !records.is_empty() {
            let (key, value, rest) = split_record(records).ok_or("malformed extended header")?;
            pax.take(key, value)
                .ok_or("bad value in an extended header")?;
            records = rest;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if name.is_empty() || name.contains(&0) {
                return None;
            }
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return (self.xattrs.len() <= MAX_XATTRS).then_some(());
        }
        if value.is_empty() {
            return Some(());
        }
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            b"atime" => self.atime = Some(time(value)?),
            b"GNU.sparse.major" => self.sparse.major = Some(value.to_vec()),
            b"GNU.sparse.minor" => self.sparse.minor = Some(value.to_vec()),
            b"GNU.sparse.name" => self.sparse.name = Some(name(value)?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.real_size = Some(decimal(value)?);
            }
            // Version 0.0: one record for each number.
            b"GNU.sparse.offset" if self.sparse.map.len().is_multiple_of(2) => {
                self.push_number(value)?
            }
            b"GNU.sparse.numbytes" if !self.sparse.map.len().is_multiple_of(2) => {
                self.push_number(value)?
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => return None,
            // Version 0.1: all numbers in one record.
            b"GNU.sparse.map" => {
                self.sparse.map.clear();
                for number in value.split(|byte| *byte == b',') {
                    self.push_number(number)?;
                }
            }
            _ => {}
        }
        Some(())
    }

    fn push_number(&mut self, value: &[u8]) -> Option<()> {
        self.sparse.map.push(u64::try_from(decimal(value)?).ok()?);
        Some(())
    }
}

/// Key, value and what follows.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    if length < space + 3 || length > records.len() || records[length - 1] != b'\n' {
        return None;
    }
    let record = &records[space + 1..length - 1];
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let key = &record[..equals];
    if key.is_empty() || key.contains(&0) {
        return None;
    }
    Some((key, &record[equals + 1..], &records[length..]))
}

/// A name with a NUL would be cut short by whoever reads it next.
fn name(value: &[u8]) -> Option<Vec<u8>> {
    (!value.contains(&0)).then(|| value.to_vec())
}

pub(crate) fn decimal(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Seconds with a fraction: `1350244992.023960108`, `-1.5`. Digits behind the ninth are cut off.
fn time(value: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos: u32 = format!("{fraction:0<9.9}").parse().ok()?;
    if !whole.starts_with('-') || nanos == 0 {
        return Some(Time { seconds, nanos });
    }
    Some(Time {
        seconds: seconds.checked_sub(1)?,
        nanos: 1_000_000_000 - nanos,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_records() {
        let pax = Pax::parse(b"10 path=a\n18 mtime=1.000001\n8 size=\n24 SCHILY.xattr.user.a=\n")
            .unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a"[..]));
        assert_eq!(
            pax.mtime,
            Some(Time {
                seconds: 1,
                nanos: 1000
            })
        );
        assert_eq!(pax.size, None);
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), Vec::new())].into());
        for bad in [
            "x",
            "9 a=b\n",
            "5 =b\n",
            "10 path=\0\n",
            "13 size=0x10\n",
            "6 a=b\0",
            "-1 a=b\n",
        ] {
            assert!(Pax::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn attributes_are_counted_and_the_last_of_a_name_counts() {
        let records = |names: &mut dyn Iterator<Item = usize>| {
            let one = |name| format!("29 SCHILY.xattr.user.{name:05}=v\n");
            let text: String = names.map(one).collect();
            Pax::parse(text.as_bytes()).map(|pax| pax.xattrs.len())
        };
        assert_eq!(records(&mut (0..MAX_XATTRS)), Ok(MAX_XATTRS));
        assert!(records(&mut (0..=MAX_XATTRS)).is_err());
        assert_eq!(records(&mut (0..30_000).map(|_| 7)), Ok(1));
    }

    #[test]
    fn reads_times() {
        let parsed = |text: &str| time(text.as_bytes()).map(|time| (time.seconds, time.nanos));
        assert_eq!(parsed("12"), Some((12, 0)));
        assert_eq!(parsed("12."), Some((12, 0)));
        assert_eq!(parsed("12.5"), Some((12, 500_000_000)));
        assert_eq!(parsed("12.0000000019"), Some((12, 1)));
        assert_eq!(parsed("-1.5"), Some((-2, 500_000_000)));
        assert_eq!(parsed("-0.5"), Some((-1, 500_000_000)));
        assert_eq!(parsed("1e5"), None);
        assert_eq!(parsed("1.-5"), None);
    }
}
