//! The distribution specification 1.1, "Push".

use serde_json::json;
use wharf_oci::Digest;

use crate::client::{INDEX, MANIFEST, NONE, Server, manifest, sha512};

#[test]
fn monolithic_uploads() {
    let server = Server::new();
    let begun = server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .expect(202);
    let uuid = begun.header("docker-upload-uuid");
    assert!(
        begun
            .header("location")
            .ends_with(&format!("/v2/a/blobs/uploads/{uuid}"))
    );
    assert_eq!(
        (begun.header("range"), begun.header("content-length")),
        ("0-0", "0")
    );
    let digest = Digest::sha256(b"one");
    let put = server
        .send(
            "PUT",
            &format!("{}?digest={digest}", begun.header("location")),
            &[],
            b"one",
        )
        .expect(201);
    assert_eq!(put.header("location"), format!("/v2/a/blobs/{digest}"));
    assert_eq!(server.get(put.header("location")).expect(200).text(), "one");
    // A session ends with its blob.
    server
        .get(begun.header("location"))
        .refused(404, "BLOB_UPLOAD_UNKNOWN");
    // Whole in one request.
    let digest = Digest::sha256(b"two");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let put = server.send("POST", &path, &[], b"two").expect(201);
    assert_eq!(put.header("docker-content-digest"), digest.to_string());
    assert_eq!(server.get(put.header("location")).expect(200).text(), "two");
    let path = format!("/v2/a/blobs/uploads/?digest={NONE}");
    server
        .send("POST", &path, &[], b"two")
        .refused(400, "DIGEST_INVALID");
    server.get(&format!("/v2/a/blobs/{NONE}")).expect(404);
    // Empty, and by another algorithm.
    server.push_blob("a", b"");
    let digest = sha512(b"long");
    for path in [
        format!("/v2/a/blobs/uploads/?digest={digest}"),
        "/v2/a/blobs/uploads/?digest-algorithm=sha512".into(),
    ] {
        let mut answer = server.send(
            "POST",
            &path,
            &[],
            if path.contains("digest=") {
                b"long"
            } else {
                b""
            },
        );
        if answer.status == 202 {
            answer = server.send(
                "PUT",
                &format!("{}?digest={digest}", answer.header("location")),
                &[],
                b"long",
            );
        }
        assert_eq!(
            server
                .get(answer.expect(201).header("location"))
                .expect(200)
                .text(),
            "long"
        );
    }
}

#[test]
fn uploads_in_chunks() {
    let server = Server::new();
    let begun = server
        .send(
            "POST",
            "/v2/a/blobs/uploads/",
            &[("Content-Length", "0")],
            b"",
        )
        .expect(202);
    let location = begun.header("location");
    let chunk = |range: &str, bytes: &[u8]| {
        let length = bytes.len().to_string();
        server.send(
            "PATCH",
            location,
            &[("Content-Range", range), ("Content-Length", &length)],
            bytes,
        )
    };
    // The first one begins with 0.
    let answer = chunk("1-3", b"123").refused(416, "BLOB_UPLOAD_INVALID");
    assert_eq!(
        (answer.header("range"), answer.header("location")),
        ("0-0", location)
    );
    let answer = chunk("0-2", b"012").expect(202);
    assert_eq!(
        (answer.header("range"), answer.header("location")),
        ("0-2", location)
    );
    // In order, without holes, and not twice.
    for range in ["0-2", "2-4", "4-6", "5-3"] {
        assert_eq!(
            chunk(range, b"345")
                .refused(416, "BLOB_UPLOAD_INVALID")
                .header("range"),
            "0-2"
        );
    }
    chunk("3-9", b"345").refused(400, "SIZE_INVALID");
    chunk("a-b", b"345").refused(400, "BLOB_UPLOAD_INVALID");
    let status = server.get(location).expect(204);
    assert_eq!(
        (status.header("range"), status.header("location")),
        ("0-2", location)
    );
    assert_eq!(
        status.header("docker-upload-uuid"),
        begun.header("docker-upload-uuid")
    );
    assert_eq!(chunk("3-5", b"345").expect(202).header("range"), "0-5");
    let digest = Digest::sha256(b"0123456789");
    let end = format!("{location}?digest={digest}");
    server
        .send("PUT", &end, &[("Content-Range", "5-8")], b"6789")
        .refused(416, "BLOB_UPLOAD_INVALID");
    let put = server
        .send("PUT", &end, &[("Content-Range", "6-9")], b"6789")
        .expect(201);
    assert_eq!(
        server.get(put.header("location")).expect(200).text(),
        "0123456789"
    );
}

#[test]
fn streamed_uploads() {
    let server = Server::new();
    let begun = server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .expect(202);
    let streamed = [("Transfer-Encoding", "chunked")];
    let patched = server.send(
        "PATCH",
        begun.header("location"),
        &streamed,
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(patched.expect(202).header("range"), "0-4");
    let end = format!(
        "{}?digest={}",
        begun.header("location"),
        Digest::sha256(b"abcde")
    );
    assert_eq!(
        server
            .get(
                server
                    .send("PUT", &end, &[], b"")
                    .expect(201)
                    .header("location")
            )
            .text(),
        "abcde"
    );
}

#[test]
fn uploads_go_on_in_the_next_process_or_are_given_up() {
    let server = Server::new();
    let begun = server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .expect(202);
    let location = begun.header("location").to_owned();
    server.send("PATCH", &location, &[], b"first ").expect(202);
    let server = server.restarted();
    assert_eq!(server.get(&location).expect(204).header("range"), "0-5");
    server.send("PATCH", &location, &[], b"second").expect(202);
    let digest = Digest::sha256(b"first second");
    server
        .send("PUT", &format!("{location}?digest={digest}"), &[], b"")
        .expect(201);
    assert_eq!(
        server.get(&format!("/v2/a/blobs/{digest}")).text(),
        "first second"
    );
    let begun = server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .expect(202);
    server
        .send("DELETE", begun.header("location"), &[], b"")
        .expect(204);
    server
        .get(begun.header("location"))
        .refused(404, "BLOB_UPLOAD_UNKNOWN");
    server
        .send("DELETE", begun.header("location"), &[], b"")
        .refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn uploads_that_end_badly() {
    let server = Server::new();
    let begin = || {
        server
            .send("POST", "/v2/a/blobs/uploads/", &[], b"")
            .expect(202)
            .header("location")
            .to_owned()
    };
    server
        .send("PUT", &begin(), &[], b"x")
        .refused(400, "DIGEST_INVALID");
    server
        .send("PUT", &format!("{}?digest=sha256:x", begin()), &[], b"x")
        .refused(400, "DIGEST_INVALID");
    let location = begin();
    server
        .send("PUT", &format!("{location}?digest={NONE}"), &[], b"x")
        .refused(400, "DIGEST_INVALID");
    server.get(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
    server.get(&format!("/v2/a/blobs/{NONE}")).expect(404);
    // Another repository's upload is none.
    let foreign = begin().replace("/v2/a/", "/v2/b/");
    server.get(&foreign).refused(404, "BLOB_UPLOAD_UNKNOWN");
    server
        .send("PATCH", &foreign, &[], b"x")
        .refused(404, "BLOB_UPLOAD_UNKNOWN");
    let digest = Digest::sha256(b"x");
    server
        .send("PUT", &format!("{foreign}?digest={digest}"), &[], b"x")
        .refused(404, "BLOB_UPLOAD_UNKNOWN");
    server
        .send("DELETE", &foreign, &[], b"")
        .refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn blobs_are_taken_over_from_other_repositories() {
    let server = Server::new();
    let digest = server.push_blob("a/from", b"shared");
    let path = format!("/v2/b/blobs/uploads/?mount={digest}&from=a%2Ffrom");
    let answer = server.send("POST", &path, &[], b"").expect(201);
    assert_eq!(answer.header("location"), format!("/v2/b/blobs/{digest}"));
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert_eq!(
        server.get(answer.header("location")).expect(200).text(),
        "shared"
    );
    // What cannot be is an upload that begins.
    for query in [
        format!("mount={NONE}&from=a/from"),
        format!("mount={digest}&from=nowhere"),
        format!("mount={digest}&from=../../x"),
        format!("mount={digest}"),
        "mount=nonsense&from=a/from".to_owned(),
    ] {
        let answer = server
            .send("POST", &format!("/v2/c/blobs/uploads/?{query}"), &[], b"")
            .expect(202);
        assert!(answer.header("location").contains("/v2/c/blobs/uploads/"));
    }
}

#[test]
fn manifests_are_put() {
    let server = Server::new();
    let image = server.push_image("a", "one", b"layer");
    let put = server.put_manifest("a", "two", &image.manifest).expect(201);
    assert_eq!(
        put.header("location"),
        format!("/v2/a/manifests/{}", image.digest)
    );
    assert_eq!(
        put.header("docker-content-digest"),
        image.digest.to_string()
    );
    server.get(put.header("location")).expect(200);
    server
        .put_manifest("a", &image.digest.to_string(), &image.manifest)
        .expect(201);
    server
        .put_manifest("a", NONE, &image.manifest)
        .refused(400, "DIGEST_INVALID");
    server
        .put_manifest("a", "-bad", &image.manifest)
        .refused(400, "MANIFEST_INVALID");
    // By sha512, too: it is known by the digest that it was put by.
    let long = sha512(image.manifest.to_string().as_bytes());
    let put = server
        .put_manifest("a", &long.to_string(), &image.manifest)
        .expect(201);
    assert_eq!(put.header("docker-content-digest"), long.to_string());
    assert_eq!(
        server
            .get(&format!("/v2/a/manifests/{long}"))
            .header("docker-content-digest"),
        long.to_string()
    );
    // By its digest, and with tags (distribution 1.2).
    let path = format!("{}?tag=four&tag=five", image.digest);
    let put = server.put_manifest("a", &path, &image.manifest).expect(201);
    assert_eq!(put.header("oci-tag"), "four, five");
    for tag in ["four", "five"] {
        let got = server.get(&format!("/v2/a/manifests/{tag}")).expect(200);
        assert_eq!(
            got.header("docker-content-digest"),
            image.digest.to_string()
        );
    }
    let path = format!("{}?tag=six&tag=-bad", image.digest);
    server
        .put_manifest("a", &path, &image.manifest)
        .refused(400, "MANIFEST_INVALID");
    server.get("/v2/a/manifests/six").expect(404);
    // Parameters of the type say nothing.
    let kind = format!("{MANIFEST}; charset=utf-8");
    let bytes = image.manifest.to_string();
    server
        .send(
            "PUT",
            "/v2/a/manifests/three",
            &[("Content-Type", &kind)],
            bytes.as_bytes(),
        )
        .expect(201);
    assert_eq!(
        server.get("/v2/a/manifests/three").header("content-type"),
        MANIFEST
    );
    // A tag moves.
    let other = server.push_image("a", "one", b"another layer");
    assert_eq!(
        server
            .get("/v2/a/manifests/one")
            .header("docker-content-digest"),
        other.digest.to_string()
    );
    server
        .get(&format!("/v2/a/manifests/{}", image.digest))
        .expect(200);
}

#[test]
fn manifests_that_are_refused() {
    let server = Server::new();
    let image = server.push_image("a", "one", b"layer");
    let put = |kind: &str, bytes: &[u8]| {
        server.send("PUT", "/v2/a/manifests/x", &[("Content-Type", kind)], bytes)
    };
    put(MANIFEST, b"").refused(400, "MANIFEST_INVALID");
    put(MANIFEST, b"{").refused(400, "MANIFEST_INVALID");
    put("application/json", b"{\"schemaVersion\":2}").refused(400, "MANIFEST_INVALID");
    put(INDEX, image.manifest.to_string().as_bytes()).refused(400, "MANIFEST_INVALID");
    let mut both = image.manifest.clone();
    both["manifests"] = json!([]);
    put(MANIFEST, both.to_string().as_bytes()).refused(400, "MANIFEST_INVALID");
    let mut size = image.manifest.clone();
    size["layers"][0]["size"] = json!(6);
    put(MANIFEST, size.to_string().as_bytes()).refused(400, "MANIFEST_INVALID");
    // What it names must be here.
    let missing = manifest(b"no such config", &[b"layer"]);
    let answer = server
        .put_manifest("a", "x", &missing)
        .refused(400, "MANIFEST_BLOB_UNKNOWN");
    let digest = Digest::sha256(b"no such config").to_string();
    assert_eq!(answer.json()["errors"][0]["detail"]["digest"], digest);
    server
        .put_manifest("b", "x", &image.manifest)
        .refused(400, "MANIFEST_BLOB_UNKNOWN");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": MANIFEST, "digest": NONE, "size": 1}]});
    server
        .put_manifest("a", "x", &index)
        .refused(400, "MANIFEST_BLOB_UNKNOWN");
    server.get("/v2/a/manifests/x").expect(404);
    // But for what may not be distributed.
    let mut foreign = image.manifest.clone();
    foreign["layers"] = json!([{"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": NONE, "size": 1, "urls": ["https://x"]}]);
    server.put_manifest("a", "x", &foreign).expect(201);
    // Four MiB are a manifest, more are none.
    let pad = |size: usize| {
        let mut manifest = image.manifest.clone();
        let bare = manifest.to_string().len() + r#","annotations":{"a":""}"#.len();
        manifest["annotations"] = json!({"a": "x".repeat(size - bare)});
        manifest
    };
    server.put_manifest("a", "big", &pad(4 << 20)).expect(201);
    server
        .put_manifest("a", "big", &pad((4 << 20) + 1))
        .refused(413, "SIZE_INVALID");
}

#[test]
fn indexes_and_dockers_types() {
    let server = Server::new();
    let one = server.push_image("a", "one", b"layer one");
    let two = server.push_image("a", "two", b"layer two");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [one.descriptor(), two.descriptor()]});
    let put = server.put_manifest("a", "both", &index).expect(201);
    assert_eq!(
        server.get("/v2/a/manifests/both").header("content-type"),
        INDEX
    );
    server.get(put.header("location")).expect(200);
    let mut docker = one.manifest.clone();
    docker["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json");
    server.put_manifest("a", "docker", &docker).expect(201);
    let answer = server.get("/v2/a/manifests/docker").expect(200);
    assert_eq!(
        answer.header("content-type"),
        "application/vnd.docker.distribution.manifest.v2+json"
    );
    let descriptor = json!({"mediaType": docker["mediaType"], "digest": answer.header("docker-content-digest"), "size": answer.body.len()});
    let list = json!({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json", "manifests": [descriptor]});
    server.put_manifest("a", "list", &list).expect(201);
    // An OCI document need not name its type.
    let mut silent = one.manifest.clone();
    silent.as_object_mut().unwrap().remove("mediaType");
    let answer = server.send(
        "PUT",
        "/v2/a/manifests/silent",
        &[("Content-Type", MANIFEST)],
        silent.to_string().as_bytes(),
    );
    answer.expect(201);
    assert_eq!(
        server.get("/v2/a/manifests/silent").header("content-type"),
        MANIFEST
    );
}
