//! Messages (D-Bus specification, "Message Protocol"). All numbers are little-endian, as on every machine that Wharf
//! runs on.

use std::io;

/// The value of a property.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `b`
    Boolean(bool),
    /// `y`
    Byte(u8),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(String),
    /// `as`
    Texts(Vec<String>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `au`
    Numbers(Vec<u32>),
    /// `a(ss)`
    Pairs(Vec<(String, String)>),
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "b",
            Self::Byte(_) => "y",
            Self::Int16(_) => "n",
            Self::Uint16(_) => "q",
            Self::Int32(_) => "i",
            Self::Uint32(_) => "u",
            Self::Int64(_) => "x",
            Self::Uint64(_) => "t",
            Self::Double(_) => "d",
            Self::Text(_) => "s",
            Self::Texts(_) => "as",
            Self::Bytes(_) => "ay",
            Self::Numbers(_) => "au",
            Self::Pairs(_) => "a(ss)",
        }
    }
}

/// Where a call goes to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Whom the bus gives it to.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// Which of its faces.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
}

const CALL: u8 = 1;
/// Nobody is started to be asked: who does not run has nothing to say.
const NO_AUTO_START: u8 = 2;
const HEADER: usize = 16;
/// The largest message that may be sent (D-Bus specification).
const LARGEST: usize = 128 << 20;

/// A call, ready to be sent.
pub(crate) fn call(serial: u32, target: &Target<'_>, signature: &str, body: &Encoder) -> Vec<u8> {
    let mut message = Encoder::default();
    message.bytes.extend([b'l', CALL, NO_AUTO_START, 1]);
    message.uint32(body.bytes.len() as u32);
    message.uint32(serial);
    message.array(8, |fields| {
        for (code, kind, text) in [
            (1, "o", target.path),
            (2, "s", target.interface),
            (3, "s", target.member),
            (6, "s", target.destination),
            (8, "g", signature),
        ] {
            if code == 8 && text.is_empty() {
                continue;
            }
            fields.align(8);
            fields.bytes.push(code);
            fields.signature(kind);
            match kind {
                "g" => fields.signature(text),
                _ => fields.text(text),
            }
        }
    });
    message.align(8);
    message.bytes.extend(&body.bytes);
    message.bytes
}

/// Writes values one after the other, each where its type may begin.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.bytes.extend(bytes);
    }

    /// `u`.
    pub fn uint32(&mut self, value: u32) {
        self.number(value.to_le_bytes());
    }

    /// `b`.
    pub fn boolean(&mut self, value: bool) {
        self.uint32(value.into());
    }

    /// `s` or `o`.
    pub fn text(&mut self, text: &str) {
        self.uint32(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// What `fill` writes, with its length before it; its elements begin at multiples of `alignment`.
    pub fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Self)) {
        self.uint32(0);
        let length_at = self.bytes.len() - 4;
        self.align(alignment);
        let start = self.bytes.len();
        fill(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// `a(sv)`, or `a{sv}`, which looks the same.
    pub fn properties(&mut self, all: &[(String, Value)]) {
        self.array(8, |body| {
            for (name, value) in all {
                body.align(8);
                body.text(name);
                body.signature(value.signature());
                body.value(value);
            }
        });
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Boolean(value) => self.boolean(*value),
            Value::Byte(value) => self.bytes.push(*value),
            Value::Int16(value) => self.number(value.to_le_bytes()),
            Value::Uint16(value) => self.number(value.to_le_bytes()),
            Value::Int32(value) => self.number(value.to_le_bytes()),
            Value::Uint32(value) => self.uint32(*value),
            Value::Int64(value) => self.number(value.to_le_bytes()),
            Value::Uint64(value) => self.number(value.to_le_bytes()),
            Value::Double(value) => self.number(value.to_le_bytes()),
            Value::Text(text) => self.text(text),
            Value::Texts(texts) => {
                self.array(4, |all| texts.iter().for_each(|text| all.text(text)))
            }
            Value::Bytes(bytes) => self.array(1, |all| all.bytes.extend(bytes)),
            Value::Numbers(numbers) => {
                self.array(4, |all| numbers.iter().for_each(|one| all.uint32(*one)));
            }
            Value::Pairs(pairs) => self.array(8, |all| {
                for (first, second) in pairs {
                    all.align(8);
                    all.text(first);
                    all.text(second);
                }
            }),
        }
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The answer to a call.
    Return,
    /// The refusal of one.
    Error,
    /// What nobody asked for.
    Signal,
    /// One that asks, and kinds to come.
    Other,
}

/// A message that has come.
#[derive(Debug)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The serial number of the call that it answers.
    pub answers: u32,
    /// The signal's name; empty if it is none.
    pub member: String,
    /// The error's name; empty if it is none.
    pub error: String,
    body: Vec<u8>,
}

impl Message {
    /// Reads the next one.
    pub(crate) fn read(from: &mut impl io::Read) -> io::Result<Self> {
        let mut head = [0; HEADER];
        from.read_exact(&mut head)?;
        if head[0] != b'l' {
            return Err(malformed());
        }
        let mut numbers = Decoder::new(&head);
        numbers.at = 4;
        let body = numbers.uint32()? as usize;
        numbers.at = 12;
        let fields = numbers.uint32()? as usize;
        // The fields begin at byte 16, where structures may.
        let padded = fields.next_multiple_of(8);
        if body > LARGEST || padded > LARGEST {
            return Err(malformed());
        }
        let mut rest = vec![0; padded + body];
        from.read_exact(&mut rest)?;
        let mut message = Self {
            kind: match head[1] {
                2 => Kind::Return,
                3 => Kind::Error,
                4 => Kind::Signal,
                _ => Kind::Other,
            },
            answers: 0,
            member: String::new(),
            error: String::new(),
            body: rest.split_off(padded),
        };
        message.take_fields(&rest[..fields])?;
        Ok(message)
    }

    fn take_fields(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut fields = Decoder::new(bytes);
        while fields.at < bytes.len() {
            fields.align(8);
            let code = fields.take(1)?[0];
            let kind = fields.signature()?;
            match kind.as_str() {
                "u" => {
                    let number = fields.uint32()?;
                    if code == 5 {
                        self.answers = number;
                    }
                }
                "s" | "o" => {
                    let text = fields.text()?;
                    match code {
                        3 => self.member = text,
                        4 => self.error = text,
                        _ => {}
                    }
                }
                "g" => drop(fields.signature()?),
                _ => return Err(malformed()),
            }
        }
        Ok(())
    }

    /// Its values, one after the other.
    pub fn body(&self) -> Decoder<'_> {
        Decoder::new(&self.body)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a malformed D-Bus message")
}

/// Reads values one after the other.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or_else(malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(malformed)?;
        self.at = end;
        Ok(taken)
    }

    /// `u` or `b`.
    ///
    /// # Errors
    /// If there is none.
    pub fn uint32(&mut self) -> io::Result<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().map_err(|_| malformed())?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// A text or the path of an object.
    ///
    /// # Errors
    /// If there is none.
    pub fn text(&mut self) -> io::Result<String> {
        let length = self.uint32()? as usize;
        self.text_of(length)
    }

    /// `as`.
    ///
    /// # Errors
    /// If there is none.
    pub fn texts(&mut self) -> io::Result<Vec<String>> {
        let length = self.uint32()? as usize;
        let end = self.at.checked_add(length).ok_or_else(malformed)?;
        let mut texts = Vec::new();
        while self.at < end {
            texts.push(self.text()?);
        }
        Ok(texts)
    }

    fn signature(&mut self) -> io::Result<String> {
        let length = self.take(1)?[0];
        self.text_of(length.into())
    }

    fn text_of(&mut self, length: usize) -> io::Result<String> {
        let text = self.take(length)?;
        // Its end, a zero.
        self.take(1)?;
        String::from_utf8(text.to_owned()).map_err(|_| malformed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call read back as if it had come.
    #[test]
    fn what_is_written_is_read() {
        let target = Target {
            destination: "org.freedesktop.systemd1",
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager",
            member: "StopUnit",
        };
        let mut body = Encoder::default();
        body.text("a.scope");
        body.boolean(true);
        body.properties(&[
            ("PIDs".to_owned(), Value::Numbers(vec![7])),
            ("MemoryMax".to_owned(), Value::Uint64(u64::MAX)),
            (
                "DeviceAllow".to_owned(),
                Value::Pairs(vec![("char-pts".to_owned(), "rw".to_owned())]),
            ),
        ]);
        let bytes = call(3, &target, "sba(sv)", &body);
        assert_eq!(bytes[..4], [b'l', CALL, NO_AUTO_START, 1]);
        let message = Message::read(&mut bytes.as_slice()).expect("a whole message");
        assert_eq!((message.kind, message.answers), (Kind::Other, 0));
        assert_eq!(message.member, "StopUnit");
        assert_eq!(message.body, body.bytes);
        let mut values = message.body();
        assert_eq!(values.text().expect("a text"), "a.scope");
        assert_eq!(values.uint32().expect("a boolean"), 1);
    }

    #[test]
    fn lists_of_texts_are_read() {
        let mut body = Encoder::default();
        let all = ["a".to_owned(), String::new(), "long enough".to_owned()];
        body.value(&Value::Texts(all.to_vec()));
        let read = Decoder::new(&body.bytes).texts();
        assert_eq!(read.expect("a list"), all);
        let cut = &body.bytes[..body.bytes.len() - 1];
        assert!(Decoder::new(cut).texts().is_err());
    }

    #[test]
    fn values_begin_where_their_types_may() {
        let mut body = Encoder::default();
        body.properties(&[("A".to_owned(), Value::Uint64(1))]);
        let wanted = [
            24, 0, 0, 0, 0, 0, 0, 0, // the array's length, and the structure's alignment
            1, 0, 0, 0, b'A', 0, // the name
            1, b't', 0, 0, 0, 0, 0, 0, 0, 0, // the signature, and the number's alignment
            1, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(body.bytes, wanted);
    }

    #[test]
    fn a_message_that_lies_is_refused() {
        for bytes in [
            &b"l\x02\0\x01\xff\xff\xff\xff\x01\0\0\0\0\0\0\0"[..],
            b"B\x02\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0",
            b"l\x02\0\x01\0\0\0\0\x01\0\0\0\x08\0\0\0\x05\x01u\0\xff",
            b"l\x02\0\x01\0\0\0\0\x01\0\0\0\x08\0\0\0\x03\x01s\0\xff\xff\xff\xff",
        ] {
            assert!(Message::read(&mut &*bytes).is_err());
        }
    }
}
