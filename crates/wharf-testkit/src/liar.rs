//! A registry that does as it is told, wrong things included. One thread per connection, raw HTTP/1.1, so that
//! cuts and lies happen at an exact byte.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use wharf_oci::{Digest, Reference, ReferenceError};

use crate::receivers::inside;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` and the like.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, as far as it is text.
    pub body: String,
}

impl Request {
    /// The value of a header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name)?;
        Some(&found.1)
    }

    /// First byte of `Range: bytes=N-[M]`.
    pub fn range(&self) -> Option<usize> {
        self.window().map(|(first, _)| first)
    }

    /// First and last byte of `Range: bytes=N-[M]`.
    pub fn window(&self) -> Option<(usize, Option<usize>)> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()))
    }
}

/// What to answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The status; 0 stands for 200 at `/v2/`, and for 404 elsewhere.
    pub status: u16,
    /// More headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Arc<Vec<u8>>,
    /// `Content-Length`, if it is to differ from the truth.
    pub announce: Option<usize>,
    /// Close the connection after this many bytes of the body.
    pub cut: Option<usize>,
    /// After the body (or the cut), say nothing and keep the connection.
    pub stall: bool,
    /// Send the body in pieces of so many bytes, with this time between them.
    pub drip: Option<(usize, Duration)>,
}

impl Reply {
    /// 200.
    pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply::status(200, body)
    }

    /// Any status.
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status,
            body: Arc::new(body.into()),
            ..Reply::default()
        }
    }

    /// A refusal in the form of the specification.
    pub fn error(status: u16, code: &str, message: &str) -> Reply {
        let body =
            format!(r#"{{"errors":[{{"code":"{code}","message":"{message}","detail":"a lie"}}]}}"#);
        Reply::status(status, body).with("Content-Type", "application/json")
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A blob, or the part of it that was asked for.
    pub fn blob(request: &Request, blob: &[u8]) -> Reply {
        match request.window() {
            Some((from, _)) if from >= blob.len() => Reply::status(416, ""),
            Some((from, last)) => {
                let last = last.unwrap_or(usize::MAX).min(blob.len() - 1);
                Reply::status(206, &blob[from..=last]).with(
                    "Content-Range",
                    format!("bytes {from}-{last}/{}", blob.len()),
                )
            }
            None => Reply::ok(blob),
        }
    }
}

/// The registry, and what it was asked.
pub struct Liar {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Liar {
    /// Answers with `handler` on a free port of this machine's loopback, as long as the test lives.
    ///
    /// # Errors
    /// If there is none.
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Result<Liar> {
        Liar::on(TcpListener::bind("127.0.0.1:0")?, handler)
    }

    /// As [`Liar::start`], on a port of the loopback of the process `pid`'s network.
    ///
    /// # Errors
    /// If that is not there.
    pub fn start_inside(
        pid: u32,
        port: u16,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Result<Liar> {
        let listener = inside(pid, move || TcpListener::bind(("127.0.0.1", port)))?;
        Liar::on(listener, handler)
    }

    fn on(
        listener: TcpListener,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Result<Liar> {
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, handler) = (seen.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, handler) = (log.clone(), handler.clone());
                std::thread::spawn(move || serve(stream, &log, &*handler));
            }
        });
        Ok(Liar { address, seen })
    }

    /// A name at this registry.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn reference(&self, name: &str) -> Result<Reference, ReferenceError> {
        Reference::parse_normalized(&format!("{}/{name}", self.address))
    }

    /// What was asked whose path has `part` in it.
    pub fn requests(&self, part: &str) -> Vec<Request> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .filter(|request| request.path.contains(part))
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
    let head_only = request.method == "HEAD";
    log.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request);
    let length = reply.announce.unwrap_or(reply.body.len());
    let mut head = format!(
        "HTTP/1.1 {} X\r\nContent-Length: {length}\r\n",
        reply.status
    );
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Connection: close\r\n\r\n");
    // A client that goes away is no failure of ours.
    let _ = stream.write_all(head.as_bytes());
    if !head_only {
        let end = reply.cut.unwrap_or(reply.body.len());
        let _ = send_body(&mut stream, &reply.body[..end], reply.drip);
    }
    if reply.stall {
        // Until the client hangs up.
        let _ = BufReader::new(&stream).read_line(&mut String::new());
    }
}

fn send_body(
    stream: &mut TcpStream,
    body: &[u8],
    drip: Option<(usize, Duration)>,
) -> std::io::Result<()> {
    let Some((piece, pause)) = drip else {
        return stream.write_all(body);
    };
    for part in body.chunks(piece) {
        stream.write_all(part)?;
        std::thread::sleep(pause);
    }
    Ok(())
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
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// An image of small blobs, as a liar serves it.
#[derive(Debug, Clone)]
pub struct LiarImage {
    /// The manifest's bytes (OCI).
    pub manifest: Vec<u8>,
    /// The configuration's bytes.
    pub config: Vec<u8>,
    /// The layers' bytes, gzip.
    pub layers: Vec<Vec<u8>>,
}

impl LiarImage {
    /// An image with a layer for each text: a file `/text-N` with it.
    ///
    /// # Errors
    /// None that a healthy machine has.
    pub fn new(texts: &[&[u8]]) -> Result<LiarImage> {
        let (mut layers, mut diff_ids, mut descriptors) = (Vec::new(), Vec::new(), Vec::new());
        for (number, text) in texts.iter().enumerate() {
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("text-{number}"), *text)?;
            let tar = tar.into_inner()?;
            diff_ids.push(Digest::sha256(&tar).to_string());
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&tar)?;
            let layer = encoder.finish()?;
            descriptors.push(serde_json::json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": Digest::sha256(&layer).to_string(), "size": layer.len(),
            }));
            layers.push(layer);
        }
        let config = serde_json::json!({
            "os": "linux", "architecture": wharf_oci::Platform::host().architecture,
            "config": {"Cmd": ["true"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::sha256(&config).to_string(), "size": config.len(),
            },
            "layers": descriptors,
        });
        Ok(LiarImage {
            manifest: manifest.to_string().into_bytes(),
            config,
            layers,
        })
    }

    /// Whether a request is for the layer of this number.
    pub fn is_layer(&self, request: &Request, number: usize) -> bool {
        let digest = Digest::sha256(&self.layers[number]).to_string();
        request.path.ends_with(&digest)
    }

    /// An honest answer, whatever the repository and the tag.
    pub fn answer(&self, request: &Request) -> Reply {
        if request.path.contains("/manifests/") {
            return Reply::ok(self.manifest.clone())
                .with("Content-Type", "application/vnd.oci.image.manifest.v1+json");
        }
        let mut blobs = self.layers.iter().chain([&self.config]);
        match blobs.find(|blob| request.path.ends_with(&Digest::sha256(blob).to_string())) {
            Some(blob) => Reply::blob(request, blob),
            None => Reply::default(),
        }
    }
}
