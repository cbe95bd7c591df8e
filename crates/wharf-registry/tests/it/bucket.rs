//! Storage in a bucket, of a store that is slow to say yes (`s3.py`).

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use wharf_oci::Digest;

use crate::client::{Server, send};

/// The object store; it ends with this.
struct Objects {
    process: Child,
    addr: SocketAddr,
}

impl Objects {
    fn start() -> Objects {
        let script = concat!(env!("WHARF_ROOT"), "/crates/wharf-registry/tests/it/s3.py");
        let mut process = Command::new("python3")
            .arg(script)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let output = process.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut port).unwrap();
        let addr = format!("127.0.0.1:{}", port.trim()).parse().unwrap();
        Objects { process, addr }
    }

    /// The lines of settings for a registry over it.
    fn settings(&self, secret: &str, redirect: bool) -> String {
        format!(
            "  s3: {{accesskey: the-key, secretkey: {secret}, region: here, regionendpoint: 'http://{}', bucket: bucket, rootdirectory: /below, chunksize: 5MiB}}\n  redirect: {{disable: {}}}",
            self.addr, !redirect
        )
    }

    fn registry(&self, redirect: bool) -> Server {
        Server::with(&self.settings("the/secret", redirect))
    }

    /// How often somebody looked whether an object is there.
    fn looks(&self) -> u32 {
        let count = send(self.addr, "GET", "/looks", &[], b"").text();
        count.parse().unwrap()
    }

    /// All keys.
    fn keys(&self) -> Vec<String> {
        let all = send(self.addr, "GET", "/", &[], b"").text();
        all.lines().map(str::to_owned).collect()
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn content_is_in_the_bucket() {
    let objects = Objects::start();
    let server = objects.registry(false);
    // In parts, the last of which is a small one.
    let large: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let image = server.push_image("a/b", "one", &large);
    for tag in ["two", "three", "four", "five"] {
        server.put_manifest("a/b", tag, &image.manifest).expect(201);
    }
    let layout = "below/docker/registry/v2/repositories/a/b/_manifests/tags/one/current/link";
    assert!(objects.keys().iter().any(|key| key == layout));
    assert!(!server.path().join("docker/registry/v2/blobs").exists());
    let server = server.restarted();
    let answer = server.get("/v2/a/b/manifests/one").expect(200);
    assert_eq!(answer.text(), image.manifest.to_string());
    let blob = format!("/v2/a/b/blobs/{}", image.layer);
    let head = server.send("HEAD", &blob, &[], b"").expect(200);
    assert_eq!(head.header("content-length"), large.len().to_string());
    assert!(server.get(&blob).expect(200).body == large);
    let part = server
        .send("GET", &blob, &[("Range", "bytes=5000000-6999999")], b"")
        .expect(206);
    assert!(part.body == large[5_000_000..7_000_000]);
    assert_eq!(
        server.get("/v2/a/b/tags/list").json()["tags"],
        json!(["five", "four", "one", "three", "two"])
    );
    assert_eq!(
        server.get("/v2/_catalog").json()["repositories"],
        json!(["a/b"])
    );
    let mount = format!("/v2/c/blobs/uploads/?mount={}&from=a/b", image.layer);
    server.send("POST", &mount, &[], b"").expect(201);
    server
        .get(&format!("/v2/c/blobs/{}", image.config))
        .refused(404, "BLOB_UNKNOWN");
    let wrong = format!("/v2/a/b/blobs/uploads/?digest={}", Digest::sha256(b"other"));
    server
        .send("POST", &wrong, &[], b"this")
        .refused(400, "DIGEST_INVALID");
}

#[test]
fn a_page_costs_no_look_at_what_is_not_on_it() {
    let objects = Objects::start();
    let server = objects.registry(false);
    let image = server.push_image("a", "t00", b"layer");
    for number in 1..20 {
        let tag = format!("t{number:02}");
        server.put_manifest("a", &tag, &image.manifest).expect(201);
    }
    let server = server.restarted();
    let before = objects.looks();
    let page = server.get("/v2/a/tags/list?n=2&last=t03").expect(200);
    assert_eq!(page.json()["tags"], json!(["t04", "t05"]));
    assert!(page.header("link").contains("last=t05"));
    // One more than the page has, and what the overloaded store was asked twice.
    let looks = objects.looks() - before;
    assert!(looks <= 6, "{looks}");
    // Of all of them, a list says as much.
    let before = objects.looks();
    let all = server.get("/v2/a/tags/list").expect(200).json();
    assert_eq!(all["tags"].as_array().unwrap().len(), 20);
    let page = server.get("/v2/a/tags/list?n=1000&last=t03").expect(200);
    assert_eq!(page.json()["tags"].as_array().unwrap().len(), 16);
    assert_eq!(page.header("link"), "");
    assert_eq!(objects.looks(), before);
}

#[test]
fn garbage_costs_no_look_into_every_repository() {
    let objects = Objects::start();
    let server = objects.registry(false);
    for number in 0..8 {
        server.push_image(&format!("r{number}"), "one", b"layer");
    }
    let server = server.restarted();
    let collect = |freed: u64| {
        let before = objects.looks();
        assert_eq!(server.collect(false), freed);
        objects.looks() - before
    };
    let none = collect(0);
    for number in 0..3 {
        server.push_blob("a", format!("garbage {number}").as_bytes());
    }
    let some = collect(3 * 9);
    // At each its link, its age and its size twice, and what the overloaded store was asked twice.
    assert!(some <= none + 30, "{none} {some}");
    // What is linked is listed, not looked at: of each repository three digests.
    assert!(none <= 4, "{none}");
}

#[test]
fn what_is_deleted_leaves_the_bucket() {
    let objects = Objects::start();
    let server = objects.registry(false);
    let image = server.push_image("a", "one", b"layer");
    let other = server.push_image("a", "two", b"another layer");
    server
        .send("DELETE", "/v2/a/manifests/one", &[], b"")
        .expect(202);
    server.get("/v2/a/manifests/one").expect(404);
    let path = format!("/v2/a/manifests/{}", image.digest);
    server.send("DELETE", &path, &[], b"").expect(202);
    let mut freed = server.collect(false);
    // One collection takes the links, the next what they led to.
    freed += server.collect(false);
    assert!(freed > 0);
    let hex = image.layer.hex();
    assert!(!objects.keys().iter().any(|key| key.contains(&hex)));
    server
        .get(&format!("/v2/a/blobs/{}", other.layer))
        .expect(200);
    let server = server.restarted();
    assert_eq!(server.get("/v2/a/tags/list").json()["tags"], json!(["two"]));
}

#[test]
fn clients_are_sent_to_the_bucket() {
    let objects = Objects::start();
    let server = objects.registry(true);
    let image = server.push_image("a", "one", b"layer");
    let path = format!("/v2/a/blobs/{}", image.layer);
    let sent = server.get(&path).expect(307);
    let target = sent.header("location");
    let target = target
        .strip_prefix(&format!("http://{}", objects.addr))
        .unwrap();
    // What the store says of itself (overloaded) is between it and the client.
    let fetched = (0..2)
        .map(|_| send(objects.addr, "GET", target, &[], b""))
        .find(|answer| answer.status == 200);
    assert_eq!(fetched.unwrap().text(), "layer");
    let head = server.send("HEAD", &path, &[], b"").expect(200);
    assert_eq!(head.header("content-length"), "5");
}

#[test]
fn a_bucket_that_does_not_let_us_in_is_told_of() {
    let objects = Objects::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yml");
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {}}}\n{}\nhttp: {{addr: '127.0.0.1:0'}}\n",
        dir.path().display(),
        objects.settings("wrong", false)
    );
    std::fs::write(&path, text).unwrap();
    let config = wharf_registry::Config::read(&path, None, None).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let started = runtime.block_on(wharf_registry::Registry::start(config));
    let error = started.err().unwrap();
    assert_eq!(error.to_string(), "list s3://bucket/below/");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.contains("403 Forbidden: SignatureDoesNotMatch: no"),
        "{source}"
    );
}
