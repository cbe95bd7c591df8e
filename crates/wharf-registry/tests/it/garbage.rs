//! Garbage goes while the registry serves, and nothing else does.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use wharf_oci::Digest;

use crate::client::{INDEX, Image, Server, manifest};

fn blobs(server: &Server) -> usize {
    let mut count = 0;
    let mut ahead = vec![server.path().join("docker/registry/v2/blobs")];
    while let Some(path) = ahead.pop() {
        for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => ahead.push(entry.path()),
                false => count += 1,
            }
        }
    }
    count
}

fn delete(server: &Server, name: &str, digest: &Digest) {
    server
        .send(
            "DELETE",
            &format!("/v2/{name}/manifests/{digest}"),
            &[],
            b"",
        )
        .expect(202);
}

#[test]
fn what_nothing_names_goes() {
    let server = Server::new();
    let kept = server.push_image("a", "kept", b"shared layer");
    let gone = server.push_image("b", "gone", b"own layer");
    server.push_image("b", "other", b"shared layer");
    server.push_blob("b", b"of no manifest");
    assert_eq!(server.collect(false), b"of no manifest".len() as u64);
    delete(&server, "b", &gone.digest);
    assert!(server.collect(false) > 0);
    server
        .get(&format!("/v2/b/blobs/{}", gone.layer))
        .expect(404);
    server
        .get(&format!("/v2/a/blobs/{}", kept.layer))
        .expect(200);
    server
        .get(&format!("/v2/b/blobs/{}", kept.layer))
        .expect(200);
    // Three of each image: manifest, configuration, layer; one image has two names.
    assert_eq!(blobs(&server), 3);
    // What went can be put again.
    server.push_image("b", "gone", b"own layer");
    server
        .get(&format!("/v2/b/blobs/{}", gone.layer))
        .expect(200);
}

#[test]
fn uploads_hold_what_they_will_name() {
    let server = Server::new();
    let early = server.push_blob("a", b"first layer");
    let begun = server
        .send("POST", "/v2/a/blobs/uploads/", &[], b"")
        .expect(202);
    assert_eq!(server.collect(false), 0);
    server.get(&format!("/v2/a/blobs/{early}")).expect(200);
    server
        .send("DELETE", begun.header("location"), &[], b"")
        .expect(204);
    assert_eq!(server.collect(false), 11);
}

#[test]
fn manifests_without_a_tag_go_if_that_is_wanted() {
    let server = Server::new();
    let child = server.push_image("a", "x", b"child");
    let loose = server.push_image("a", "x", b"loose");
    let signed = server.push_image("a", "x", b"signed");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child.descriptor()]});
    server.put_manifest("a", "index", &index).expect(201);
    let mut about = manifest(b"{\"config of\":\"signed\"}", &[b"signed"]);
    about["subject"] = signed.descriptor();
    let about_digest = Digest::sha256(about.to_string().as_bytes());
    server
        .put_manifest("a", &about_digest.to_string(), &about)
        .expect(201);
    let get = |digest: &Digest| server.get(&format!("/v2/a/manifests/{digest}")).status;
    server.collect(false);
    assert_eq!(get(&loose.digest), 200);
    server.collect(true);
    assert_eq!(
        (
            get(&child.digest),
            get(&loose.digest),
            get(&signed.digest),
            get(&about_digest)
        ),
        (200, 404, 200, 200)
    );
}

/// Puts a manifest into a repository's folder as a registry of another program did, with links to what it names.
fn plant(server: &Server, name: &str, bytes: &[u8], layers: &[&Digest]) -> Digest {
    let root = server.path().join("docker/registry/v2");
    let digest = Digest::sha256(bytes);
    let put = |path: String, bytes: &[u8]| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let (hex, own) = (digest.hex(), digest.to_string());
    put(format!("blobs/sha256/{}/{hex}/data", &hex[..2]), bytes);
    let revision = format!("repositories/{name}/_manifests/revisions/sha256/{hex}/link");
    put(revision, own.as_bytes());
    for layer in layers {
        let link = format!("repositories/{name}/_layers/sha256/{}/link", layer.hex());
        put(link, layer.to_string().as_bytes());
    }
    digest
}

#[test]
fn a_manifest_that_cannot_be_read_holds_what_its_repository_has() {
    let server = Server::new();
    let layer = server.push_blob("old", b"layer of long ago");
    let schema1 = json!({"schemaVersion": 1, "name": "old", "tag": "t", "signatures": [],
        "fsLayers": [{"blobSum": layer.to_string()}]});
    let schema1 = plant(&server, "old", schema1.to_string().as_bytes(), &[&layer]);
    let ahead = server.push_blob("new", b"layer of tomorrow");
    let unknown = json!({"schemaVersion": 3, "mediaType": "application/vnd.tomorrow", "parts": [ahead.to_string()]});
    plant(&server, "new", unknown.to_string().as_bytes(), &[&ahead]);
    let child = server.push_image("cut", "x", b"child");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child.descriptor()]});
    server.put_manifest("cut", "x", &index).expect(201);
    let index = Digest::sha256(index.to_string().as_bytes());
    let hex = index.hex();
    let path = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    std::fs::write(server.path().join(path), b"{\"schemaVersion\":").unwrap();
    server.push_blob("plain", b"of no manifest");
    let server = server.restarted();
    assert_eq!(server.collect(true), b"of no manifest".len() as u64);
    for (name, blob) in [("old", &layer), ("new", &ahead), ("cut", &child.layer)] {
        server.get(&format!("/v2/{name}/blobs/{blob}")).expect(200);
    }
    let child = format!("/v2/cut/manifests/{}", child.digest);
    server.get(&child).expect(200);
    // Once it is deleted, its repository is as any other.
    delete(&server, "old", &schema1);
    assert!(server.collect(true) > 0);
    server.get(&format!("/v2/old/blobs/{layer}")).expect(404);
}

/// Pushes an image until the collector lets it through.
fn until_taken(server: &Server, name: &str, tag: &str, layer: &[u8]) -> Image {
    loop {
        if let Some(image) = server.offer_image(name, tag, layer) {
            return image;
        }
    }
}

#[test]
fn pushes_and_collections_at_the_same_time() {
    let server = Server::new();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) {
                let registry = server.registry.as_ref().unwrap();
                // Leases of a moment: on a machine with much to do, a push may take longer and be made again.
                server
                    .runtime
                    .block_on(registry.collect(std::time::Duration::from_millis(500), false))
                    .unwrap();
                rounds += 1;
            }
            rounds
        });
        let push = |who: usize| {
            for round in 0..12 {
                let name = format!("r{who}");
                let layer = format!("layer {who} {round}");
                let image = until_taken(&server, &name, "latest", layer.as_bytes());
                until_taken(&server, &name, "base", b"base that all have");
                server
                    .get(&format!("/v2/{name}/blobs/{}", image.layer))
                    .expect(200);
                server
                    .get(&format!("/v2/{name}/manifests/base"))
                    .expect(200);
                if round % 3 == 0 {
                    delete(&server, &name, &image.digest);
                }
            }
        };
        let pushers: Vec<_> = (0..3).map(|who| scope.spawn(move || push(who))).collect();
        let pushed: Vec<_> = pushers.into_iter().map(|pusher| pusher.join()).collect();
        over.store(true, Ordering::Relaxed);
        assert!(collector.join().unwrap() > 0);
        pushed.into_iter().for_each(|one| one.unwrap());
    });
    let server = server.restarted();
    for who in 0..3 {
        server
            .get(&format!("/v2/r{who}/manifests/base"))
            .expect(200);
        server
            .get(&format!("/v2/r{who}/manifests/latest"))
            .expect(200);
    }
    let root = server.path().to_owned();
    server.runtime.block_on(server.registry.unwrap().stop());
    assert_eq!(wharf_registry::check(&root).unwrap(), Vec::<String>::new());
}
