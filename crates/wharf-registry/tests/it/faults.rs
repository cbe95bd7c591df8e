//! Those who mean harm, and connections that break: each gets an error, and the store stays whole.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::json;
use wharf_oci::Digest;

use crate::client::{MANIFEST, Server, connect, raw};

/// Everything below the folder that is not the store's own.
fn strangers(server: &Server) -> Vec<String> {
    let entries = std::fs::read_dir(server.path().parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("stranger")).collect()
}

#[test]
fn paths_do_not_climb() {
    let server = Server::new();
    server.push_image("a", "one", b"layer");
    for path in [
        "/v2/../../../../etc/passwd",
        "/v2/a/../../stranger/blobs/uploads/",
        "/v2/a/%2e%2e/%2e%2e/stranger/blobs/uploads/",
        "/v2/..%2fstranger/blobs/uploads/",
        "/v2/a%00b/blobs/uploads/",
        "/v2/_uploads/blobs/uploads/",
        "/v2/a/_layers/blobs/uploads/",
        "//v2//a/blobs/uploads/",
    ] {
        let answer = server.send("POST", path, &[], b"");
        assert!(
            matches!(answer.status, 400 | 404),
            "{path}: {}",
            answer.status
        );
    }
    for path in [
        "/v2/a/manifests/..%2f..%2fx",
        "/v2/a/manifests/%2e%2e",
        "/v2/a/blobs/sha256:../../../../../../../../../../../../../../../../../../../../../../../a",
        "/v2/a/blobs/uploads/../../../../x",
        "/v2/a/blobs/uploads/..",
        "/v2/a/referrers/sha256:..",
    ] {
        let answer = server.get(path);
        assert!(
            matches!(answer.status, 400 | 404),
            "{path}: {}",
            answer.status
        );
    }
    assert!(strangers(&server).is_empty());
    assert_eq!(
        server.get("/v2/_catalog").json()["repositories"],
        json!(["a"])
    );
}

#[test]
fn heads_without_measure() {
    let server = Server::new();
    let long = "x".repeat(1 << 20);
    let head = format!("GET /v2/ HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n");
    assert_eq!(raw(server.addr, head.as_bytes()).status, 431);
    let many: String = (0..10_000).map(|n| format!("X{n}: y\r\n")).collect();
    assert_eq!(
        raw(
            server.addr,
            format!("GET /v2/ HTTP/1.1\r\n{many}\r\n").as_bytes()
        )
        .status,
        431
    );
    assert!(
        raw(
            server.addr,
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()
        )
        .status
            >= 400
    );
    assert_eq!(raw(server.addr, b"nonsense\r\n\r\n").status, 400);
    server.get("/v2/").expect(200);
}

#[test]
fn bodies_that_break_off_are_gone_on_with() {
    let server = Server::new();
    let begun = server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .expect(202);
    let location = begun.header("location");
    let mut stream = connect(server.addr);
    write!(
        stream,
        "PATCH {location} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf "
    )
    .unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    // The request ends when the server sees that, and what came stays.
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.get(location).expect(204).header("range") != "0-4" {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    server
        .send("PATCH", location, &[("Content-Range", "5-8")], b"done")
        .expect(202);
    let digest = Digest::sha256(b"half done");
    server
        .send("PUT", &format!("{location}?digest={digest}"), &[], b"")
        .expect(201);
    // A manifest that breaks off is none.
    let image = server.push_image("a", "one", b"layer");
    let bytes = image.manifest.to_string();
    let mut stream = connect(server.addr);
    write!(stream, "PUT /v2/a/manifests/cut HTTP/1.1\r\nHost: a\r\nContent-Type: {MANIFEST}\r\nContent-Length: {}\r\n\r\n{}", bytes.len(), &bytes[..50]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    server.get("/v2/a/manifests/cut").expect(404);
}

#[test]
fn two_requests_at_one_upload_do_not_mix() {
    let server = Server::new();
    let begun = server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .expect(202);
    let location = begun.header("location").to_owned();
    let bytes = vec![7u8; 300_000];
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let send = || {
            server
                .send("PATCH", &location, &[("Content-Range", "0-299999")], &bytes)
                .status
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(
        answers.iter().filter(|status| **status == 202).count(),
        1,
        "{answers:?}"
    );
    assert!(
        answers.iter().all(|status| matches!(status, 202 | 416)),
        "{answers:?}"
    );
    let digest = Digest::sha256(&bytes);
    server
        .send("PUT", &format!("{location}?digest={digest}"), &[], b"")
        .expect(201);
}

#[test]
fn a_damaged_manifest_is_not_given_out() {
    let server = Server::new();
    let image = server.push_image("a", "one", b"layer");
    let hex = image.digest.hex();
    let path = server.path().join(format!(
        "docker/registry/v2/blobs/sha256/{}/{hex}/data",
        &hex[..2]
    ));
    let server = server.restarted();
    std::fs::write(&path, b"{}").unwrap();
    server
        .get("/v2/a/manifests/one")
        .refused(404, "MANIFEST_UNKNOWN");
}

#[test]
fn a_refused_upload_is_told_why() {
    // More than fits into the sockets' buffers: who is refused must come to read it.
    let server = Server::with("  quota: {repository: 1000}");
    let begun = server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .expect(202);
    let answer = server.send("PATCH", begun.header("location"), &[], &vec![0; 12 << 20]);
    answer.refused(403, "DENIED");
}

#[test]
fn who_asks_before_sending_is_told_at_once() {
    let server = Server::with("  maintenance: {readonly: {enabled: true}}");
    let mut stream = connect(server.addr);
    let head = "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 405");
}

/// A small file system in a mount namespace of its own, which unshare(1) makes private.
const ON_A_SMALL_DISK: &str =
    r#"mount -t tmpfs -o size=2m none "$0" && TMPDIR="$0" exec "$1" --exact "$2" --ignored"#;

#[test]
fn a_full_disk_ends_the_upload_that_filled_it() {
    let folder = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", ON_A_SMALL_DISK])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .arg("faults::child_on_a_full_disk")
        .status()
        .unwrap();
    assert!(status.success());
}

/// Run by the test above, on 2 MB.
#[test]
#[ignore = "a part of another test"]
fn child_on_a_full_disk() {
    let server = Server::new();
    let kept = server.push_blob("a", b"was there before");
    let begun = server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .expect(202);
    server
        .send("PATCH", begun.header("location"), &[], &vec![1; 4 << 20])
        .expect(507);
    server
        .get(begun.header("location"))
        .refused(404, "BLOB_UPLOAD_UNKNOWN");
    // It is in nobody's way.
    server.push_blob("b", &vec![2; 1 << 20]);
    server.get(&format!("/v2/a/blobs/{kept}")).expect(200);
}
