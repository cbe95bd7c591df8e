//! Building and reading netlink messages (`netlink(7)`): a header, a fixed part, attributes that nest.

use std::fmt;

use crate::NetlinkError;

pub(crate) const HEADER: usize = 16;
/// Attribute holds attributes itself.
const NESTED: u16 = 0x8000;
/// Upper two bits of an attribute's kind are flags.
const KIND_MASK: u16 = 0x3fff;

/// One message to the kernel, and what it is for in words (they stand in errors).
#[derive(Clone)]
pub struct Request {
    pub(crate) operation: String,
    pub(crate) buffer: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Request({}, {} bytes)",
            self.operation,
            self.buffer.len()
        )
    }
}

impl Request {
    pub(crate) fn new(kind: u16, flags: u16, operation: String) -> Self {
        let mut buffer = Vec::with_capacity(128);
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&kind.to_ne_bytes());
        buffer.extend_from_slice(&flags.to_ne_bytes());
        buffer.extend_from_slice(&[0; 8]);
        Self { operation, buffer }
    }

    /// Appends the fixed part.
    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.buffer.extend_from_slice(bytes);
        self.align();
        self
    }

    /// Appends an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, payload: &[u8]) {
        let length = (payload.len() + 4) as u16;
        self.buffer.extend_from_slice(&length.to_ne_bytes());
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(payload);
        self.align();
    }

    /// Appends a text with its closing zero.
    pub(crate) fn text(&mut self, kind: u16, text: &str) {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    /// Appends a number in network order, as nftables wants all of them.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Appends a number in the machine's order, as rtnetlink wants them.
    pub(crate) fn ne32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Appends an attribute whose content `body` writes.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.nest_plain(kind | NESTED, body);
    }

    /// As [`Request::nest`] without the flag, which some parts of the kernel do not expect.
    pub(crate) fn nest_plain(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0, 0]);
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        body(self);
        let length = (self.buffer.len() - start) as u16;
        self.buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// Appends bytes that are no attribute of their own.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.align();
    }

    /// Writes length, sequence number and further flags into the header.
    pub(crate) fn seal(&self, out: &mut Vec<u8>, sequence: u32, flags: u16) {
        let start = out.len();
        out.extend_from_slice(&self.buffer);
        let length = self.buffer.len() as u32;
        let all = u16::from_ne_bytes([self.buffer[6], self.buffer[7]]) | flags;
        out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        out[start + 6..start + 8].copy_from_slice(&all.to_ne_bytes());
        out[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
    }

    fn align(&mut self) {
        let padded = self.buffer.len().next_multiple_of(4);
        self.buffer.resize(padded, 0);
    }
}

/// A message from the kernel.
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Of news: the socket by way of which the change was made.
    pub(crate) port: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages in what one read returned.
pub(crate) fn messages(bytes: &[u8]) -> Result<Vec<Received<'_>>, NetlinkError> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while rest.len() >= HEADER {
        let length = u32_at(rest, 0)? as usize;
        let message = rest.get(..length).filter(|m| m.len() >= HEADER);
        let message = message.ok_or(NetlinkError::Malformed)?;
        found.push(Received {
            kind: u16::from_ne_bytes([message[4], message[5]]),
            flags: u16::from_ne_bytes([message[6], message[7]]),
            sequence: u32_at(message, 8)?,
            port: u32_at(message, 12)?,
            payload: &message[HEADER..],
        });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

/// The attributes in `bytes`, kinds without flags. Ends quietly where they make no sense.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*rest.first()?, *rest.get(1)?]));
        let kind = u16::from_ne_bytes([*rest.get(2)?, *rest.get(3)?]) & KIND_MASK;
        let payload = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The number at `offset`, in the machine's order.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Result<u32, NetlinkError> {
    let four = bytes
        .get(offset..offset + 4)
        .ok_or(NetlinkError::Malformed)?;
    four.try_into()
        .map(u32::from_ne_bytes)
        .map_err(|_| NetlinkError::Malformed)
}

/// A text attribute without its closing zero.
pub(crate) fn text_of(payload: &[u8]) -> String {
    let end = payload
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(payload.len());
    String::from_utf8_lossy(&payload[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_reads_back() {
        let mut request = Request::new(20, 1, "test".to_owned()).fixed(&[7; 5]);
        request.text(3, "eth0");
        request.nest(18, |inner| inner.ne32(1, 99));
        let mut bytes = Vec::new();
        request.seal(&mut bytes, 5, 4);
        let found = messages(&bytes).unwrap();
        assert_eq!(
            (found[0].kind, found[0].flags, found[0].sequence),
            (20, 5, 5)
        );
        let all: Vec<_> = attributes(&found[0].payload[8..]).collect();
        assert_eq!(text_of(all[0].1), "eth0");
        assert_eq!(all[1].0, 18);
        assert_eq!(
            attributes(all[1].1).next(),
            Some((1, &99u32.to_ne_bytes()[..]))
        );
    }

    #[test]
    fn a_cut_message_is_refused() {
        let mut bytes = Vec::new();
        Request::new(20, 1, "test".to_owned())
            .fixed(&[0; 16])
            .seal(&mut bytes, 1, 0);
        assert!(messages(&bytes[..bytes.len() - 4]).is_err());
        assert_eq!(attributes(&[9, 0, 1, 0, 5]).count(), 0);
    }
}
