//! Content digests: `sha256:<64 hex>` and `sha512:<128 hex>`.
//!
//! The grammar is that of go-digest and of the image specification ("Digests"); the error texts are go-digest's,
//! because Docker prints them. sha384, which go-digest registers as well, is in no registry we know of and is
//! reported as unsupported.

use std::fmt::{self, Display, Write as _};
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// Why a text is not a digest. Texts are go-digest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not of the form `algorithm:hex`, or the hex part is not lower-case hexadecimal.
    #[error("invalid checksum digest format")]
    InvalidFormat,
    /// The hex part is not as long as the algorithm's output.
    #[error("invalid checksum digest length")]
    InvalidLength,
    /// A well-formed digest of an algorithm other than sha256 and sha512.
    #[error("unsupported digest algorithm")]
    Unsupported,
}

/// A hash algorithm that content may be addressed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256; what every registry uses.
    Sha256,
    /// SHA-512; optional in the image specification, accepted by us.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }
}

/// The digest of some content. Small enough to copy; ordered and hashed by algorithm, then bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Value);

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Value {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

impl Digest {
    /// The sha256 digest of `content`.
    pub fn sha256(content: &[u8]) -> Digest {
        Digest(Value::Sha256(sha2::Sha256::digest(content).into()))
    }

    /// Parses `algorithm:hex`.
    ///
    /// # Errors
    /// A [`DigestError`] with go-digest's text.
    pub fn parse(text: &str) -> Result<Digest, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::InvalidFormat)?;
        if algorithm.is_empty() || hex.is_empty() {
            return Err(DigestError::InvalidFormat);
        }
        match algorithm {
            "sha256" => decode(hex).map(|bytes| Digest(Value::Sha256(bytes))),
            "sha512" => decode(hex).map(|bytes| Digest(Value::Sha512(bytes))),
            _ if is_well_formed(algorithm, hex) => Err(DigestError::Unsupported),
            _ => Err(DigestError::InvalidFormat),
        }
    }

    /// A sha256 digest from its 64 hexadecimal digits, as image ids are typed.
    ///
    /// # Errors
    /// As [`Digest::parse`].
    pub fn from_sha256_hex(hex: &str) -> Result<Digest, DigestError> {
        decode(hex).map(|bytes| Digest(Value::Sha256(bytes)))
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Value::Sha256(_) => Algorithm::Sha256,
            Value::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The raw bytes of the hash: 32 or 64.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Value::Sha256(bytes) => bytes,
            Value::Sha512(bytes) => bytes,
        }
    }

    /// The hexadecimal part, without the algorithm.
    pub fn hex(&self) -> String {
        hex(self.as_bytes())
    }

    /// The first twelve hexadecimal digits: what `docker images` shows as an id.
    pub fn short(&self) -> String {
        hex(&self.as_bytes()[..6])
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn decode<const N: usize>(hex: &str) -> Result<[u8; N], DigestError> {
    if hex.len() != N * 2 {
        return Err(DigestError::InvalidLength);
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(out)
}

/// Upper-case digits are refused: two spellings of one digest would be two file names.
fn nibble(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError::InvalidFormat),
    }
}

/// go-digest's anchored pattern `[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+`.
fn is_well_formed(algorithm: &str, encoded: &str) -> bool {
    let component = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    algorithm.split(['.', '+', '_', '-']).all(component)
        && encoded
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"=_-".contains(&b))
}

impl Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().as_str(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        Digest::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a digest such as sha256:<64 hexadecimal digits>")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                Digest::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Hashes a stream as it goes by. Also an [`io::Write`] that never fails.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// A hasher for `algorithm`.
    pub fn new(algorithm: Algorithm) -> Hasher {
        Hasher(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// A sha256 hasher.
    pub fn sha256() -> Hasher {
        Hasher::new(Algorithm::Sha256)
    }

    /// Takes in the next piece of the content.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            State::Sha256(hasher) => hasher.update(piece),
            State::Sha512(hasher) => hasher.update(piece),
        }
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Digest {
        Digest(match self.0 {
            State::Sha256(hasher) => Value::Sha256(hasher.finalize().into()),
            State::Sha512(hasher) => Value::Sha512(hasher.finalize().into()),
        })
    }
}

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher::sha256()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher(..)")
    }
}

impl io::Write for Hasher {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.update(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn hashes_and_prints() {
        assert_eq!(Digest::sha256(b"").to_string(), EMPTY);
        assert_eq!(Digest::sha256(b"").short(), "e3b0c44298fc");
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"ab");
        hasher.update(b"c");
        let digest = hasher.finish();
        assert!(digest.hex().starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn refuses_with_the_texts_of_go_digest() {
        let cases = [
            ("", DigestError::InvalidFormat),
            ("sha256", DigestError::InvalidFormat),
            ("sha256:", DigestError::InvalidFormat),
            (":e3b0", DigestError::InvalidFormat),
            ("sha256:e3b0", DigestError::InvalidLength),
            (
                "md5:d41d8cd98f00b204e9800998ecf8427e",
                DigestError::Unsupported,
            ),
            (
                "MD5:d41d8cd98f00b204e9800998ecf8427e",
                DigestError::InvalidFormat,
            ),
            ("foo+bar:xyz", DigestError::Unsupported),
            ("foo+:xyz", DigestError::InvalidFormat),
        ];
        for (text, error) in cases {
            assert_eq!(Digest::parse(text), Err(error), "{text}");
        }
        assert_eq!(
            Digest::parse(&EMPTY.replace('e', "E")),
            Err(DigestError::InvalidFormat)
        );
        assert_eq!(
            Digest::parse(&EMPTY.replace('e', "g")),
            Err(DigestError::InvalidFormat)
        );
    }

    #[test]
    fn is_a_string_in_json() {
        let json = format!("\"{EMPTY}\"");
        let digest: Digest = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), json);
        let error = serde_json::from_str::<Digest>("\"sha256:0\"").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("invalid checksum digest length")
        );
    }
}
