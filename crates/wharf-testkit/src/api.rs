//! A plain HTTP/1.1 client over a Unix socket, of few lines and none of ours: what a test sees is what is on
//! the wire.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// An answer of the Engine API.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, its transfer coding undone.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The `message` of an error answer.
    pub fn message(&self) -> String {
        self.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// Sends one request and reads the whole answer. `body` is sent as JSON if there is one.
///
/// # Errors
/// If the socket cannot be reached or the answer is not HTTP.
pub fn request(socket: &Path, method: &str, target: &str, body: Option<&Value>) -> Result<Answer> {
    let body = body.map(ToString::to_string);
    let headers = body.as_ref().map(|_| ("Content-Type", "application/json"));
    raw(
        socket,
        method,
        target,
        headers.as_slice(),
        body.unwrap_or_default().as_bytes(),
    )
}

/// Sends one request with these headers and body bytes, and reads the whole answer.
///
/// # Errors
/// As [`request`].
pub fn raw(
    socket: &Path,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connect {socket:?}"))?;
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    // All at once: a daemon may refuse the first line, and be gone.
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    // A daemon that refuses need not read the whole body: its answer says why.
    let _ = stream.write_all(body);
    read_answer(&mut BufReader::new(stream), method == "HEAD")
}

/// Reads an answer from `reader`.
///
/// # Errors
/// If it is not HTTP/1.1, or ends early.
pub fn read_answer(reader: &mut impl BufRead, head_only: bool) -> Result<Answer> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .with_context(|| format!("no status in {line:?}"))?;
    let status = status.parse()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_lowercase(), value.trim().to_owned())),
            None if line.trim_end().is_empty() => break,
            None => bail!("malformed header {line:?}"),
        }
    }
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    if !head_only {
        answer.body = read_body(reader, &answer)?;
    }
    Ok(answer)
}

/// Reads the head of an answer, and nothing behind it: what follows may be no HTTP any more.
///
/// # Errors
/// If it ends early.
pub fn read_head(reader: &mut impl Read) -> Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        reader.read_exact(&mut byte).context("the head's end")?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn read_body(reader: &mut impl BufRead, answer: &Answer) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).context("chunk size")?;
            reader.take(size).read_to_end(&mut body)?;
            let mut end = String::new();
            reader.read_line(&mut end)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match answer.header("content-length") {
        Some(length) => reader.take(length.parse()?).read_to_end(&mut body)?,
        None if matches!(answer.status, 204 | 304) => 0,
        None => reader.read_to_end(&mut body)?,
    };
    Ok(body)
}
