//! A registry in this process, and a client that sends exactly the bytes it is told to.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wharf_oci::{Algorithm, Descriptor, Digest, Hasher};
use wharf_registry::{Config, Registry};

/// The digest of nothing that is here.
pub(crate) const NONE: &str =
    "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A registry over a folder of its own, until it is dropped.
pub(crate) struct Server {
    pub(crate) runtime: Runtime,
    pub(crate) registry: Option<Registry>,
    pub(crate) addr: SocketAddr,
    pub(crate) dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn new() -> Server {
        Server::with("")
    }

    /// One with more lines of settings; what is below `storage` begins with spaces.
    pub(crate) fn with(more: &str) -> Server {
        Server::listening("", more)
    }

    /// As [`Server::with`], and with more keys of `http`.
    pub(crate) fn listening(http: &str, more: &str) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let delete = match more.contains("delete:") {
            true => "",
            false => "  delete: {enabled: true}\n",
        };
        let (storage, rest): (Vec<&str>, Vec<&str>) =
            more.lines().partition(|line| line.starts_with("  "));
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {}}}\n{delete}{}\nhttp: {{addr: '127.0.0.1:0', {http}}}\n{}\n",
            dir.path().display(),
            storage.join("\n"),
            rest.join("\n")
        );
        std::fs::write(dir.path().join("config.yml"), text).unwrap();
        Server::start(dir)
    }

    fn start(dir: tempfile::TempDir) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let config = Config::read(&dir.path().join("config.yml"), None, None).unwrap();
        let registry = runtime.block_on(Registry::start(config)).unwrap();
        let addr = registry.addr();
        Server {
            runtime,
            registry: Some(registry),
            addr,
            dir,
        }
    }

    /// The same folder under a new process' eyes.
    pub(crate) fn restarted(mut self) -> Server {
        self.runtime.block_on(self.registry.take().unwrap().stop());
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        Server::start(self.dir)
    }

    pub(crate) fn collect(&self, untagged: bool) -> u64 {
        let registry = self.registry.as_ref().unwrap();
        self.runtime
            .block_on(registry.collect(Duration::ZERO, untagged))
            .unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        send(self.addr, method, path, headers, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// Puts a blob by `POST` and `PUT`.
    pub(crate) fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let begun = self
            .send("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"")
            .expect(202);
        let answer = self.send(
            "PUT",
            &format!("{}?digest={digest}", begun.header("location")),
            &[],
            bytes,
        );
        assert_eq!(
            answer.expect(201).header("docker-content-digest"),
            digest.to_string()
        );
        digest
    }

    pub(crate) fn put_manifest(&self, name: &str, reference: &str, manifest: &Value) -> Answer {
        let kind = manifest["mediaType"].as_str().unwrap().to_owned();
        let path = format!("/v2/{name}/manifests/{reference}");
        self.send(
            "PUT",
            &path,
            &[("Content-Type", &kind)],
            manifest.to_string().as_bytes(),
        )
    }

    /// Puts an image of one layer under a tag.
    pub(crate) fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> Image {
        let image = self.offer_image(name, tag, layer);
        image.expect("the registry has the blobs that it was just given")
    }

    /// The same beside a collector that may be faster than we are; `None` if it was.
    pub(crate) fn offer_image(&self, name: &str, tag: &str, layer: &[u8]) -> Option<Image> {
        let config = format!(
            "{{\"config of\":{:?}}}",
            String::from_utf8_lossy(&layer[..layer.len().min(16)])
        );
        self.push_blob(name, config.as_bytes());
        let layer_digest = self.push_blob(name, layer);
        let manifest = manifest(config.as_bytes(), &[layer]);
        let answer = self.put_manifest(name, tag, &manifest);
        if answer.status == 400 && answer.text().contains("MANIFEST_BLOB_UNKNOWN") {
            return None;
        }
        let answer = answer.expect(201);
        Some(Image {
            digest: Digest::parse(answer.header("docker-content-digest")).unwrap(),
            layer: layer_digest,
            config: Digest::sha256(config.as_bytes()),
            manifest,
        })
    }
}

pub(crate) struct Image {
    pub(crate) digest: Digest,
    pub(crate) layer: Digest,
    pub(crate) config: Digest,
    pub(crate) manifest: Value,
}

impl Image {
    /// How a manifest says that it is about this one.
    pub(crate) fn descriptor(&self) -> Value {
        let bytes = self.manifest.to_string();
        json!({"mediaType": MANIFEST, "digest": self.digest, "size": bytes.len()})
    }
}

pub(crate) fn manifest(config: &[u8], layers: &[&[u8]]) -> Value {
    let layers: Vec<Descriptor> = layers
        .iter()
        .map(|layer| Descriptor::of(LAYER, layer))
        .collect();
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": Descriptor::of(CONFIG, config), "layers": layers})
}

pub(crate) fn sha512(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(bytes);
    hasher.finish()
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{:?}: {}", self.headers, self.text());
        self
    }

    /// A refusal with this code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Answer {
        let answer = self.expect(status);
        assert_eq!(
            answer.json()["errors"][0]["code"],
            code,
            "{}",
            answer.text()
        );
        answer
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
}

/// One request on a connection of its own.
pub(crate) fn send(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    raw(addr, &request(addr, method, path, headers, body))
}

/// As [`send`]; `None` if the server goes away.
pub(crate) fn try_send(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut stream = TcpStream::connect(addr).ok()?;
    stream
        .write_all(&request(addr, method, path, headers, body))
        .ok()?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).ok()?;
    let whole = all.windows(4).any(|window| window == b"\r\n\r\n");
    let answer = whole.then(|| parse(&all))?;
    let length = answer
        .header("content-length")
        .parse::<usize>()
        .unwrap_or(0);
    (answer.body.len() == length || method == "HEAD").then_some(answer)
}

fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    let has = |wanted: &str| {
        headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    if !has("content-length") && !has("transfer-encoding") && !matches!(method, "GET" | "HEAD") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Exactly these bytes.
pub(crate) fn raw(addr: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = connect(addr);
    // A server that refuses may not take all of it.
    let _ = stream.write_all(bytes);
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    assert!(read.is_ok() || !all.is_empty(), "{read:?}");
    parse(&all)
}

fn parse(all: &[u8]) -> Answer {
    let end = all
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| {
            panic!("no head of an answer: {:?}", String::from_utf8_lossy(all));
        });
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|text| text.parse().ok())
        .unwrap();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Answer {
        status,
        body: all[end + 4..].to_vec(),
        headers,
    }
}
