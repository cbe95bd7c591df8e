//! The distribution specification 1.1, "Pull".

use std::io::{BufRead, BufReader, Read as _, Write as _};

use crate::client::{MANIFEST, NONE, Server, connect};

#[test]
fn is_a_registry() {
    let server = Server::new();
    let answer = server.get("/v2/").expect(200);
    assert_eq!(
        answer.header("docker-distribution-api-version"),
        "registry/2.0"
    );
    assert_eq!(answer.text(), "{}");
    server.get("/").expect(200);
    server.get("/x").expect(404);
    server
        .send("POST", "/v2/", &[], b"")
        .refused(405, "UNSUPPORTED");
}

#[test]
fn manifests_are_pulled_as_they_were_put() {
    let server = Server::new();
    let image = server.push_image("a/b", "one", b"layer");
    let bytes = image.manifest.to_string();
    for reference in [
        "one".to_owned(),
        image.digest.to_string(),
        image.digest.to_string().replace(':', "%3A"),
    ] {
        let path = format!("/v2/a/b/manifests/{reference}");
        let answer = server
            .send("GET", &path, &[("Accept", MANIFEST)], b"")
            .expect(200);
        assert_eq!(answer.text(), bytes);
        assert_eq!(answer.header("content-type"), MANIFEST);
        assert_eq!(
            answer.header("docker-content-digest"),
            image.digest.to_string()
        );
        let head = server.send("HEAD", &path, &[], b"").expect(200);
        assert_eq!(head.header("content-length"), bytes.len().to_string());
        assert_eq!(
            head.header("docker-content-digest"),
            image.digest.to_string()
        );
        assert_eq!(head.header("content-type"), MANIFEST);
        assert!(head.body.is_empty());
    }
    for reference in ["two", NONE, ".INVALID_MANIFEST_NAME"] {
        let path = format!("/v2/a/b/manifests/{reference}");
        server.get(&path).refused(404, "MANIFEST_UNKNOWN");
        assert!(
            server
                .send("HEAD", &path, &[], b"")
                .expect(404)
                .body
                .is_empty()
        );
    }
    server
        .get("/v2/a/b/manifests/sha256:x")
        .refused(400, "DIGEST_INVALID");
    server.get("/v2/A/manifests/x").refused(400, "NAME_INVALID");
    server
        .get("/v2/never/manifests/x")
        .refused(404, "MANIFEST_UNKNOWN");
}

#[test]
fn conditional_requests() {
    let server = Server::new();
    let image = server.push_image("a", "one", b"layer");
    let etag = format!("\"{}\"", image.digest);
    assert_eq!(server.get("/v2/a/manifests/one").header("etag"), etag);
    for condition in [
        etag.as_str(),
        &image.digest.to_string(),
        "*",
        &format!("\"x\", W/{etag}"),
    ] {
        let answer = server
            .send(
                "GET",
                "/v2/a/manifests/one",
                &[("If-None-Match", condition)],
                b"",
            )
            .expect(304);
        assert!(answer.body.is_empty() && answer.header("etag") == etag);
    }
    server
        .send(
            "GET",
            "/v2/a/manifests/one",
            &[("If-None-Match", "\"x\"")],
            b"",
        )
        .expect(200);
    let path = format!("/v2/a/blobs/{}", image.layer);
    let etag = format!("\"{}\"", image.layer);
    assert_eq!(server.get(&path).header("etag"), etag);
    server
        .send("GET", &path, &[("If-None-Match", &etag)], b"")
        .expect(304);
}

#[test]
fn blobs_and_their_ranges() {
    let server = Server::new();
    let digest = server.push_blob("a", b"0123456789");
    let path = format!("/v2/a/blobs/{digest}");
    let answer = server.get(&path).expect(200);
    assert_eq!(answer.text(), "0123456789");
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    let head = server.send("HEAD", &path, &[], b"").expect(200);
    assert_eq!(
        (
            head.header("content-length"),
            head.header("docker-content-digest")
        ),
        ("10", digest.to_string().as_str())
    );
    assert!(head.body.is_empty());
    let range = |spec: &str| server.send("GET", &path, &[("Range", spec)], b"");
    let answer = range("bytes=2-4").expect(206);
    assert_eq!(
        (answer.text().as_str(), answer.header("content-range")),
        ("234", "bytes 2-4/10")
    );
    assert_eq!(range("bytes=7-").expect(206).text(), "789");
    assert_eq!(range("bytes=-2").expect(206).text(), "89");
    assert_eq!(
        range("bytes=10-")
            .refused(416, "SIZE_INVALID")
            .header("content-range"),
        "bytes */10"
    );
    range("bytes=5-0").refused(416, "SIZE_INVALID");
    assert_eq!(range("bytes=nonsense").expect(200).text(), "0123456789");
    let other = server
        .send(
            "GET",
            &path,
            &[("Range", "bytes=2-4"), ("If-Range", "\"x\"")],
            b"",
        )
        .expect(200);
    assert_eq!(other.body.len(), 10);
    server
        .get(&format!("/v2/a/blobs/{NONE}"))
        .refused(404, "BLOB_UNKNOWN");
    server
        .send("HEAD", &format!("/v2/a/blobs/{NONE}"), &[], b"")
        .expect(404);
    server
        .get("/v2/a/blobs/sha256:x")
        .refused(400, "DIGEST_INVALID");
    // Another repository has it not.
    server
        .get(&format!("/v2/b/blobs/{digest}"))
        .refused(404, "BLOB_UNKNOWN");
}

#[test]
fn large_blobs_come_whole() {
    let server = Server::new();
    let bytes: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let digest = server.push_blob("a", &bytes);
    assert!(
        server
            .get(&format!("/v2/a/blobs/{digest}"))
            .expect(200)
            .body
            == bytes
    );
    let part = server.send(
        "GET",
        &format!("/v2/a/blobs/{digest}"),
        &[("Range", "bytes=1000000-9999999")],
        b"",
    );
    assert!(part.expect(206).body == bytes[1_000_000..10_000_000]);
}

/// Takes one answer off a connection that goes on.
fn next_answer(stream: &mut impl BufRead) -> (String, Vec<u8>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let length = head
        .to_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

#[test]
fn answers_on_one_connection_come_whole_and_in_order() {
    let server = Server::new();
    let bytes = |seed: u32, count: u32| -> Vec<u8> {
        let numbers = (0..count).map(|number| number.wrapping_mul(seed));
        numbers.flat_map(u32::to_le_bytes).collect()
    };
    // More than goes out at a time, and less.
    let (large, small) = (bytes(2_654_435_761, 2_500_000), bytes(40_503, 10));
    let of_large = server.push_blob("a", &large);
    let image = server.push_image("a", "one", &small);
    let request = |path: &str, range: &str| {
        format!(
            "GET /v2/a/{path} HTTP/1.1\r\nHost: {}\r\nRange: {range}\r\n\r\n",
            server.addr
        )
    };
    let large_path = format!("blobs/{of_large}");
    let small_path = format!("blobs/{}", image.layer);
    let asked = [
        request(&large_path, "none"),
        request("manifests/one", "none"),
        request(&small_path, "none"),
        request(&large_path, "bytes=4194300-8388700"),
        request(&large_path, "bytes=-7"),
        request("manifests/none", "none"),
        request(&large_path, "none"),
    ];
    let mut stream = BufReader::new(connect(server.addr));
    // All at once: the server has the next request before the answer to the one before is out.
    stream
        .get_mut()
        .write_all(asked.concat().as_bytes())
        .unwrap();
    assert!(next_answer(&mut stream).1 == large);
    assert_eq!(
        next_answer(&mut stream).1,
        image.manifest.to_string().into_bytes()
    );
    assert!(next_answer(&mut stream).1 == small);
    let (head, part) = next_answer(&mut stream);
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert!(part == large[4_194_300..=8_388_700]);
    assert!(next_answer(&mut stream).1 == large[large.len() - 7..]);
    assert!(next_answer(&mut stream).0.starts_with("HTTP/1.1 404"));
    assert!(next_answer(&mut stream).1 == large);
    // One who goes away in the middle is nobody's loss.
    stream.get_mut().write_all(asked[0].as_bytes()).unwrap();
    let mut first = vec![0; 100_000];
    stream.read_exact(&mut first).unwrap();
    drop(stream);
    assert!(server.get(&format!("/v2/a/{large_path}")).body == large);
}
