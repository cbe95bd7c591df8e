//! A cache of another registry.

use std::time::{Duration, Instant};

use crate::client::{INDEX, Server};
use serde_json::json;

fn cache_of(upstream: &Server) -> Server {
    Server::with(&format!("proxy: {{remoteurl: 'http://{}'}}", upstream.addr))
}

#[test]
fn what_was_fetched_stays_when_the_other_is_away() {
    let upstream = Server::new();
    let layer: Vec<u8> = (0..500_000u32).flat_map(u32::to_le_bytes).collect();
    let image = upstream.push_image("a/b", "one", &layer);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image.descriptor()]});
    upstream.put_manifest("a/b", "index", &index).expect(201);
    let cache = cache_of(&upstream);
    assert_eq!(
        cache.get("/v2/a/b/manifests/one").expect(200).text(),
        image.manifest.to_string()
    );
    assert_eq!(
        cache
            .get("/v2/a/b/manifests/index")
            .expect(200)
            .header("content-type"),
        INDEX
    );
    let path = format!("/v2/a/b/blobs/{}", image.layer);
    assert_eq!(
        cache
            .send("HEAD", &path, &[], b"")
            .expect(200)
            .header("content-length"),
        "2000000"
    );
    assert!(cache.get(&path).expect(200).body == layer);
    assert_eq!(
        cache.get("/v2/a/b/tags/list").expect(200).json()["tags"],
        json!(["index", "one"])
    );
    cache
        .get("/v2/a/b/manifests/two")
        .refused(404, "MANIFEST_UNKNOWN");
    cache
        .get(&format!("/v2/a/b/blobs/sha256:{}", "a".repeat(64)))
        .refused(404, "BLOB_UNKNOWN");
    cache
        .send("POST", "/v2/a/b/blobs/uploads/", &[], b"")
        .refused(405, "UNSUPPORTED");
    cache
        .send("DELETE", "/v2/a/b/manifests/one", &[], b"")
        .refused(405, "UNSUPPORTED");
    // A tag that moves there moves here.
    let newer = upstream.push_image("a/b", "one", b"newer layer");
    assert_eq!(
        cache
            .get("/v2/a/b/manifests/one")
            .header("docker-content-digest"),
        newer.digest.to_string()
    );
    // The blob is kept a moment after its last byte went out.
    let hex = image.layer.hex();
    let kept = cache.path().join(format!(
        "docker/registry/v2/repositories/a/b/_layers/sha256/{hex}/link"
    ));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !kept.exists() {
        assert!(Instant::now() < deadline, "the blob is not kept");
        std::thread::sleep(Duration::from_millis(5));
    }
    let about = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "a/signature", "subject": newer.descriptor(), "annotations": {"by": "me"},
        "config": newer.manifest["config"],
        "layers": [],
    });
    let about = upstream.put_manifest("a/b", "about", &about).expect(201);
    let about = about.header("docker-content-digest").to_owned();
    let referrers = || {
        let path = format!(
            "/v2/a/b/referrers/{}?artifactType=a/signature",
            newer.digest
        );
        cache.get(&path).expect(200).json()["manifests"].clone()
    };
    let listed = referrers();
    assert_eq!(listed[0]["digest"], json!(about));
    assert_eq!(listed[0]["artifactType"], "a/signature");
    assert_eq!(listed[0]["annotations"], json!({"by": "me"}));
    cache.get(&format!("/v2/a/b/manifests/{about}")).expect(200);
    drop(upstream);
    assert_eq!(referrers(), listed);
    assert_eq!(
        cache.get("/v2/a/b/tags/list").expect(200).json()["tags"],
        json!(["index", "one"])
    );
    assert_eq!(cache.get("/v2/never/seen/tags/list").status, 502);
    assert_eq!(
        cache.get("/v2/a/b/manifests/one").expect(200).text(),
        newer.manifest.to_string()
    );
    cache
        .get(&format!("/v2/a/b/manifests/{}", image.digest))
        .expect(200);
    assert!(cache.get(&path).expect(200).body == layer);
    assert_eq!(cache.get("/v2/a/b/manifests/unseen").status, 502);
    // And survives a collection.
    cache.collect(false);
    assert!(cache.get(&path).expect(200).body == layer);
}
