//! Hardware addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::NetworkError;
use crate::record::random_bytes;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address that dockerd up to version 27 gives to an endpoint: `02:42` and the four bytes of its IPv4
    /// address. An address that is used again thus never meets a stale neighbour entry.
    pub const fn of_address(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// Nobody else's, but by a chance of one in four billion.
    pub(crate) fn random() -> Self {
        let [a, b, c, d] = random_bytes();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// The same of either family; of an IPv6 address its last four bytes count.
    pub const fn of_ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_address(ip),
            IpAddr::V6(ip) => {
                let [.., a, b, c, d] = ip.octets();
                Self([0x02, 0x42, a, b, c, d])
            }
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = NetworkError;

    /// Six bytes in hexadecimal, between colons or dashes, or in pairs between dots (as Go's `net.ParseMAC`).
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (between, digits) = match text.get(2..3) {
            Some(":") => (':', 2),
            Some("-") => ('-', 2),
            _ => ('.', 4),
        };
        let parts: Vec<&str> = text.split(between).collect();
        let good = |part: &&str| {
            part.len() == digits && part.bytes().all(|digit| digit.is_ascii_hexdigit())
        };
        let whole = parts.len() * digits == 12 && parts.iter().all(good);
        let number = u64::from_str_radix(&parts.concat(), 16);
        match number {
            Ok(number) if whole => {
                let [_, _, bytes @ ..] = number.to_be_bytes();
                Ok(Self(bytes))
            }
            _ => Err(NetworkError::BadMac(text.to_owned())),
        }
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_as_go_reads_them() {
        let read = |text: &str| text.parse::<Mac>().map(|mac| mac.to_string());
        for text in ["02:42:0A:00:00:ff", "02-42-0a-00-00-ff", "0242.0a00.00ff"] {
            assert_eq!(read(text).unwrap(), "02:42:0a:00:00:ff", "{text}");
        }
        for text in [
            "",
            "02:42:0a:00:00",
            "02:42:0a:00:00:ff:01",
            "02:42-0a:00-00:ff",
            "+2:42:0a:00:00:ff",
            "2:42:0a:00:00:ff",
            "02420a0000ff",
            "0242:0a00:00ff",
            "02:42:0a:00:00:fg",
            "é:42:0a:00:00:ff",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
