//! The distribution specification 1.1, "Content Discovery" and "Content Management"; and the search of version 1.

use serde_json::{Value, json};
use wharf_oci::Digest;

use crate::client::{INDEX, MANIFEST, NONE, Server, manifest};

#[test]
fn tags_are_listed_by_pages() {
    let server = Server::new();
    let image = server.push_image("a/b", "v1", b"layer");
    for tag in ["v10", "v2", "Vz", "LATEST", "latest"] {
        server.put_manifest("a/b", tag, &image.manifest).expect(201);
    }
    let list = |query: &str| {
        let answer = server.get(&format!("/v2/a/b/tags/list{query}")).expect(200);
        let json = answer.json();
        assert_eq!(json["name"], "a/b");
        let tags: Vec<String> = serde_json::from_value(json["tags"].clone()).unwrap();
        (tags.join(" "), answer.header("link").to_owned())
    };
    // Whatever the case of their letters.
    let all = "LATEST latest v1 v10 v2 Vz";
    assert_eq!(list(""), (all.into(), String::new()));
    assert_eq!(list("?n=0"), (String::new(), String::new()));
    assert_eq!(list("?n=6"), (all.into(), String::new()));
    assert_eq!(list("?last=v1"), ("v10 v2 Vz".into(), String::new()));
    assert_eq!(list("?n=99&last=Vz"), (String::new(), String::new()));
    // A tag that was deleted meanwhile is a place, too.
    assert_eq!(list("?n=1&last=m").0, "v1");
    let (mut seen, mut query) = (Vec::new(), "?n=2".to_owned());
    loop {
        let (tags, link) = list(&query);
        seen.push(tags);
        let Some(next) = link.strip_prefix("</v2/a/b/tags/list") else {
            break;
        };
        assert!(link.ends_with(r#">; rel="next""#));
        query = next.split('>').next().unwrap().to_owned();
    }
    assert_eq!(seen, ["LATEST latest", "v1 v10", "v2 Vz"]);
    server
        .get("/v2/a/b/tags/list?n=x")
        .refused(400, "UNSUPPORTED");
    server
        .get("/v2/never/tags/list")
        .refused(404, "NAME_UNKNOWN");
    // A repository without tags is one.
    server.push_blob("blobs/only", b"x");
    assert_eq!(
        server.get("/v2/blobs/only/tags/list").expect(200).json()["tags"],
        json!([])
    );
}

#[test]
fn repositories_are_listed_by_pages() {
    let server = Server::new();
    assert_eq!(
        server.get("/v2/_catalog").expect(200).json(),
        json!({"repositories": []})
    );
    for name in ["b", "a/x", "a-b", "a"] {
        server.push_image(name, "one", b"layer");
    }
    server.push_blob("no/manifests", b"x");
    assert_eq!(
        server.get("/v2/_catalog").json()["repositories"],
        json!(["a", "a-b", "a/x", "b"])
    );
    let answer = server.get("/v2/_catalog?n=2").expect(200);
    assert_eq!(answer.json()["repositories"], json!(["a", "a-b"]));
    assert_eq!(
        answer.header("link"),
        r#"</v2/_catalog?last=a-b&n=2>; rel="next""#
    );
    let answer = server.get("/v2/_catalog?last=a-b&n=2").expect(200);
    assert_eq!(
        (answer.json()["repositories"].clone(), answer.header("link")),
        (json!(["a/x", "b"]), "")
    );
    server.get("/v2/_catalog?n=0").refused(400, "UNSUPPORTED");
}

fn referrer(server: &Server, about: &Value, kind: Option<&str>, note: &str) -> (String, Value) {
    server.push_blob("a", b"{}");
    let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::sha256(b"{}"), "size": 2});
    let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": [empty],
        "subject": about, "annotations": {"note": note}});
    if let Some(kind) = kind {
        manifest["artifactType"] = json!(kind);
    }
    let digest = Digest::sha256(manifest.to_string().as_bytes()).to_string();
    let put = server.put_manifest("a", &digest, &manifest).expect(201);
    assert_eq!(put.header("oci-subject"), about["digest"].as_str().unwrap());
    (digest, manifest)
}

#[test]
fn referrers_of_a_manifest() {
    let server = Server::new();
    let image = server.push_image("a", "one", b"layer");
    let about = image.descriptor();
    let path = format!("/v2/a/referrers/{}", image.digest);
    let none = server.get(&path).expect(200);
    assert_eq!(none.header("content-type"), INDEX);
    assert_eq!(
        none.json(),
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    );
    let (sbom, bytes) = referrer(&server, &about, Some("a/sbom"), "one");
    let (other, _) = referrer(&server, &about, None, "two");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": about});
    let index_digest = server
        .put_manifest("a", "index", &index)
        .expect(201)
        .header("docker-content-digest")
        .to_owned();
    let found = server.get(&path).expect(200).json()["manifests"].clone();
    let by = |digest: &str| {
        found
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["digest"] == digest)
            .unwrap()
            .clone()
    };
    assert_eq!(found.as_array().unwrap().len(), 3);
    assert_eq!(
        by(&sbom),
        json!({"mediaType": MANIFEST, "size": bytes.to_string().len(), "digest": sbom, "artifactType": "a/sbom", "annotations": {"note": "one"}})
    );
    // The configuration's type stands in; an index has none.
    assert_eq!(
        by(&other)["artifactType"],
        "application/vnd.oci.empty.v1+json"
    );
    assert!(by(&index_digest).get("artifactType").is_none());
    let filtered = server
        .get(&format!("{path}?artifactType=a/sbom"))
        .expect(200);
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    assert_eq!(filtered.json()["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(server.get(&path).header("oci-filters-applied"), "");
    // By pages.
    let first = server.get(&format!("{path}?n=2")).expect(200);
    let next = first
        .header("link")
        .split(['<', '>'])
        .nth(1)
        .unwrap()
        .to_owned();
    let second = server.get(&next).expect(200);
    assert_eq!(
        (
            first.json()["manifests"].as_array().unwrap().len(),
            second.json()["manifests"].as_array().unwrap().len()
        ),
        (2, 1)
    );
    // What is gone refers to nothing.
    server
        .send("DELETE", &format!("/v2/a/manifests/{sbom}"), &[], b"")
        .expect(202);
    assert_eq!(
        server.get(&path).json()["manifests"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    server
        .get("/v2/a/referrers/nonsense")
        .refused(400, "DIGEST_INVALID");
    assert_eq!(
        server
            .get(&format!("/v2/never/referrers/{NONE}"))
            .expect(200)
            .json()["manifests"],
        json!([])
    );
}

#[test]
fn referrers_may_come_first_or_by_the_tag_scheme() {
    let server = Server::new();
    let missing = json!({"mediaType": MANIFEST, "digest": NONE, "size": 1});
    referrer(&server, &missing, None, "first");
    assert_eq!(
        server.get(&format!("/v2/a/referrers/{NONE}")).json()["manifests"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // As a client did while the registry knew no referrers: the link of ours is not there, the tag is.
    let image = server.push_image("a", "one", b"layer");
    let (digest, manifest) = referrer(&server, &image.descriptor(), Some("a/b"), "old");
    let links = format!(
        "docker/registry/v2/repositories/a/_manifests/referrers/sha256/{}",
        image.digest.hex()
    );
    std::fs::remove_dir_all(server.path().join(links)).unwrap();
    let path = format!("/v2/a/referrers/{}", image.digest);
    assert_eq!(server.get(&path).json()["manifests"], json!([]));
    let entry = json!({"mediaType": MANIFEST, "digest": digest, "size": manifest.to_string().len(), "artifactType": "a/b"});
    let foreign = json!({"mediaType": MANIFEST, "digest": image.digest, "size": image.manifest.to_string().len()});
    let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry, foreign]});
    server
        .put_manifest("a", &format!("sha256-{}", image.digest.hex()), &list)
        .expect(201);
    let found = server.get(&path).json()["manifests"].clone();
    assert_eq!(
        (found.as_array().unwrap().len(), found[0]["digest"].as_str()),
        (1, Some(digest.as_str()))
    );
}

#[test]
fn content_is_deleted() {
    let server = Server::new();
    let image = server.push_image("a", "one", b"layer");
    server.put_manifest("a", "two", &image.manifest).expect(201);
    let delete = |path: &str| server.send("DELETE", path, &[], b"");
    // A tag alone.
    delete("/v2/a/manifests/one").expect(202);
    server
        .get("/v2/a/manifests/one")
        .refused(404, "MANIFEST_UNKNOWN");
    server.get("/v2/a/manifests/two").expect(200);
    assert_eq!(server.get("/v2/a/tags/list").json()["tags"], json!(["two"]));
    // A manifest with its tags.
    let path = format!("/v2/a/manifests/{}", image.digest);
    delete(&path).expect(202);
    server.get(&path).refused(404, "MANIFEST_UNKNOWN");
    server.get("/v2/a/manifests/two").expect(404);
    assert_eq!(server.get("/v2/a/tags/list").json()["tags"], json!([]));
    delete(&path).refused(404, "MANIFEST_UNKNOWN");
    delete("/v2/never/manifests/x").refused(404, "NAME_UNKNOWN");
    // A blob.
    let path = format!("/v2/a/blobs/{}", image.layer);
    assert_eq!(
        delete(&path).expect(202).header("docker-content-digest"),
        image.layer.to_string()
    );
    server.get(&path).refused(404, "BLOB_UNKNOWN");
    delete(&path).refused(404, "BLOB_UNKNOWN");
    server
        .get(&format!("/v2/a/blobs/{}", image.config))
        .expect(200);
    // And put again.
    server.push_image("a", "one", b"layer");
    server.get("/v2/a/manifests/one").expect(200);
}

#[test]
fn search_of_version_1() {
    let server = Server::new();
    server.get("/v1/_ping").expect(200);
    for name in ["team/toolbox", "box", "other"] {
        server.push_image(name, "latest", b"layer");
    }
    let mut described = manifest(b"{\"config of\":\"layer\"}", &[b"layer"]);
    described["annotations"] = json!({"org.opencontainers.image.description": "a box"});
    server.put_manifest("box", "latest", &described).expect(201);
    let found = server.get("/v1/search?q=box&n=25").expect(200).json();
    assert_eq!(
        (found["num_results"].as_u64(), found["query"].as_str()),
        (Some(2), Some("box"))
    );
    assert_eq!(found["results"][0]["name"], "box");
    assert_eq!(found["results"][0]["description"], "a box");
    assert_eq!(found["results"][1]["name"], "team/toolbox");
    let page = server.get("/v1/search?q=box&n=1&page=2").expect(200).json();
    assert_eq!(
        (
            page["results"][0]["name"].as_str(),
            page["num_pages"].as_u64()
        ),
        (Some("team/toolbox"), Some(2))
    );
}
