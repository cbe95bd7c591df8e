//! A registry that does as it is told, wrong things included. One thread per connection, raw HTTP/1.1, so that
//! cuts and lies happen at an exact byte.

#![allow(clippy::unwrap_used, reason = "test helper")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wharf_distribution::{Client, Config};
use wharf_oci::{Descriptor, Digest, Manifest, Reference, media_type};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name)?;
        Some(&found.1)
    }

    /// First byte of `Range: bytes=N-`.
    pub(crate) fn range(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.trim_end_matches('-').parse().ok()
    }
}

/// What to answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// `Content-Length`, if it is to differ from the truth.
    pub(crate) announce: Option<usize>,
    /// Close the connection after this many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// After the body (or the cut), say nothing and keep the connection.
    pub(crate) stall: bool,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply::status(200, body)
    }

    pub(crate) fn status(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status,
            body: body.into(),
            ..Reply::default()
        }
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Reply {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        Reply::status(status, body)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A blob, or what is left of it.
    pub(crate) fn blob(request: &Request, blob: &[u8]) -> Reply {
        match request.range() {
            Some(from) => Reply::status(206, &blob[from..]).with(
                "Content-Range",
                format!("bytes {from}-{}/{}", blob.len() - 1, blob.len()),
            ),
            None => Reply::ok(blob),
        }
    }
}

/// The registry, and what it was asked.
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Request>>>,
}

impl Registry {
    /// Answers with `handler`; `/v2/` is answered with 200 if the handler gives status 0.
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, handler) = (seen.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, handler) = (log.clone(), handler.clone());
                std::thread::spawn(move || serve(stream, &log, &*handler));
            }
        });
        Registry { address, seen }
    }

    pub(crate) fn reference(&self, name: &str) -> Reference {
        Reference::parse_normalized(&format!("{}/{name}", self.address)).unwrap()
    }

    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|request| request.path.contains(path))
            .cloned()
            .collect()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, handler: &dyn Fn(&Request) -> Reply) {
    let Some(request) = read_request(&stream) else {
        return;
    };
    let mut reply = handler(&request);
    if reply.status == 0 {
        reply.status = if request.path == "/v2/" { 200 } else { 404 };
    }
    log.lock().unwrap().push(request);
    let length = reply.announce.unwrap_or(reply.body.len());
    let mut head = format!(
        "HTTP/1.1 {} X\r\nContent-Length: {length}\r\n",
        reply.status
    );
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Connection: close\r\n\r\n");
    let end = reply.cut.unwrap_or(reply.body.len());
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&reply.body[..end]);
    if reply.stall {
        // Until the client hangs up.
        let _ = BufReader::new(&stream).read_line(&mut String::new());
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    // A TLS handshake on this port is no request; close at once, as a plain HTTP server would.
    if *reader.fill_buf().ok()?.first()? == 0x16 {
        let mut stream = stream;
        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        return None;
    }
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut words = lines.first()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(key, value)| (key.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(key, _)| key == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    std::io::Read::read_exact(&mut reader, &mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

/// A client that does not wait long.
pub(crate) fn client() -> Client {
    client_with(Config::default())
}

pub(crate) fn client_with(config: Config) -> Client {
    Client::new(Config {
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_millis(300),
        retries: 3,
        retry_delay: Duration::from_millis(1),
        certs_dir: "/nonexistent".into(),
        ..config
    })
    .unwrap()
}

/// A manifest with one layer.
pub(crate) fn manifest(layer: &[u8]) -> (Vec<u8>, Digest) {
    let config = b"{}";
    let manifest = Manifest::oci(
        Descriptor::of(media_type::OCI_CONFIG, config),
        vec![Descriptor::of(media_type::OCI_LAYER, layer)],
    );
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = Digest::sha256(&bytes);
    (bytes, digest)
}
